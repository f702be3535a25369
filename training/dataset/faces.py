"""Where faces are in a picture, as far as a detector sees them.

Two detectors: the Haar cascade that comes inside OpenCV's package, which sees frontal faces and
sometimes a face where there is none; and YuNet (github.com/opencv/opencv_zoo), which is better but
whose file the user has to bring. Who is on a picture is not asked.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from training.errors import TrainingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALLEST = 0.05  # of the longer side: what is smaller is nobody's portrait
_STEP = 1.1  # OpenCV's default: sizes that are looked for grow by a tenth
_NEIGHBOURS = 6  # OpenCV's default is 3; more misses a little and invents much less
_CERTAIN = 0.8  # of YuNet; its demo has 0.9, and misses faces that are turned


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    left: int
    top: int
    width: int
    height: int

    def scaled(self, factor: float) -> "Box":
        """Return the box in a picture that is so many times as large."""
        sides = (self.left, self.top, self.width, self.height)
        return Box(*(round(side * factor) for side in sides))


class FaceDetector(Protocol):
    """Finds faces; one is used by one thread."""

    def find(self, rgb: "NDArray[np.uint8]") -> tuple[Box, ...]:
        """Return the faces, the largest first; ``rgb`` has the shape (height, width, 3)."""
        ...


class Haar:
    """The cascade inside OpenCV's package (haarcascade_frontalface_alt2)."""

    def __init__(self) -> None:
        import cv2

        name = "haarcascade_frontalface_alt2.xml"
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / name))

    def find(self, rgb: "NDArray[np.uint8]") -> tuple[Box, ...]:
        """See :class:`FaceDetector`."""
        import cv2

        grey = cv2.equalizeHist(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        least = max(24, round(max(grey.shape) * SMALLEST))
        found = self._cascade.detectMultiScale(
            grey, scaleFactor=_STEP, minNeighbors=_NEIGHBOURS, minSize=(least, least)
        )
        return largest_first(Box(*(int(side) for side in face)) for face in found)


class YuNet:
    """The network of OpenCV's zoo (face_detection_yunet_2023mar.onnx).

    Raises:
        TrainingError: the file is missing, or is not that network.
    """

    def __init__(self, path: Path) -> None:
        import cv2

        if not path.is_file():
            raise TrainingError("there is no such file", path=path)
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), _CERTAIN)
        except cv2.error as error:
            why = " ".join(str(error).split())
            raise TrainingError("is no YuNet network", path=path, why=why) from error

    def find(self, rgb: "NDArray[np.uint8]") -> tuple[Box, ...]:
        """See :class:`FaceDetector`."""
        import cv2

        height, width = rgb.shape[:2]
        self._network.setInputSize((width, height))
        _, found = self._network.detect(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        rows = [] if found is None else found
        return largest_first(Box(*(round(float(side)) for side in row[:4])) for row in rows)


def largest_first(boxes: Any) -> tuple[Box, ...]:
    """Sort boxes by area."""
    return tuple(sorted(boxes, key=lambda box: (-box.width * box.height, box.left, box.top)))
