"""What the nodes of :mod:`host.vae_nodes` do: one call of the engine each."""

from host.node_types import Context, Result
from host.values import Latent, Vae


def decode(context: Context, *, samples: Latent, vae: Vae) -> Result:
    """VAEDecode: a latent becomes pixels."""
    return Result((context.engine.decode(vae, samples),))
