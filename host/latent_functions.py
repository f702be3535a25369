"""What the nodes of :mod:`host.latent_nodes` do."""

from host.node_types import Context, Result


def empty_latent(context: Context, *, width: int, height: int, batch_size: int) -> Result:
    """EmptySD3LatentImage, EmptyLatentImage: zeros to start from.

    ComfyUI gives 4 channels from the latter and widens them in the sampler; here both are 16 wide.
    """
    return Result((context.engine.empty_latent(width, height, batch_size),))
