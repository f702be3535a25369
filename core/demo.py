"""``make demo``: the whole job on this machine, as a user would type it, and what came of it.

Everything is made anew in ``demo/``: an FP16 Flux, its Q4_K_S GGUF, a LoRA checked against it,
four prompt files dropped into an inbox, pictures from the embedded host. The commands are
shown as they run; any that fails ends the demo with its exit code.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from configs.settings import ROOT
from core import contact_sheet
from core.contact_sheet import Cell
from core.job import Job, State
from core.journal import Journal
from core.prepare import target_name
from models.micro import spec as micro
from models.store import Folder

SAMPLES = ROOT / "configs" / "samples"
FILE_TYPE = "Q4_K_S"


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the demo and how long it took."""

    name: str
    result: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """The demo's own folders."""

    root: Path

    @property
    def models(self) -> Path:
        """Model files."""
        return self.root / "models"

    @property
    def source(self) -> Path:
        """The FP16 Flux."""
        return self.models / Folder.UNET / micro.UNET_FILE

    @property
    def unet(self) -> Path:
        """The GGUF made of it."""
        return self.source.with_name(target_name(self.source, FILE_TYPE))

    @property
    def inbox(self) -> Path:
        """Where the prompt files are dropped."""
        return self.root / "inbox"

    @property
    def outbox(self) -> Path:
        """Where the pictures appear."""
        return self.root / "outbox"

    @property
    def state(self) -> Path:
        """Journal and manifests."""
        return self.root / "state"


def main() -> int:
    """Run the demo in ``demo/``."""
    console = Console()
    place = Place(ROOT / "demo")
    shutil.rmtree(place.root, ignore_errors=True)
    try:
        stages = _run_stages(console, place)
    except subprocess.CalledProcessError as error:
        console.print(f"The demo ended: the command above failed ({error.returncode}).")
        return error.returncode
    return _show(console, place, stages)


def _run_stages(console: Console, place: Place) -> list[Stage]:
    started = time.monotonic()
    _type(console, ["-m", "models.micro", place.models])
    made = time.monotonic()
    _type(console, ["core/director.py", "quantize", place.source, place.unet])
    quantised = time.monotonic()
    samples = _drop(console, place.inbox)
    _type(
        console,
        [
            *("core/director.py", "--once", "--host=embedded"),
            *(f"--{name}={getattr(place, name)}" for name in ("inbox", "outbox", "models")),
        ],
        {"VULCAN_STATE": str(place.state)},
    )
    ended = time.monotonic()
    return [
        Stage("make an FP16 Flux, text encoders, VAE, LoRA", _size(place.source), made - started),
        Stage(f"quantise it to {FILE_TYPE}", _size(place.unet), quantised - made),
        Stage(
            "check the pair, start the host, render", f"{samples} prompt files", ended - quantised
        ),
    ]


def _type(
    console: Console, arguments: Sequence[str | Path], environ: Mapping[str, str] | None = None
) -> None:
    """Run one of our own commands in the clone's folder, showing it first."""
    shown = [_short(argument) for argument in arguments]
    console.print(f"[dim]$ python {' '.join(shown)}[/dim]", highlight=False, soft_wrap=True)
    subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        check=True,
    )


def _short(argument: str | Path) -> str:
    return str(argument).replace(f"{ROOT}/", "")


def _drop(console: Console, inbox: Path) -> int:
    inbox.mkdir(parents=True)
    samples = sorted(SAMPLES.iterdir())
    for sample in samples:
        console.print(f"[dim]$ cp {_short(sample)} {_short(inbox)}[/dim]", highlight=False)
        shutil.copy(sample, inbox)
    return len(samples)


def _show(console: Console, place: Place, stages: Sequence[Stage]) -> int:
    """Print what was made and how long it took; the exit code tells whether all was made."""
    journal = Journal(place.state, time.time)
    jobs = journal.all()
    journal.close()
    done = [job for job in jobs if job.state is State.DONE]
    console.print(_pictures(jobs), _stages(stages, done))
    for number, job in enumerate(jobs, start=1):
        told = _short(job.paths[0]) if job.paths else f"not made: {job.error}"
        console.print(f"{number:3} {told}", highlight=False, soft_wrap=True)
    sheet = place.outbox / "contact-sheet.png"
    contact_sheet.save(sheet, [Cell(job.paths[0], _label(job)) for job in done])
    console.print(f"{len(done)} pictures in {_short(place.outbox)}, all on {_short(sheet)}")
    return 0 if done and len(done) == len(jobs) else 1


def _pictures(jobs: Sequence[Job]) -> Table:
    table = Table("#", "prompt", "size", "LoRA", "steps", "time", title="What was made")
    for number, job in enumerate(jobs, start=1):
        request = job.request
        table.add_row(
            str(number),
            request.prompt,
            f"{request.width}x{request.height}",
            _lora(job),
            str(request.steps),
            f"{job.seconds:.1f} s" if job.seconds else "-",
        )
    return table


def _stages(stages: Sequence[Stage], done: Sequence[Job]) -> Table:
    table = Table("stage", "result", "time", title="How long it took")
    for stage in stages:
        table.add_row(stage.name, stage.result, f"{stage.seconds:.1f} s")
    renders = [job.seconds for job in done if job.seconds]
    if renders:
        table.add_row("  of it one picture", "median", f"{median(renders):.2f} s")
    return table


def _lora(job: Job) -> str:
    return ", ".join(f"{lora.strength:g}" for lora in job.request.loras) or "off"


def _label(job: Job) -> str:
    return f"{job.request.prompt} | seed {job.request.seed} | LoRA {_lora(job)}"


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
