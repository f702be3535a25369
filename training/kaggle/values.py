"""What is known of a run on Kaggle, as plain values; reads nothing and calls nobody.

Words: a *Kaggle kernel* is a notebook that was pushed, known by its slug; each push makes a version
of it, and a version is one run. The data set holds what the notebook trains on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from training.run_plan import Plan

SITE = "https://www.kaggle.com"


class CloudState(StrEnum):
    """Where the newest version of a Kaggle kernel stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"
    CANCELLED = "cancelled"  # by the user, on the site; or asked for and not yet done

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self not in (CloudState.QUEUED, CloudState.RUNNING)


@dataclass(frozen=True, slots=True)
class CloudStatus:
    """Where the newest version of a Kaggle kernel stands.

    Attributes:
        state: as Kaggle says it.
        message: Kaggle's own words on a failure; usually empty.
    """

    state: CloudState
    message: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """What goes to Kaggle for one training: two folders, and what they are called there.

    Attributes:
        user: whose account it goes to.
        slug: of the Kaggle kernel; the same for the same run, so that a second push is its next
            version.
        title: of the Kaggle kernel; Kaggle makes the slug of it.
        dataset_slug: of the private data set.
        folder: holds ``dataset/`` and ``kernel/``.
        content: SHA-256 over the data set's names and bytes.
    """

    user: str
    slug: str
    title: str
    dataset_slug: str
    folder: Path
    content: str

    @property
    def dataset(self) -> Path:
        """The folder that becomes the data set."""
        return self.folder / "dataset"

    @property
    def kernel(self) -> Path:
        """The folder with the notebook."""
        return self.folder / "kernel"

    @property
    def url(self) -> str:
        """Where a person sees the run."""
        return page(self.user, self.slug)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a package is made of beside the plan.

    Attributes:
        pictures: folder of pictures with captions.
        notebook: gives the notebook's text for a plan.
        models: model files that travel with the pictures; for small bases only.
        base_dataset: ``owner/slug`` of a data set that holds the base; empty for none.
        gpu: whether the run needs one; the micro Flux does not.
    """

    pictures: Path
    notebook: Callable[[Plan], str]
    models: tuple[Path, ...] = ()
    base_dataset: str = ""
    gpu: bool = True


class Want(StrEnum):
    """What to fetch of a run's output."""

    PROGRESS = "progress"  # small: status, events, samples, curves
    ALL = "all"  # also the LoRA and the checkpoints


@dataclass(frozen=True, slots=True)
class KernelReport:
    """What the notebook says of itself, in ``vulcan-kernel.json``.

    Attributes:
        refused: it did not begin to train.
        code: why, as a word (``wrong_gpu``, ``no_base``, ``disk``); empty if not refused.
        why: as a sentence.
        fix: what the user can do.
    """

    refused: bool
    code: str = ""
    why: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of fetching.

    Attributes:
        files: names relative to the run's folder, sorted: those that are new or changed.
        listed: the same for all that was there to be fetched, new or not.
        report: what the notebook says of itself; None where it left nothing.
    """

    files: tuple[str, ...]
    listed: tuple[str, ...]
    report: KernelReport | None


def page(user: str, slug: str) -> str:
    """Return the address at which a person sees a Kaggle kernel."""
    return f"{SITE}/code/{user}/{slug}"
