"""Checks a folder of pictures and captions before a LoRA is trained on it.

Reads every picture once, on all cores, and never writes. What a finding is worth is said by the
checks; what becomes of it is the caller's.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training import buckets
from training.buckets import Bucket
from training.dataset import (
    caption_checks,
    caption_file,
    crop,
    faces,
    finding,
    folder_checks,
    measurement,
    picture_checks,
    picture_set,
    pixels,
    set_checks,
    token_count,
)
from training.dataset.caption_checks import Caption
from training.dataset.caption_file import CaptionFile
from training.dataset.faces import Box, FaceDetector
from training.dataset.finding import Finding, Severity
from training.dataset.measurement import Measurement
from training.dataset.picture_set import Item, PictureSet
from training.dataset.token_count import TokenCounter
from training.errors import TrainingError
from training.recipe import Preset, Recipe


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a folder.

    Attributes:
        folder: of the pictures.
        trigger: the word that calls what is learned.
        preset: what is to be learned.
        recipe: how it is to be trained.
        pictures: those that can be read, as a training would take them.
        measured: the same pictures in the same order.
        captions: of all pictures.
        findings: the worst first.
        buckets: for each resolution, sizes with how many pictures are trained at them.
        crops: proposals by file.
        exact: captions' tokens were counted, not estimated.
    """

    folder: Path
    trigger: str
    preset: Preset
    recipe: Recipe
    pictures: PictureSet
    measured: tuple[Measurement, ...]
    captions: tuple[Caption, ...]
    findings: tuple[Finding, ...]
    buckets: Mapping[int, Mapping[Bucket, int]]
    crops: Mapping[str, Box]
    exact: bool

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What keeps a training from beginning."""
        return finding.only(Severity.ERROR, self.findings)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What makes the LoRA worse."""
        return finding.only(Severity.WARNING, self.findings)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is dealt with."""
        return finding.only(Severity.NOTE, self.findings)


def check(
    folder: Path,
    trigger: str,
    recipe: Recipe,
    preset: Preset,
    *,
    counters: Sequence[TokenCounter] = (),
    detector: Callable[[], FaceDetector] = faces.Haar,
    workers: int = 0,
) -> Report:
    """Check a folder.

    Args:
        folder: of pictures, captions beside them; sub-folders count.
        trigger: the word that calls what is learned.
        recipe: how it is to be trained; its resolutions say what is too small.
        preset: what is to be learned.
        counters: of the text encoders' tokens; none: estimates.
        detector: makes a face detector; one is made for each worker.
        workers: pictures looked at at once; 0: one a core.

    Raises:
        TrainingError: there is no such folder.
    """
    files = picture_set.all_files(folder)
    paths = [path for path in files if path.suffix.lower() in pixels.SUFFIXES]
    problems: list[Finding] = []
    measured = tuple(_all_measured(folder, paths, detector, workers, problems))
    captions = tuple(_caption(folder, path, trigger, problems) for path in paths)
    problems += folder_checks.check(folder, _names(folder, paths), _names(folder, files))
    problems += picture_checks.check(measured, recipe)
    problems += set_checks.check(measured, preset)
    if not paths:
        problems.append(_nothing())
    counting = counters or token_count.estimates()
    problems += caption_checks.check(captions, trigger, counting)
    return Report(
        folder=folder,
        trigger=trigger,
        preset=preset,
        recipe=recipe,
        pictures=_pictures(measured, captions),
        measured=measured,
        captions=captions,
        findings=_ordered(problems),
        buckets=_buckets(measured, recipe),
        crops={one.file: box for one in measured if (box := crop.propose(one, recipe))},
        exact=all(counter.exact for counter in counting),
    )


def _all_measured(
    folder: Path,
    paths: Sequence[Path],
    detector: Callable[[], FaceDetector],
    workers: int,
    problems: list[Finding],
) -> Iterator[Measurement]:
    """Measure the pictures; Pillow and OpenCV let other threads run while they compute."""
    own = threading.local()  # OpenCV's detectors are not for several threads

    def measured(path: Path) -> Measurement | Finding:
        if not hasattr(own, "detector"):
            own.detector = detector()
        try:
            return measurement.measure(folder, path, own.detector)
        except TrainingError as error:
            return _unreadable(_name(folder, path), error)

    if not paths:
        return
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        for found in pool.map(measured, paths):
            if isinstance(found, Finding):
                problems.append(found)
            else:
                yield found
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for the pictures begun, no longer


def _caption(folder: Path, path: Path, trigger: str, problems: list[Finding]) -> Caption:
    name = _name(folder, path)
    try:
        own = caption_file.read(path)
    except TrainingError as error:
        problems.append(_unreadable(name, error))
        own = CaptionFile("")
    return Caption(name, own, picture_set.with_trigger(own.text, trigger))


def _unreadable(name: str, error: TrainingError) -> Finding:
    text = f"{error.what}{f': {error.why}' if error.why else ''}"
    fix = error.fix or "Replace it, or take it out of the folder"
    return Finding(Severity.ERROR, "unreadable", (name,), text, fix)


def _nothing() -> Finding:
    fix = f"Put some there: {', '.join(pixels.SUFFIXES)}"
    return Finding(Severity.ERROR, "no-pictures", (), "there are no pictures", fix)


def _pictures(measured: Sequence[Measurement], captions: Sequence[Caption]) -> PictureSet:
    texts = {caption.file: caption.text for caption in captions}
    return picture_set.of(
        Item(one.file, one.sha256, one.look.width, one.look.height, texts[one.file])
        for one in measured
    )


def _buckets(measured: Sequence[Measurement], recipe: Recipe) -> Mapping[int, Mapping[Bucket, int]]:
    choose = partial(buckets.choose, step=recipe.bucket_step)
    return {
        side: dict(
            sorted(Counter(choose(*_size(one), resolution=side) for one in measured).items())
        )
        for side in recipe.resolution
    }


def _size(one: Measurement) -> tuple[int, int]:
    return one.look.width, one.look.height


def _ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Sort by severity; what one check found stays together."""
    worst = list(Severity)
    codes = list(dict.fromkeys(one.code for one in findings))
    return tuple(
        sorted(findings, key=lambda one: (worst.index(one.severity), codes.index(one.code)))
    )


def _names(folder: Path, paths: Sequence[Path]) -> list[str]:
    return [_name(folder, path) for path in paths]


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
