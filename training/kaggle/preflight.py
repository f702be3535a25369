"""Looks at the machine that Kaggle gave before anything is fetched: Python, cards, memory, disk.

Standard library only: it runs before any package is installed. What is judged are plain values, so
recorded machines drive the rules. The weekly quota cannot be seen from inside a kernel; the client
looks at it before a push, and MAX_RUNTIME says what is left.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum

from training.kaggle.places import Places
from training.kaggle.refusal import Code, RefusalError

PYTHON = (3, 11)
TURING = (7, 5)
"""Compute capability of a T4, the least that is trained on."""

LEAST_CARD = 14 << 30
"""Bytes of a card's memory: about 10 GiB are needed at 512 pixels; a T4 has 15."""

SETTINGS = "Settings > Accelerator > GPU T4 x2"
_PATIENCE = 180  # seconds; torch's first load from Kaggle's disk is slow
_QUERY = ("--query-gpu=name,compute_cap,memory.total", "--format=csv,noheader,nounits")
_TRIAL = """
import torch
for number in range(torch.cuda.device_count()):
    ones = torch.ones(64, 64, device=f"cuda:{number}", dtype=torch.float16)
    assert float((ones @ ones).sum()) == 64.0**3, "a matrix product is wrong"
assert torch.cuda.device_count() > 0, "torch sees no card"
print(torch.__version__)
"""


class Accelerator(StrEnum):
    """What a run computes on."""

    T4 = "NvidiaTeslaT4"  # Kaggle's name of it (machine_shape)
    NONE = "none"  # the micro Flux: a processor will do


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card.

    Attributes:
        name: as its driver says.
        capability: CUDA compute capability.
        memory: in bytes.
    """

    name: str
    capability: tuple[int, int]
    memory: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What Kaggle gave; bytes.

    Attributes:
        python: version.
        cards: graphics cards.
        memory: RAM.
        temp: free where model files are fetched to.
        working: free where output is kept.
    """

    python: tuple[int, int]
    cards: tuple[Card, ...]
    memory: int
    temp: int
    working: int

    def __str__(self) -> str:
        cards = ", ".join(f"{card.name} ({_gb(card.memory)})" for card in self.cards) or "no GPU"
        return (
            f"Python {self.python[0]}.{self.python[1]}, {cards}, {_gb(self.memory)} RAM, "
            f"{_gb(self.temp)} free for models, {_gb(self.working)} for output"
        )


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run cannot do without; bytes.

    Attributes:
        accelerator: what it computes on.
        memory: RAM.
        temp: free for what will be fetched.
        working: free for checkpoints and the LoRA.
    """

    accelerator: Accelerator
    memory: int
    temp: int
    working: int


def look(places: Places) -> Machine:
    """Look at this machine; makes the two folders."""
    for folder in (places.temp, places.working):
        folder.mkdir(parents=True, exist_ok=True)
    return Machine(
        python=(sys.version_info.major, sys.version_info.minor),
        cards=_cards(),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        temp=shutil.disk_usage(places.temp).free,
        working=shutil.disk_usage(places.working).free,
    )


def judge(machine: Machine, needs: Needs) -> None:
    """Let a machine pass.

    Raises:
        RefusalError: a run would fail there, later and after hours.
    """
    if machine.python < PYTHON:
        raise RefusalError(
            Code.PYTHON,
            f"Python {machine.python[0]}.{machine.python[1]} is too old",
            why=f"Vulcan needs {PYTHON[0]}.{PYTHON[1]} or newer",
            fix="Choose the newest environment in Settings > Environment",
        )
    if needs.accelerator is Accelerator.T4:
        _judge_cards(machine.cards)
    for code, name, free, needed in (
        (Code.RAM, "memory", machine.memory, needs.memory),
        (Code.DISK, "room for the models", machine.temp, needs.temp),
        (Code.DISK, "room for the output", machine.working, needs.working),
    ):
        if free < needed:
            why = f"there are {_gb(free)}, and {_gb(needed)} are needed"
            fix = "Start it again, Kaggle's machines differ; or mount the models as a data set"
            raise RefusalError(code, f"this machine has too little {name}", why=why, fix=fix)


def parse_cards(text: str) -> tuple[Card, ...]:
    r"""Read ``nvidia-smi``'s answer; a line that is no card ("No devices were found") is none.

    >>> parse_cards("Tesla T4, 7.5, 15360\n")
    (Card(name='Tesla T4', capability=(7, 5), memory=16106127360),)
    """
    return tuple(card for line in text.splitlines() if (card := _card(line)))


def try_cuda() -> str:
    """Have torch compute on each card, in a process of its own; return torch's version.

    Raises:
        RefusalError: it cannot.
    """
    try:
        told = subprocess.run(
            [sys.executable, "-c", _TRIAL],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise _no_cuda(why) from error
    except subprocess.TimeoutExpired as error:
        raise _no_cuda(f"no answer within {_PATIENCE} s") from error
    return told.stdout.strip()


def _no_cuda(why: str) -> RefusalError:
    fix = "Start it again; if it stays so, choose another environment in Settings > Environment"
    return RefusalError(Code.CUDA, "torch cannot compute on the GPU", why=why, fix=fix)


def _cards() -> tuple[Card, ...]:
    found = shutil.which("nvidia-smi")
    if found is None:
        return ()
    told = subprocess.run([found, *_QUERY], capture_output=True, text=True, check=False)
    return parse_cards(told.stdout)


def _card(line: str) -> Card | None:
    try:
        name, capability, memory = (part.strip() for part in line.rsplit(",", 2))
        major, minor = capability.split(".")
        return Card(name, (int(major), int(minor)), int(memory) << 20)
    except ValueError:
        return None


def _judge_cards(cards: tuple[Card, ...]) -> None:
    if not cards:
        raise RefusalError(
            Code.NO_GPU,
            "this machine has no GPU",
            why="the accelerator is off, or the account's weekly GPU hours are used up",
            fix=f"Choose {SETTINGS} (it needs a phone-verified account) and run all again",
        )
    for card in cards:
        if card.capability < TURING:
            raise _too_old(card)
        if card.memory < LEAST_CARD:
            why = f"it has {_gb(card.memory)} of memory, and {_gb(LEAST_CARD)} are needed"
            fix = f"Choose {SETTINGS} and run all again"
            raise RefusalError(Code.WRONG_GPU, f"this machine has a {card.name}", why=why, fix=fix)


def _too_old(card: Card) -> RefusalError:
    """Kaggle's torch has no code for a P100 (Kaggle/kaggle-cli#1151); a V100 was never tried."""
    major, minor = card.capability
    return RefusalError(
        Code.WRONG_GPU,
        f"this machine has a {card.name}",
        why=f"Kaggle's torch has no kernels for its architecture (sm_{major}{minor}), so the first "
        "operation on it fails",
        fix=f"Choose {SETTINGS} and run all again; in kernel-metadata.json, "
        f'"machine_shape": "{Accelerator.T4}"',
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
