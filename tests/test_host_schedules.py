"""The noise levels: ComfyUI's, to the last bit."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from host import sampler_functions, schedules
from host.errors import RenderError
from host.schedules import SCHEDULERS, Table, levels_for
from tests.comfyui_numbers import numbers

TABLES = {
    "dev": schedules.flux_table(),
    "shifted": schedules.flux_table(0.6303),
    "schnell": schedules.schnell_table(),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_levels_are_those_of_comfyui(table: str, scheduler: str) -> None:
    for steps, expected in numbers()["levels"][table][scheduler].items():
        assert list(SCHEDULERS[scheduler](TABLES[table], int(steps))) == expected, steps


@pytest.mark.parametrize("steps", ["16", "100", "1000"])
def test_beta_quantiles_are_those_of_scipy(steps: str) -> None:
    expected = numbers()["beta_indices"][steps]
    portions = 1 - torch.arange(int(steps), dtype=torch.float64) / int(steps)
    assert torch.round(schedules.beta_quantiles(portions) * 9999).tolist() == expected


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 8, 50, 10_000])
def test_levels_fall_from_one_to_zero(scheduler: str, steps: int) -> None:
    levels = levels_for(TABLES["dev"], scheduler, steps, 1.0)
    assert len(levels) == steps + 1 or scheduler == "beta"
    assert levels[0] == 1.0
    assert levels[-1] == 0.0
    assert all(here > there for here, there in pairwise(levels))


def test_less_denoising_takes_the_last_of_more_levels() -> None:
    table = TABLES["dev"]
    assert levels_for(table, "simple", 4, 0.5) == schedules.simple(table, 8)[-5:]
    assert levels_for(table, "simple", 4, 0.0) == ()


def test_a_denoising_without_end_is_refused() -> None:
    with pytest.raises(RenderError, match="Raise denoise"):
        levels_for(TABLES["dev"], "simple", 20, 1e-9)


def test_schnell_has_levels_that_are_not_shifted() -> None:
    assert levels_for(TABLES["schnell"], "simple", 4, 1.0) == (1.0, 0.75, 0.5, 0.25, 0.0)


def test_a_table_without_smallest_level_ends_in_it() -> None:
    table = Table(torch.tensor([1e-6, 0.5, 1.0]), None)
    assert schedules.normal(table, 2) == pytest.approx((1.0, 0.5, 1e-6))


def test_a_shift_beyond_all_numbers_is_a_sentence() -> None:
    with pytest.raises(RenderError, match="ModelSamplingFlux"):
        schedules.flux_table(1e4)


def test_a_pictures_size_decides_the_shift() -> None:
    assert sampler_functions.size_shift(1024, 1024, 0.5, 1.15) == pytest.approx(1.15)
    assert sampler_functions.size_shift(256, 256, 0.5, 1.15) == pytest.approx(0.5)
    assert sampler_functions.size_shift(512, 512, 0.5, 1.15) == pytest.approx(0.63, abs=1e-3)


@given(st.integers(1, 3000), st.floats(0.01, 1.0))
def test_no_scheduler_gives_more_steps_than_asked_for(steps: int, denoise: float) -> None:
    for scheduler in ("simple", "normal", "beta", "sgm_uniform"):
        if int(steps / denoise) > 5000:
            return
        levels = levels_for(TABLES["dev"], scheduler, steps, denoise)
        assert 2 <= len(levels) <= steps + 1
