"""Writes pictures as PNG, whole or not at all."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from models import store


def write(path: Path, image: Image.Image) -> None:
    """Write a picture.

    Raises:
        OSError: the disk refuses.
    """
    content = BytesIO()
    image.save(content, format="PNG")
    store.atomic_write(path, content.getvalue())
