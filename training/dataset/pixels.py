"""A picture file as training sees it: upright, RGB, on white where it was transparent."""

from pathlib import Path

from PIL import Image, ImageOps

from training.errors import TrainingError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def read(path: Path) -> Image.Image:
    """Return a picture as training sees it, mode RGB.

    Raises:
        TrainingError: it is damaged, or no picture.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                seen = image.convert("RGBA")
                white = Image.new("RGBA", seen.size, "white")
                return Image.alpha_composite(white, seen).convert("RGB")
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainingError("cannot be read as a picture", path=path, why=str(error)) from error
