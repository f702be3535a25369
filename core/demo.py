"""``make demo``: the whole job on this machine, as a user would type it, and what came of it.

Everything is made anew in ``demo/``: an FP16 Flux laid out, its Q4_K_S GGUF, a LoRA checked
against it, prompt files dropped into an inbox, pictures from the embedded host; then some prompts
once more with the FP16 weights, on a sheet beside the others. The commands are shown as they run;
any that fails ends the demo, but for a director that could not make every picture.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from configs.settings import ROOT
from core import contact_sheet, demo_sheet
from core.contact_sheet import Cell
from core.demo_sheet import Column
from core.job import Job, State
from core.journal import Journal
from core.prepare import target_name
from models import store
from models.micro import spec as micro
from models.store import Folder

SAMPLES = ROOT / "configs" / "samples"
COMPARISON = ROOT / "configs" / "comparison.yaml"
WITHOUT_LORA = "lora: none"  # a line in front of a prompt file
FILE_TYPE, PLAIN_TYPE = "Q4_K_S", "F16"
SOME_FAILED = 1  # exit code of a director


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
    def plain(self) -> Path:
        """The GGUF that holds the FP16 weights as they are."""
        return self.source.with_name(target_name(self.source, PLAIN_TYPE))

    @property
    def lora(self) -> Path:
        """The pair's LoRA."""
        return self.models / Folder.LORAS / micro.LORA_FILE

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


@dataclass(frozen=True, slots=True)
class Shell:
    """Does what a user would type, and shows it as typed."""

    console: Console

    def python(self, *arguments: str | Path, environ: Sequence[str] = (), fine: int = 0) -> None:
        """Run one of our own commands in the clone's folder.

        Args:
            arguments: after ``python``.
            environ: ``NAME=value`` each.
            fine: an exit code that is no reason to stop, besides 0.

        Raises:
            CalledProcessError: it failed.
        """
        self._show(*environ, "python", *map(_short, arguments))
        command = [sys.executable, *map(str, arguments)]
        variables = dict(one.split("=", 1) for one in environ)
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}).returncode
        if code not in (0, fine):
            raise subprocess.CalledProcessError(code, command)

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file."""
        self._show("cp", _short(source), _short(target))
        shutil.copy(source, target)

    def copy_below(self, line: str, source: Path, target: Path) -> None:
        """Copy a text with a line above it."""
        self._show(f'(echo "{line}"; cat {_short(source)}) > {_short(target)}')
        target.write_text(f"{line}\n{source.read_text(encoding='utf-8')}", encoding="utf-8")

    def _show(self, *words: str) -> None:
        self.console.print(f"[dim]$ {' '.join(words)}[/dim]", highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo in ``demo/``."""
    console = Console()
    place = Place(ROOT / "demo")
    shutil.rmtree(place.root, ignore_errors=True)
    try:
        stages = _run_stages(Shell(console), place)
    except subprocess.CalledProcessError as error:
        console.print(f"The demo ended: the command above failed ({error.returncode}).")
        return error.returncode
    return _show(console, place, stages)


def _run_stages(shell: Shell, place: Place) -> list[Stage]:
    steps: list[tuple[str, Callable[[Shell, Place], str]]] = [
        ("lay out the FP16 Flux, text encoders, VAE, LoRA", _lay_out),
        (f"quantise it to {FILE_TYPE}", _quantise),
        ("check the pair, start the host, render", _render),
        ("start again with the FP16 weights, render", _render_plain),
    ]
    stages = []
    for name, work in steps:
        started = time.monotonic()
        result = work(shell, place)
        stages.append(Stage(name, result, time.monotonic() - started))
    return stages


def _lay_out(shell: Shell, place: Place) -> str:
    shell.python("-m", "models.micro", place.models)
    return _size(place.source)


def _quantise(shell: Shell, place: Place) -> str:
    shell.python("core/director.py", "quantize", place.source, place.unet)
    return _size(place.unet)


