"""The parts of a training that need no model: levels, batches, rates, checkpoints, charts."""

from collections import Counter
from pathlib import Path
from statistics import median

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.optim import AdamW

from training import (
    checkpoint_files,
    checkpoints,
    loss_chart,
    prior,
    recipe,
    sample_sheet,
    timesteps,
    trainer,
)
from training.batches import Batches
from training.buckets import Bucket
from training.checkpoints import Standing
from training.dataset.picture_set import Item, with_trigger
from training.encoding import Shown
from training.errors import TrainingError
from training.loss_scale import FIRST, GROWS_AFTER, LossScale
from training.progress import Event, Happened, Stage
from training.randomness import generator
from training.recipe import Preset, Timesteps

# --- noise levels ---


@pytest.mark.parametrize("kind", list(Timesteps))
@pytest.mark.parametrize("tokens", [256, 1024, 4096])
def test_levels_lie_between_picture_and_noise(kind: Timesteps, tokens: int) -> None:
    levels = timesteps.draw(kind, 10_000, tokens, 3.0, generator(0, "test"))
    assert levels.min() >= 0
    assert levels.max() <= 1


def test_levels_lie_as_their_sources_have_them() -> None:
    def middle(kind: Timesteps, tokens: int = 1024) -> float:
        levels = timesteps.draw(kind, 20_000, tokens, 3.1582, generator(1, "test"))
        return float(median(levels.tolist()))

    assert middle(Timesteps.UNIFORM) == pytest.approx(0.5, abs=0.02)
    assert middle(Timesteps.SIGMOID) == pytest.approx(0.5, abs=0.02)
    assert middle(Timesteps.SHIFT) == pytest.approx(3.1582 / 4.1582, abs=0.02)
    # exp(mu) / (exp(mu) + 1), with diffusers' mu of 0.5 at 256 tokens and 1.15 at 4,096
    assert middle(Timesteps.FLUX_SHIFT, 256) == pytest.approx(0.622, abs=0.02)
    assert middle(Timesteps.FLUX_SHIFT, 4096) == pytest.approx(0.760, abs=0.02)


# --- batches ---


def pictures(*buckets: Bucket) -> list[Shown]:
    return [
        Shown(Item(f"{n}.png", f"{n:064}", 64, 64, f"caption {n}"), bucket, mirrored=False)
        for n, bucket in enumerate(buckets)
    ]


SQUARE, WIDE = Bucket(64, 64), Bucket(96, 48)


@given(st.integers(1, 30), st.integers(0, 10), st.integers(1, 9), st.integers(0, 3))
def test_every_picture_comes_in_every_epoch_and_no_batch_mixes_sizes(
    squares: int, wides: int, size: int, epoch: int
) -> None:
    shown = pictures(*[SQUARE] * squares, *[WIDE] * wides)
    batches = Batches(shown, size, seed=1)
    first = epoch * batches.in_epoch
    drawn = [batches.batch(first + number) for number in range(batches.in_epoch)]
    assert {one.item.file for batch in drawn for one in batch} == {one.item.file for one in shown}
    for batch in drawn:
        assert len(batch) == size
        assert len({one.bucket for one in batch}) == 1


def test_full_batches_show_each_picture_once_an_epoch() -> None:
    shown = pictures(*[SQUARE] * 12)
    batches = Batches(shown, 4, seed=2)
    seen = Counter(one.item.file for number in range(3) for one in batches.batch(number))
    assert set(seen.values()) == {1}


def test_the_order_depends_on_seed_and_number_alone() -> None:
    shown = pictures(*[SQUARE] * 9)
    late = Batches(shown, 2, seed=3).batch(57)
    batches = Batches(shown, 2, seed=3)
    for number in range(57):
        batches.batch(number)
    assert batches.batch(57) == late
    assert [Batches(shown, 2, seed=4).batch(n) for n in range(9)] != [
        batches.batch(n) for n in range(9)
    ]


# --- numbers ---


