"""Where things lie in a Kaggle kernel, by the names that Kaggle gives its folders."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of a Kaggle kernel.

    Attributes:
        input: data sets and earlier outputs are mounted below it, read-only.
        working: what is kept as the kernel's output, up to 20 GB.
        temp: what is lost with the machine.
    """

    input: Path
    working: Path
    temp: Path

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.working / "run"

    @property
    def models(self) -> Path:
        """Where model files are fetched to."""
        return self.temp / "models"
