"""The sampler: ComfyUI's levels and noise, Euler's steps."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from host import flux, sampling


def shifted(time: float) -> float:
    return math.exp(1.15) / (math.exp(1.15) + (1 / time - 1))


def test_simple_levels_are_evenly_spread_times() -> None:
    expected = [shifted(time) for time in (1.0, 0.75, 0.5, 0.25)] + [0.0]
    assert sampling.simple(4) == pytest.approx(expected, abs=1e-6)


def test_normal_levels_are_shifted_twice() -> None:
    times = torch.linspace(1.0, shifted(1 / 10_000), 5).tolist()
    expected = [shifted(time) for time in times] + [0.0]
    assert sampling.normal(5) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scheduler", ["simple", "normal"])
@pytest.mark.parametrize("steps", [1, 2, 8, 50, 10_000])
def test_levels_fall_from_one_to_zero(scheduler: str, steps: int) -> None:
    levels = sampling.levels_for(scheduler, steps, 1.0)
    assert len(levels) == steps + 1
    assert levels[0] == pytest.approx(1.0)
    assert levels[-1] == 0.0
    assert all(here > there for here, there in pairwise(levels))


def test_less_denoising_takes_the_last_of_more_levels() -> None:
    assert sampling.levels_for("simple", 4, 0.5) == sampling.simple(8)[-5:]
    assert sampling.levels_for("simple", 4, 0.0) == []


def test_noise_is_that_of_torchs_cpu_generator_for_the_whole_batch() -> None:
    latent = torch.zeros(2, 16, 4, 4)
    torch.manual_seed(803813584476)
    assert torch.equal(sampling.noise_like(latent, 803813584476), torch.randn(2, 16, 4, 4))
    largest = sampling.noise_like(latent, 2**64 - 1)
    assert torch.isfinite(largest).all()


def test_euler_walks_as_diffusers_scheduler_does() -> None:
    levels = sampling.simple(6)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=levels[:-1])
    latent = torch.randn(1, 16, 4, 4)
    pull = torch.randn(1, 16, 4, 4)

    def velocity(x: torch.Tensor, level: float) -> torch.Tensor:
        return (x - pull) * (1 + level)

    expected = latent
    for time in scheduler.timesteps:
        level = float(time) / 1000
        expected = scheduler.step(velocity(expected, level), time, expected).prev_sample
    steps = list(sampling.euler(latent, levels, velocity))
    assert [step.number for step in steps] == [1, 2, 3, 4, 5, 6]
    assert torch.allclose(steps[-1].latent, expected, atol=1e-5)


def test_a_perfect_model_ends_at_the_picture() -> None:
    picture, noise = torch.randn(1, 16, 2, 2), torch.randn(1, 16, 2, 2)
    begin = sampling.start(picture, noise, 1.0)
    steps = list(sampling.euler(begin, sampling.simple(3), lambda x, level: noise - picture))
    assert torch.allclose(steps[-1].latent, picture, atol=1e-5)
    assert all(torch.allclose(step.picture, picture, atol=1e-5) for step in steps)


def test_patches_are_rows_of_two_by_two_and_come_back() -> None:
    latent = torch.arange(2 * 16 * 4 * 6, dtype=torch.float32).view(2, 16, 4, 6)
    tokens = flux.patchify(latent)
    assert tokens.shape == (2, 6, 64)
    assert tokens[0, 1, :4].tolist() == latent[0, 0, :2, 2:4].flatten().tolist()
    assert torch.equal(flux.unpatchify(tokens, 2, 3), latent)
    assert flux.image_ids(2, 3, torch.device("cpu"))[4].tolist() == [0, 1, 1]
