"""Where everything of one training lies: plan, caches, checkpoints, progress, the LoRA.

::

    RUN/run.json            the plan (training/run_plan.py); travels
        assets.json         where this machine has pictures and models
        dataset.json        pictures, captions and their hashes, as the first stage found them
        cache/              encoded pictures and captions
        checkpoints/        step-000250.safetensors: the two newest
        progress.jsonl      one line an event (training/progress.py)
        status.json         where the training stands (training/progress.py)
        samples/            step-000250-1.png
        loss.png  sheet.png
        lora/NAME.safetensors
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths below one folder; makes none of them."""

    path: Path

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.path / "run.json"

    @property
    def assets(self) -> Path:
        """Paths on this machine."""
        return self.path / "assets.json"

    @property
    def dataset(self) -> Path:
        """The pictures as they were found."""
        return self.path / "dataset.json"

    @property
    def cache(self) -> Path:
        """Encoded pictures and captions."""
        return self.path / "cache"

    @property
    def checkpoints(self) -> Path:
        """Where the training stands, to go on from."""
        return self.path / "checkpoints"

    @property
    def progress(self) -> Path:
        """What happened, a line an event."""
        return self.path / "progress.jsonl"

    @property
    def status(self) -> Path:
        """Where the training stands, to be shown."""
        return self.path / "status.json"

    @property
    def samples(self) -> Path:
        """Pictures drawn on the way."""
        return self.path / "samples"

    @property
    def loss_curve(self) -> Path:
        """The loss, drawn."""
        return self.path / "loss.png"

    @property
    def sheet(self) -> Path:
        """All samples on one picture."""
        return self.path / "sheet.png"

    def lora(self, name: str) -> Path:
        """The finished LoRA."""
        return self.path / "lora" / f"{name}.safetensors"
