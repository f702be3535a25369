"""What the nodes of :mod:`host.sampler_nodes` do."""

from host.node_types import Context, Result
from host.values import Conditioning, Latent, Model


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
    del sampler_name  # the only one that the table offers is euler
    samples = None
    for step in context.engine.sample(
        model,
        positive,
        negative,
        latent_image,
        seed=seed,
        steps=steps,
        cfg=cfg,
        scheduler=scheduler,
        denoise=denoise,
        previews=context.previews,
    ):
        context.progress(step.number, step.total, step.preview)
        samples = step.latent
    return Result((samples if samples is not None else latent_image,))
