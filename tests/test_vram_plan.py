"""What a plan says of a job, by rules that hold for any card and any picture."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import vram_advice
from models import vram_plan
from models.tensor_types import FileType
from models.vram_card import GIB, Launch, VramState
from models.vram_needs import Picture
from models.vram_plan import Models, Plan, Use, Verdict

cards = st.integers(4 << 30, 32 << 30)
pictures = st.builds(
    Picture,
    st.integers(4, 32).map(lambda n: 64 * n),
    st.integers(4, 32).map(lambda n: 64 * n),
    st.integers(1, 8),
)
HARD = [Verdict.WHOLE, Verdict.PARTLY, Verdict.TIGHT, Verdict.CANNOT]


@cache
def models(kind: FileType = FileType.Q4_K_S, loras: int = 0) -> Models:
    return vram_advice.models(kind, FileType.Q8_0, loras)


def plan(total: int, picture: Picture, launch: Launch | None = None) -> Plan:
    return vram_plan.plan(models(), picture, total, launch or Launch())


@settings(max_examples=40, deadline=None)
@given(cards, st.integers(0, 8 << 30), pictures)
def test_a_larger_card_never_streams_noticeably_more(
    total: int, more: int, picture: Picture
) -> None:
    # Modules are taken greedily, so a few hundred MB more may leave a little more out.
    largest = max(module.streamed for module in models().unet.modules)
    small, large = plan(total, picture), plan(total + more, picture)
    assert large.sampling.streamed <= small.sampling.streamed + largest
    assert HARD.index(large.verdict) <= HARD.index(small.verdict)


@settings(max_examples=40, deadline=None)
@given(cards, pictures, st.integers(0, 10), st.integers(0, 4))
def test_a_bigger_picture_never_needs_less(
    total: int, picture: Picture, wider: int, more: int
) -> None:
    bigger = Picture(picture.width + 64 * wider, picture.height, picture.batch + more)
    before, after = plan(total, picture), plan(total, bigger)
    assert after.sampling.computing >= before.sampling.computing
    assert after.sampling.reckoned >= before.sampling.reckoned
    assert after.stages[2].computing >= before.stages[2].computing
    assert HARD.index(after.verdict) >= HARD.index(before.verdict)


@settings(max_examples=40, deadline=None)
@given(cards, pictures)
def test_whole_means_that_nothing_streams_and_the_peak_fits(total: int, picture: Picture) -> None:
    found = plan(total, picture)
    if found.verdict is Verdict.WHOLE:
        assert found.crossing == 0
        assert found.sampling.peak <= total
    if found.verdict is Verdict.PARTLY:
        assert found.sampling.streamed > 0
        assert found.sampling.peak <= total


def test_the_three_uses_come_in_their_order() -> None:
    found = plan(6 * GIB, Picture(1024, 1024))
    assert [stage.use for stage in found.stages] == [Use.ENCODE, Use.SAMPLE, Use.DECODE]


def test_six_gigabytes_hold_a_part_of_q4_k_s() -> None:
    found = plan(6 * GIB, Picture(1024, 1024))
    assert found.verdict is Verdict.PARTLY
    assert 2.5e9 < found.crossing < 3.5e9
    assert found.peak < 6 * GIB


def test_loras_cross_the_bus_at_each_step() -> None:
    bare = plan(24 * GIB, Picture(1024, 1024))
    with_lora = vram_plan.plan(models(loras=200_000_000), Picture(1024, 1024), 24 * GIB, Launch())
    assert with_lora.crossing == bare.crossing + 200_000_000
    assert with_lora.sampling.computing >= bare.sampling.computing


def test_lowvram_computes_text_encoders_on_the_processor_and_splits_no_more() -> None:
    usual = plan(6 * GIB, Picture(1024, 1024))
    low = plan(6 * GIB, Picture(1024, 1024), Launch(state=VramState.LOW))
    assert not low.stages[0].on_card
    assert low.sampling.streamed == usual.sampling.streamed


def test_a_small_card_turns_to_tiles_for_a_huge_picture() -> None:
    assert plan(6 * GIB, Picture(2048, 2048, 1)).tiled
    assert not plan(12 * GIB, Picture(1024, 1024)).tiled


@pytest.mark.parametrize("idle", [0, 1])
def test_a_card_that_is_full_is_tight_and_no_crash(idle: int) -> None:
    found = vram_plan.plan(models(), Picture(1024, 1024), 6 * GIB, Launch(), idle)
    assert found.verdict is Verdict.TIGHT