def _render(shell: Shell, place: Place) -> str:
    """Drop the samples, and the comparison with the LoRA and without."""
    place.inbox.mkdir(parents=True)
    samples = sorted(SAMPLES.iterdir())
    for sample in samples:
        shell.copy(sample, place.inbox)
    shell.copy(COMPARISON, place.inbox / f"{COMPARISON.stem}-lora.yaml")
    shell.copy_below(WITHOUT_LORA, COMPARISON, place.inbox / f"{COMPARISON.stem}-q4.yaml")
    _direct(shell, place)
    return f"{len(samples) + 2} prompt files"


def _render_plain(shell: Shell, place: Place) -> str:
    shell.copy_below(WITHOUT_LORA, COMPARISON, place.inbox / f"{COMPARISON.stem}-fp16.yaml")
    _direct(shell, place, f"VULCAN_MODEL__FILE_TYPE={PLAIN_TYPE}")
    return "1 prompt file"


def _direct(shell: Shell, place: Place, *environ: str) -> None:
    shell.python(
        *("core/director.py", "--once", "--host=embedded"),
        *(f"--{name}={_short(getattr(place, name))}" for name in ("inbox", "outbox", "models")),
        environ=(f"VULCAN_STATE={_short(place.state)}", *environ),
        fine=SOME_FAILED,
    )


def _short(argument: str | Path) -> str:
    """Return a path as seen from the clone's folder, where all commands run."""
    return str(argument).replace(f"{ROOT}/", "")


def _show(console: Console, place: Place, stages: Sequence[Stage]) -> int:
    """Print what was made and how long it took; the exit code tells whether all was made."""
    journal = Journal(place.state, time.time)
    jobs = journal.all()
    journal.close()
    compared = [job for job in jobs if job.file.startswith(COMPARISON.stem)]
    others = [job for job in jobs if job not in compared]
    done = [job for job in jobs if job.state is State.DONE]
    console.print(_pictures(others), _stages(stages, done))
    for number, job in enumerate(others, start=1):
        told = _short(job.paths[0]) if job.paths else f"not made: {job.error}"
        console.print(f"{number:3} {told}", highlight=False, soft_wrap=True)
    shown = [Cell(job.paths[0], _label(job)) for job in others if job in done]
    contact_sheet.save(place.outbox / "contact-sheet.png", shown)
    console.print(f"{len(shown)} pictures, all on {_short(place.outbox / 'contact-sheet.png')}")
    if compared:
        _compare(console, place, compared)
    return 0 if done and len(done) == len(jobs) else 1


def _compare(console: Console, place: Place, jobs: Sequence[Job]) -> None:
    """Draw the last sheet and say what is on it."""
    sheet = demo_sheet.sheet(jobs, _columns(place))
    path = place.outbox / "comparison.png"
    store.atomic_write(path, contact_sheet.draw_grids([sheet]))
    names = ", ".join(sheet.columns)
    console.print(f"The same prompts and seeds as {names}: {_short(path)}", highlight=False)
    for line in demo_sheet.guide(sheet.rows, micro.TRIGGER_WORD):
        console.print(f"  {line}", highlight=False)


def _columns(place: Place) -> tuple[Column, ...]:
    plain, packed, lora = (_size(path) for path in (place.plain, place.unet, place.lora))
    return (
        Column(f"FP16 ({plain})", place.plain.name, lora=False),
        Column(f"{FILE_TYPE} ({packed})", place.unet.name, lora=False),
        Column(f"{FILE_TYPE} + LoRA ({packed} + {lora})", place.unet.name, lora=True),
    )


def _pictures(jobs: Sequence[Job]) -> Table:
    table = Table("#", "prompt", "LoRA", "time", title="What was made")
    for number, job in enumerate(jobs, start=1):
        took = f"{job.seconds:.1f} s" if job.seconds else "-"
        table.add_row(str(number), job.request.prompt, _lora(job), took)
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
