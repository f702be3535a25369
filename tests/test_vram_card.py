"""Rules of the simulated card that hold for any model and any size."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vram_card import GIB, LEAST, MIB, Card, Launch, VramState
from models.vram_modules import Module, Weights

sizes = st.lists(st.integers(1, 300), min_size=1, max_size=40)


def weights(parts: list[int], name: str = "Model") -> Weights:
    return Weights(
        name, tuple(Module(f"m{n}", size * MIB, size * MIB) for n, size in enumerate(parts))
    )


@given(sizes, st.integers(2, 24), st.integers(0, 4096))
def test_nothing_is_lost_between_card_and_stream(parts: list[int], gib: int, wanted: int) -> None:
    model, card = weights(parts), Card(gib * GIB, gib * GIB, Launch())
    card.load(model, wanted * MIB)
    assert card.resident(model) + card.streamed(model) == model.size


@given(sizes, st.integers(1 << 20, 20 << 30), st.integers(0, 4 << 30))
def test_more_memory_never_streams_more_of_equal_modules(
    parts: list[int], idle: int, more: int
) -> None:
    model = weights([max(parts)] * len(parts))

    def streamed(free: int) -> int:
        card = Card(32 * GIB, free, Launch())
        card.load(model)
        return card.streamed(model)

    assert streamed(idle + more) <= streamed(idle)


@given(sizes, st.integers(0, 8 << 30))
def test_what_computing_wants_stays_free_beyond_the_least(parts: list[int], wanted: int) -> None:
    model, card = weights(parts), Card(12 * GIB, 11 * GIB, Launch())
    card.load(model, wanted)
    kept = max(card.launch.least_computing(card.total), wanted + card.launch.reserved(card.total))
    whole = card.streamed(model) == 0
    assert card.loaded(model) <= max(LEAST, 11 * GIB - kept) or whole
    assert card.loaded(model) >= 0


def test_to_make_room_the_smallest_modules_of_another_model_go_first() -> None:
    card = Card(8 * GIB, 7 * GIB, Launch())
    old, new = weights([100, 200, 3000], "Old"), weights([2450], "New")
    card.load(old)
    card.load(new)
    assert card.streamed(old) == 300 * MIB
    assert card.streamed(new) == 0


def test_without_smart_memory_others_go_wholly() -> None:
    card = Card(24 * GIB, 23 * GIB, replace(Launch(), smart=False))
    old, new = weights([100], "Old"), weights([100], "New")
    card.load(old)
    card.load(new)
    assert card.loaded(old) == 0


def test_novram_streams_everything() -> None:
    card = Card(24 * GIB, 23 * GIB, replace(Launch(), state=VramState.NO))
    model = weights([1, 2, 3])
    card.load(model)
    assert card.streamed(model) == model.size


def test_modules_that_cannot_be_streamed_do_not_make_a_model_partial() -> None:
    tiny = Module("norm", 200 * MIB, 200 * MIB, castable=False)
    card = Card(6 * GIB, 0, Launch())
    card.load(Weights("Odd", (tiny,)))
    assert card.log_lines[-1].startswith("loaded completely")


@pytest.mark.parametrize(
    ("launch", "gib", "mib"),
    [
        (Launch(), 6, 600),
        (Launch(), 16, 700),
        (Launch(windows=False), 16, 400),
        (Launch(reserve=1.5), 16, 1536),
    ],
)
def test_the_reserve_is_comfyuis(launch: Launch, gib: int, mib: int) -> None:
    assert launch.reserved(gib * GIB) == mib * MIB
    assert launch.least_computing(gib * GIB) == GIB * 0.8 + mib * MIB