def test_the_rate_warms_up_stays_and_falls() -> None:
    numbers = recipe.load(
        Preset.CONCEPT, {"steps": 100, "warmup": 10, "decay": 0.5, "learning_rate": 0.01}
    )
    rates = [trainer.rate(numbers, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[9:50] == pytest.approx([0.01] * 41)
    assert rates[75] == pytest.approx(0.005)
    assert 0 < rates[99] < 0.001


def test_a_constant_rate_stays_to_the_end() -> None:
    numbers = recipe.load(Preset.CONCEPT, {"steps": 100, "warmup": 0, "decay": 0.0})
    assert {trainer.rate(numbers, step) for step in range(100)} == {numbers.learning_rate}


@pytest.mark.parametrize(
    ("batch", "share", "count"), [(20, 0.375, 12), (1, 0.5, 1), (1, 0.1, 1), (4, 0.0, 0)]
)
def test_prior_pictures_are_the_share_of_the_whole_batch(
    batch: int, share: float, count: int
) -> None:
    numbers = recipe.load(Preset.CONCEPT, {"batch": batch, "prior": 8, "prior_share": share})
    assert trainer.prior_count(numbers) == count


@pytest.mark.parametrize(
    ("caption", "plain"),
    [
        ("ohwx woman, in a park", "woman, in a park"),
        ("a photo of OHWX", "a photo of"),
        ("ohwx", ""),
    ],
)
def test_the_prior_is_asked_without_the_trigger(caption: str, plain: str) -> None:
    assert prior.without_trigger(caption, "ohwx") == plain


@given(st.lists(st.sampled_from(["ohwx", "OhWx", "a", "man,", "ohohwxwx"]), max_size=8))
def test_no_trigger_is_left_in_a_prior_prompt(words: list[str]) -> None:
    assert "ohwx" not in prior.without_trigger(" ".join(words), "ohwx").lower()


@pytest.mark.parametrize(
    ("caption", "whole"),
    [
        ("a woman", "ohwx, a woman"),
        ("an ohwx woman", "an ohwx woman"),
        ("[trigger] in a\n park ", "ohwx in a park"),
        ("", "ohwx"),
    ],
)
def test_every_caption_holds_the_trigger(caption: str, whole: str) -> None:
    assert with_trigger(caption, "ohwx") == whole


# --- float16's loss scale ---


def scaled(values: list[float], scale: LossScale) -> tuple[float, bool]:
    parameter = nn.Parameter(torch.zeros(len(values)))
    parameter.grad = torch.tensor(values)
    return scale.unscale([parameter], clip=1.0)


def standing() -> Standing:
    lora = {"a": nn.Parameter(torch.ones(2, 3)), "b": nn.Parameter(torch.ones(4))}
    return Standing(0, lora, AdamW(lora.values(), 0.1))


def test_the_scale_halves_at_an_infinite_gradient_and_grows_after_many_good_ones() -> None:
    own = standing()
    scale = LossScale(own, used=True)
    norm, finite = scaled([FIRST * 3, FIRST * 4], scale)
    assert finite
    assert norm == pytest.approx(5.0)
    assert scaled([float("inf"), 0.0], scale)[1] is False
    assert own.scale == FIRST / 2
    for _ in range(GROWS_AFTER):
        scaled([1.0, 1.0], scale)
    assert own.scale == FIRST


def test_without_float16_the_loss_is_not_scaled() -> None:
    own = standing()
    scale = LossScale(own, used=False)
    assert scaled([float("nan"), 1.0], scale)[1] is False
    assert own.scale == 1.0


# --- checkpoints ---


def walked(own: Standing, updates: int) -> Standing:
    for _ in range(updates):
        for number, one in enumerate(own.lora.values()):
            one.grad = torch.full_like(one, 0.1 * (number + own.step))
        own.optimiser.step()
        own.step += 1
    return own


def test_a_training_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path: Path) -> None:
    through = walked(standing(), 9)
    half = walked(standing(), 4)
    half.scale, half.growth = 512.0, 3
    checkpoints.write(tmp_path, half, "digest")
    found = checkpoint_files.newest(tmp_path, "digest")
    assert found is not None
    again = standing()
    checkpoints.restore(found, again)
    assert (again.step, again.scale, again.growth) == (4, 512.0, 3)
    walked(again, 5)
    for name, one in through.lora.items():
        assert torch.equal(one, again.lora[name])


def test_the_two_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    own = standing()
    for _ in range(4):
        checkpoints.write(tmp_path, walked(own, 1), "digest")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f"step-00000{n}.{kind}" for n in (3, 4) for kind in ("json", "safetensors")]


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "json"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, damage: str
) -> None:
    own = standing()
    checkpoints.write(tmp_path, walked(own, 1), "digest")
    path = checkpoints.write(tmp_path, walked(own, 1), "digest")
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-5])
    elif damage == "flipped":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "gone":
        path.unlink()
    else:
        path.with_suffix(".json").write_text("{")
    found = checkpoint_files.newest(tmp_path, "digest")
    assert found is not None
    assert found.step == 1


