"""The walks, the noise and the masks: ComfyUI's, number for number."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from host import flux, schedules
from host.denoise import Start, denoise, mask_like, noise_like, start
from host.samplers import WALKS
from host.vae import to_model_space
from host.values import Latent, Noise, Sampler, Sigmas
from tests.comfyui_numbers import numbers, toy_guess

SHAPE = (2, 4, 2, 3)
LATENT = torch.tensor(numbers()["latent"]).view(SHAPE)
MASK = torch.tensor(numbers()["mask"]).view(1, 5, 7)
CPU = torch.device("cpu")


@pytest.mark.parametrize("walk", numbers()["walks"])
def test_walks_end_where_comfyuis_end(walk: str) -> None:
    expected = numbers()["walks"][walk]
    sampler, _, masked = walk.split()
    mask = mask_like(LATENT, MASK) if masked == "masked" else None
    begin = Start(LATENT, noise_like(LATENT, Noise(7)), mask)
    calls, reports = [], []

    def guess(latent: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        calls.append(level)
        return toy_guess(latent, level)

    levels = Sigmas(tuple(expected["levels"]))
    end, guessed = denoise(guess, begin, levels, Sampler(sampler), lambda i, _: reports.append(i))
    assert reports == expected["reports"]
    assert len(calls) == expected["calls"]
    assert torch.allclose(end.flatten(), torch.tensor(expected["result"]), rtol=1e-6, atol=1e-6)
    guesses = torch.tensor(expected["guess"])
    assert torch.allclose(guessed.flatten(), guesses, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sampler", WALKS)
def test_a_perfect_model_ends_at_the_picture(sampler: str) -> None:
    picture, noise = torch.randn(1, 16, 2, 2), torch.randn(1, 16, 2, 2)
    levels = Sigmas(schedules.simple(schedules.flux_table(), 3))
    begin = Start(torch.zeros_like(picture), noise)
    end, guessed = denoise(
        lambda latent, level: picture, begin, levels, Sampler(sampler), lambda i, p: None
    )
    assert torch.allclose(end, picture, atol=1e-5)
    assert torch.equal(guessed, picture)


def test_euler_walks_as_diffusers_scheduler_does() -> None:
    levels = schedules.simple(schedules.flux_table(), 6)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=list(levels[:-1]))
    latent = torch.randn(1, 16, 4, 4)
    pull = torch.randn(1, 16, 4, 4)

    def velocity(x: torch.Tensor, level: float) -> torch.Tensor:
        return (x - pull) * (1 + level)

    expected = latent
    for time in scheduler.timesteps:
        level = float(time) / 1000
        expected = scheduler.step(velocity(expected, level), time, expected).prev_sample
    end = WALKS["euler"](
        lambda x, level: x - velocity(x, float(level)) * level,
        latent,
        torch.tensor(levels),
        lambda i, p: None,
    )
    assert torch.allclose(end, expected, atol=1e-5)


@pytest.mark.parametrize("sampler", WALKS)
def test_what_a_report_raises_ends_the_walk_within_that_step(sampler: str) -> None:
    calls = []

    def guess(latent: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        calls.append(level)
        return latent

    def report(number: int, picture: torch.Tensor) -> None:
        if number == 1:
            raise InterruptedError

    levels = Sigmas((1.0, 0.75, 0.5, 0.25, 0.0))
    with pytest.raises(InterruptedError):
        denoise(guess, Start(LATENT, LATENT), levels, Sampler(sampler), report)
    assert float(calls[-1]) == 0.75


def test_noise_is_that_of_torchs_cpu_generator_for_the_whole_batch() -> None:
    latent = torch.zeros(2, 16, 4, 4)
    torch.manual_seed(803813584476)
    expected = torch.randn(2, 16, 4, 4)
    assert torch.equal(noise_like(latent, Noise(803813584476)), expected)
    largest = noise_like(latent, Noise(2**64 - 1))
    assert torch.isfinite(largest).all()
    assert not noise_like(latent, Noise(None)).any()


def test_a_latent_cut_from_a_batch_keeps_its_noise() -> None:
    recorded = numbers()["batch_noise"]
    noise = noise_like(torch.zeros(3, 2, 2, 2), Noise(11), recorded["indices"])
    assert noise.flatten().tolist() == recorded["noise"]
    latent = Latent(torch.zeros(1, 2, 2, 2), batch_index=(3,))
    assert torch.equal(start(latent, Noise(11), CPU).noise, noise[:1])


def test_masks_are_scaled_to_the_latent_and_repeated_over_the_batch() -> None:
    latent = torch.zeros(3, 16, 2, 2)
    half = torch.zeros(2, 1, 16, 16)
    half[:, :, :, 8:] = 1
    mask = mask_like(latent, half)
    assert mask.shape == latent.shape
    assert mask[2, 5].tolist() == [[0, 1], [0, 1]]
    assert mask_like(latent[:1], half[:, 0]).shape == (1, 16, 2, 2)


def test_only_an_empty_latent_is_not_brought_into_the_models_space() -> None:
    empty, full = torch.zeros(1, 16, 2, 2), torch.ones(1, 16, 2, 2)
    assert not start(Latent(empty), Noise(1), CPU).given.any()
    assert torch.equal(start(Latent(full), Noise(1), CPU).given, to_model_space(full))


def test_patches_are_rows_of_two_by_two_and_come_back() -> None:
    latent = torch.arange(2 * 16 * 4 * 6, dtype=torch.float32).view(2, 16, 4, 6)
    tokens = flux.patchify(latent)
    assert tokens.shape == (2, 6, 64)
    assert tokens[0, 1, :4].tolist() == latent[0, 0, :2, 2:4].flatten().tolist()
    assert torch.equal(flux.unpatchify(tokens, 2, 3), latent)
    assert flux.image_ids(2, 3, CPU)[4].tolist() == [0, 1, 1]
