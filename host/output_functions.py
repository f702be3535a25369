"""What the nodes of :mod:`host.output_nodes` do: thin calls of :mod:`host.images`."""

from pathlib import Path
from typing import Any

from host.folders import TEMP_PREFIX
from host.messages import ImageFormat
from host.node_types import Context, Picture, Result


def empty_image(
    context: Context, *, width: int, height: int, batch_size: int, color: int
) -> Result:
    """EmptyImage: one colour; needs no model, so it is what probes and benchmarks use."""
    from host.images import blank  # numpy and Pillow load with the first picture, not at start

    del context
    return Result((blank(width, height, batch_size, color),))


def save_image(context: Context, *, images: Any, filename_prefix: str) -> Result:
    """SaveImage: PNG files with the graph inside."""
    from host.images import SAVE_LEVEL

    return _save(context, images, context.folders.output, filename_prefix, "output", SAVE_LEVEL)


def preview_image(context: Context, *, images: Any) -> Result:
    """PreviewImage: the same into the temp folder, under a random name."""
    from host.images import TEMP_LEVEL

    prefix = f"{TEMP_PREFIX}{context.random_name()}"
    return _save(context, images, context.folders.temp, prefix, "temp", TEMP_LEVEL)


def send_image(context: Context, *, images: Any) -> Result:
    """SaveImageWebsocket: PNG frames to the client, no file."""
    from host.images import SAVE_LEVEL, to_png

    for index, pixels in enumerate(images):
        png = to_png(pixels, {}, level=SAVE_LEVEL)
        context.progress(index, len(images), Picture(png, ImageFormat.PNG))
    return Result()


def _save(context: Context, images: Any, root: Path, prefix: str, kind: str, level: int) -> Result:
    from host.images import save, text_chunks

    text = text_chunks(context.graph, context.extra_pnginfo)
    saved = save(root, prefix, images, text, when=context.now(), level=level)
    shown = [{**place, "type": kind} for _, place in saved]
    return Result((), {"images": shown}, tuple(path for path, _ in saved))
