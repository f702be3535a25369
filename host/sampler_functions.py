"""What the nodes of :mod:`host.sampler_nodes` do."""

from dataclasses import replace

from host.node_types import Context, Result
from host.values import Conditioning, Guider, Latent, Model, Noise, Sampler, Sigmas

_NEARLY_CLEAN = 9.999999747378752e-05  # 0.0001 as a float32

# --- sampling ---


def sample(
    context: Context,
    *,
    model: Model,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    denoise: float,
) -> Result:
    """KSampler: denoise, reporting every step."""
    guider = Guider(model, positive, negative, cfg)
    sigmas = context.engine.levels(model, scheduler, steps, denoise)
    made = _sampled(context, guider, Noise(seed), Sampler(sampler_name), sigmas, latent_image)
    return Result(made[:1])


def sample_part(
    context: Context,
    *,
    model: Model,
    add_noise: str,
    noise_seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    start_at_step: int,
    end_at_step: int,
    return_with_leftover_noise: str,
) -> Result:
    """KSamplerAdvanced: the same for some of the steps."""
    guider = Guider(model, positive, negative, cfg)
    noise = Noise(noise_seed if add_noise == "enable" else None)
    leftover = return_with_leftover_noise == "enable"
    sigmas = part_of(
        context.engine.levels(model, scheduler, steps, 1.0),
        start_at_step,
        end_at_step,
        leftover=leftover,
    )
    made = _sampled(context, guider, noise, Sampler(sampler_name), sigmas, latent_image)
    return Result(made[:1])


def sample_custom(
    context: Context,
    *,
    model: Model,
    add_noise: bool,
    noise_seed: int,
    cfg: float,
    positive: Conditioning,
    negative: Conditioning,
    sampler: Sampler,
    sigmas: Sigmas,
    latent_image: Latent,
) -> Result:
    """SamplerCustom: with a sampler and levels of one's own."""
    guider = Guider(model, positive, negative, cfg)
    noise = Noise(noise_seed if add_noise else None)
    return Result(_sampled(context, guider, noise, sampler, sigmas, latent_image))


def sample_guided(
    context: Context,
    *,
    noise: Noise,
    guider: Guider,
    sampler: Sampler,
    sigmas: Sigmas,
    latent_image: Latent,
) -> Result:
    """SamplerCustomAdvanced: with every part of one's own."""
    return Result(_sampled(context, guider, noise, sampler, sigmas, latent_image))


def _sampled(
    context: Context,
    guider: Guider,
    noise: Noise,
    sampler: Sampler,
    sigmas: Sigmas,
    latent: Latent,
) -> tuple[Latent, Latent]:
    made: tuple[Latent, Latent] = context.engine.sample(
        guider,
        noise,
        sampler,
        sigmas,
        latent,
        report=context.progress,
        previews=context.previews,
    )
    return made


# --- the parts of a sampling ---


def random_noise(context: Context, *, noise_seed: int) -> Result:
    """RandomNoise: noise of a seed."""
    del context
    return Result((Noise(noise_seed),))


def no_noise(context: Context) -> Result:
    """DisableNoise: none."""
    del context
    return Result((Noise(None),))


def basic_guider(context: Context, *, model: Model, conditioning: Conditioning) -> Result:
    """BasicGuider: a model with one prompt."""
    del context
    return Result((Guider(model, conditioning),))


def cfg_guider(
    context: Context,
    *,
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    cfg: float,
) -> Result:
    """CFGGuider: a model with two prompts."""
    del context
    return Result((Guider(model, positive, negative, cfg),))


def select_sampler(context: Context, *, sampler_name: str) -> Result:
    """KSamplerSelect: a sampler by its name."""
    del context
    return Result((Sampler(sampler_name),))


def shift_for_size(
    context: Context,
    *,
    model: Model,
    max_shift: float,
    base_shift: float,
    width: int,
    height: int,
) -> Result:
    """ModelSamplingFlux: the noise levels for a size of picture."""
    shift = size_shift(width, height, base_shift, max_shift)
    del context
    return Result((replace(model, shift=shift),))


def size_shift(width: int, height: int, base: float, most: float) -> float:
    """Return the shift for a picture's size in pixels (ModelSamplingFlux).

    Args:
        width: in pixels.
        height: in pixels.
        base: shift at 256 image tokens (256 x 256 pixels).
        most: shift at 4096 image tokens (1024 x 1024 pixels); beyond, the line goes on.
    """
    slope = (most - base) / (4096 - 256)
    return (width * height / (8 * 8 * 2 * 2)) * slope + (base - slope * 256)


# --- noise levels ---


def schedule(
    context: Context, *, model: Model, scheduler: str, steps: int, denoise: float
) -> Result:
    """BasicScheduler: the levels of a scheduler."""
    return Result((context.engine.levels(model, scheduler, steps, denoise),))


def split_sigmas(context: Context, *, sigmas: Sigmas, step: int) -> Result:
    """SplitSigmas: those up to a step, and those from it on."""
    del context
    return Result((Sigmas(sigmas.levels[: step + 1]), Sigmas(sigmas.levels[step:])))


def flip_sigmas(context: Context, *, sigmas: Sigmas) -> Result:
    """FlipSigmas: the other way round, from nearly clean to noise."""
    del context
    flipped = sigmas.levels[::-1]
    if flipped and flipped[0] == 0:
        flipped = (_NEARLY_CLEAN, *flipped[1:])
    return Result((Sigmas(flipped),))


def part_of(sigmas: Sigmas, start: int, end: int, *, leftover: bool) -> Sigmas:
    """Return the levels of some steps, as KSamplerAdvanced does; none if nothing is to be done.

    Args:
        sigmas: all levels.
        start: first step, from 0.
        end: where to stop.
        leftover: stop at that step's level; otherwise its step goes all the way to 0.
    """
    levels = sigmas.levels
    if end < len(levels) - 1:
        levels = levels[: end + 1]
        if not leftover:
            levels = (*levels[:-1], 0.0)
    return Sigmas(levels[start:] if start < len(levels) - 1 else ())