def test_a_checkpoint_of_another_plan_does_not_count(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, standing(), "one")
    assert checkpoint_files.newest(tmp_path, "other") is None
    assert checkpoint_files.newest(tmp_path) is not None


def test_a_checkpoint_of_another_lora_is_refused(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, standing(), "digest")
    found = checkpoint_files.newest(tmp_path)
    assert found is not None
    lora = {"a": nn.Parameter(torch.ones(2, 4))}
    with pytest.raises(TrainingError, match="another LoRA"):
        checkpoints.restore(found, Standing(0, lora, AdamW(lora.values(), 0.1)))


# --- pictures of it ---


def steps(*told: tuple[int, float]) -> list[Event]:
    return [
        Event(event=Happened.STEP, at=0, stage=Stage.TRAIN, step=step, loss=loss)
        for step, loss in told
    ]


def test_updates_that_were_made_again_count_once() -> None:
    told = steps((1, 0.9), (2, 0.8), (3, 0.7), (2, 0.6), (4, 0.5))
    assert loss_chart.points(told) == [(1, 0.9), (2, 0.6), (4, 0.5)]


def test_the_line_of_a_constant_loss_is_that_loss() -> None:
    line = loss_chart.smoothed([(step, 0.4) for step in range(50)])
    assert [loss for _, loss in line] == pytest.approx([0.4] * 50)


def test_the_chart_shows_the_losses_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "loss.png"
    loss_chart.draw(path, "falls", [(step, 1 - step / 100) for step in range(100)])
    with Image.open(path) as drawn:
        image = drawn.convert("RGB")
        assert image.size == (loss_chart.WIDTH, loss_chart.HEIGHT)
        line = [
            (x, y)
            for x in range(100, 900)
            for y in range(60, 420)
            if image.getpixel((x, y)) == (0, 114, 178)
        ]
    left = [y for x, y in line if x < 300]
    right = [y for x, y in line if x > 700]
    assert sum(left) / len(left) < sum(right) / len(right)


def test_the_sheet_holds_first_and_last_of_many_lots(tmp_path: Path) -> None:
    for step in range(0, 2000, 100):
        Image.new("RGB", (8, 8), (step // 10, 0, 0)).save(tmp_path / f"step-{step:06}-1.png")
    assert sample_sheet.draw(tmp_path / "sheet.png", tmp_path, ["a caption that is quite long"])
    with Image.open(tmp_path / "sheet.png") as sheet:
        row = [sheet.convert("RGB").getpixel((x, 100)) for x in range(sheet.width)]
    assert {(0, 0, 0), (190, 0, 0)} <= set(row)
    assert sample_sheet.chosen(range(20)) == [0, 3, 5, 8, 11, 14, 16, 19]


def test_no_samples_make_no_sheet(tmp_path: Path) -> None:
    assert not sample_sheet.draw(tmp_path / "sheet.png", tmp_path, ["a"])
    assert not (tmp_path / "sheet.png").exists()
