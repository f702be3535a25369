"""What is measured of one picture: size, sharpness, likeness to others, borders, faces.

Numbers only; what they mean is said by the checks. A large picture is decoded as small as its
file allows, and at most one very large one at a time, so memory stays bounded.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from models import store
from training.dataset import pixels
from training.dataset.faces import Box, FaceDetector
from training.dataset.pixels import Look

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOOKED_AT = 1024  # pixels of the longer side that faces are looked for in
SHARPNESS_SIDE = 512  # pixels of the longer side at which sharpness is comparable
BORDER_SIDE = 256
THUMBNAIL_SIDE = 320

_EVEN = 6.0  # standard deviation of a line of one colour, after a JPEG's noise
_EDGE = 12.0  # levels by which a picture's first line differs from its border


@dataclass(frozen=True, slots=True)
class Borders:
    """Bars of one colour, as shares of height and width; 0 where there are none.

    Attributes:
        across: above and below together.
        along: left and right together.
    """

    across: float
    along: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One picture.

    Attributes:
        file: relative to the folder, with slashes.
        sha256: of the file.
        look: what the file says.
        sharpness: variance of the Laplacian at a fixed size; tells only compared with others.
        likeness: perceptual hash (pHash), 64 bits.
        borders: bars around it.
        faces: in pixels of the upright picture, the largest first.
        thumbnail: a small JPEG.
    """

    file: str
    sha256: str
    look: Look
    sharpness: float
    likeness: int
    borders: Borders
    faces: tuple[Box, ...]
    thumbnail: bytes


def measure(folder: Path, path: Path, detector: FaceDetector) -> Measurement:
    """Measure a picture.

    Raises:
        TrainingError: it cannot be read.
    """
    with pixels.in_turn(path):
        image, look = pixels.look(path, LOOKED_AT)
        image.thumbnail((LOOKED_AT, LOOKED_AT), Image.Resampling.BOX)
    return _of(image, look, path.relative_to(folder).as_posix(), store.sha256(path), detector)


def _of(
    image: Image.Image, look: Look, file: str, sha256: str, detector: FaceDetector
) -> Measurement:
    import numpy as np

    seen = np.asarray(image)
    factor = max(look.width, look.height) / max(image.size)
    return Measurement(
        file=file,
        sha256=sha256,
        look=look,
        sharpness=sharpness(image),
        likeness=likeness(image),
        borders=borders(image),
        faces=tuple(box.scaled(factor) for box in detector.find(seen)),
        thumbnail=_thumbnail(image),
    )


def sharpness(image: Image.Image) -> float:
    """Return the variance of the Laplacian, the longer side being 512 pixels.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000).
    """
    import cv2
    import numpy as np

    grey = np.asarray(_fitted(image, SHARPNESS_SIDE).convert("L"))
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def likeness(image: Image.Image) -> int:
    """Return the perceptual hash: the signs of a picture's 64 coarsest waves."""
    import imagehash

    return int(str(imagehash.phash(image)), 16)


def borders(image: Image.Image) -> Borders:
    """Return the bars of one colour around a picture.

    A bar ends at an edge that runs along most of it; a plain background does not, its picture
    comes in where the subject is.
    """
    import numpy as np

    grey = np.asarray(_fitted(image, BORDER_SIDE).convert("L")).astype(np.float32)
    return Borders(_bars(grey), _bars(grey.T))


def _bars(grey: "NDArray[np.float32]") -> float:
    """Return the share of lines at both ends of one colour; 0 unless there are some at both."""
    above, below = _bar(grey), _bar(grey[::-1])
    alike = abs(float(grey[0].mean()) - float(grey[-1].mean())) < _EDGE
    return (above + below) / len(grey) if above and below and alike else 0.0


def _bar(grey: "NDArray[np.float32]") -> int:
    """Return how many lines at the top are one colour and end at an edge."""
    import numpy as np

    colour = float(grey[0].mean())
    count = 0
    for line in grey[: len(grey) // 2]:
        if float(line.std()) > _EVEN or abs(float(line.mean()) - colour) > _EVEN:
            break
        count += 1
    # A line on: the one where it ends may be half of each.
    after = grey[min(count + 1, len(grey) - 1)]
    share = float(np.mean(np.abs(after - colour) > _EDGE))
    return count if count and share > 0.5 else 0  # most of the line


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """Return the picture with its longer side that long, made larger where it is smaller."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR)


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    target = io.BytesIO()
    small.save(target, "JPEG", quality=80)
    return target.getvalue()
