"""The same prompts and seeds drawn in several ways by one embedded host, and what the pictures say.

Ways take turns, so that a machine that slows down meanwhile slows all of them. Each has a unet file
of its own name even where two are the same file: the host keeps what it loaded under that name, and
a LoRA would leave its layers behind on the other's.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from statistics import mean, median

import numpy as np
from PIL import Image

from bridge.request import LoraChoice, Request
from core import pixel_difference, ssim
from core.easel import Drawn, Easel
from models.micro import concept, exam, grammar, judge, spec
from models.micro.grammar import Scene
from models.micro.picture import Pixels
from models.store import Folder

ROUNDS = 4  # turns that each way has
_WORDS = re.compile(rf"\b{spec.TRIGGER_WORD}\b")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to draw.

    Attributes:
        name: short, for file names.
        label: for readers.
        unet: its file.
        lora: whether the LoRAs are added while drawing.
        reference: name of the way whose pictures it should give; its own if it is a reference.
    """

    name: str
    label: str
    unet: Path
    lora: bool
    reference: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """How near a picture is to its reference.

    Attributes:
        psnr: in dB; None for identical pixels.
        ssim: 1 for identical ones.
    """

    psnr: float | None
    ssim: float


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many."""

    right: int
    count: int

    def __str__(self) -> str:
        return f"{self.right} of {self.count}" if self.count else "-"


@dataclass(slots=True)
class Gallery:
    """Everything drawn: by request and way.

    Attributes:
        requests: rows; as if for no LoRA.
        ways: columns.
        micro: whether it is the shipped micro Flux that draws.
        drawn: by row number and the way's name.
    """

    requests: Sequence[Request]
    ways: Sequence[Way]
    micro: bool = False
    drawn: dict[tuple[int, str], Drawn] = field(default_factory=dict)

    def judged(self, row: int) -> bool:
        """Whether the judge can read it: the micro Flux drew it, at its own size."""
        request = self.requests[row]
        return self.micro and request.width == request.height == spec.SIDE

    def likeness(self, row: int, way: Way) -> Likeness | None:
        """Compare a picture with its reference; None for a reference."""
        if way.reference == way.name:
            return None
        own, other = (self.drawn[row, name].png for name in (way.name, way.reference))
        return Likeness(pixel_difference.compare(other, own).psnr, ssim.of_files(other, own))

    def likenesses(self, way: Way) -> list[Likeness]:
        """All of a way's."""
        found = (self.likeness(row, way) for row in range(len(self.requests)))
        return [one for one in found if one is not None]

    def step(self, way: Way) -> float:
        """Median seconds of a step."""
        steps = [s for (_, name), one in self.drawn.items() if name == way.name for s in one.steps]
        return median(steps) if steps else 0.0

    def scenes(self, way: Way) -> Share:
        """Of the prompts that ask for a scene of the micro Flux, how many pictures show it."""
        asked = [(row, scene_of(one.prompt)) for row, one in enumerate(self.requests)]
        right = [
            judge.read(_pixels(self.drawn[row, way.name].png)).shows(scene)
            for row, scene in asked
            if scene is not None and self.judged(row)
        ]
        return Share(sum(right), len(right))

    def concepts(self, way: Way) -> Share:
        """Of the prompts with the micro LoRA's word, how many pictures show what it means."""
        rows = [
            row
            for row, one in enumerate(self.requests)
            if _WORDS.search(one.prompt) and self.judged(row)
        ]
        right = [concept.shown(_pixels(self.drawn[row, way.name].png)) for row in rows]
        return Share(sum(right), len(right))


def draw(
    easel: Easel, gallery: Gallery, loras: Sequence[LoraChoice], rounds: int = ROUNDS
) -> Iterator[int]:
    """Fill a gallery; yields how many pictures are done.

    Args:
        easel: a host on the folder that lay_out() made.
        gallery: with nothing drawn.
        loras: as the host lists them.
        rounds: turns of each way.

    Raises:
        HostError, WorkflowError: a picture cannot be made.
    """
    rows = range(len(gallery.requests))
    for turn in range(rounds):
        for way in gallery.ways:
            for row in rows[turn::rounds]:
                wanted = replace(
                    gallery.requests[row],
                    unet=f"{way.name}.gguf",
                    loras=tuple(loras) if way.lora else (),
                )
                gallery.drawn[row, way.name] = easel.draw(wanted)
                yield len(gallery.drawn)


def lay_out(
    models: Path, ways: Sequence[Way], loras: Sequence[Path], others: Mapping[str, Path]
) -> list[str]:
    """Make a models folder of links; returns the LoRAs' names in it.

    Args:
        models: an empty folder.
        ways: whose unets are linked, under the ways' names.
        loras: LoRA files.
        others: companions, by "FOLDER/NAME".
    """
    names = [f"{number}-{path.name}" for number, path in enumerate(loras, start=1)]
    links = {f"{Folder.UNET}/{way.name}.gguf": way.unet for way in ways}
    links |= {f"{Folder.LORAS}/{name}": path for name, path in zip(names, loras, strict=True)}
    for name, target in {**links, **others}.items():
        place = models / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target.absolute())
    return names


def middle(values: Sequence[float | None]) -> float | None:
    """The median of PSNRs; identical pictures, None, count as better than any."""
    if not values:
        return None
    found = median(float("inf") if value is None else value for value in values)
    return None if found == float("inf") else found


def average(values: Sequence[float]) -> float:
    """The mean, 1 for none."""
    return mean(values) if values else 1.0


def micro_prompts(each: int) -> list[str]:
    """Held-out scenes of the micro Flux and prompts with its LoRA's word, so many of either."""
    scenes = [one.prompt for one in exam.mixed()]
    return [*_spread(scenes, each), *_spread(exam.concept_prompts(), each)]


def _spread(many: Sequence[str], count: int) -> list[str]:
    return [many[number * len(many) // count] for number in range(count)]


@cache
def _captions() -> Mapping[str, Scene]:
    wordings = range(len(grammar.WORDINGS))
    return {scene.caption(wording): scene for scene in grammar.scenes() for wording in wordings}


def scene_of(prompt: str) -> Scene | None:
    """The scene that a prompt asks for, if it is one of the micro Flux's own sentences."""
    return _captions().get(prompt)


def _pixels(png: bytes) -> Pixels:
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))
