"""The best settings for a card: file type, T5, how large a picture, and the host's flags.

A larger file type draws better and costs nothing while it stays on the card; what streams costs
time at each step. So: the best type that stays there wholly, if that is Q4_K_S or better; else the
best whose streaming takes at most STREAMING a step. Both must leave the machine's memory room for
T5, which waits there. All sizes are FLUX.1-dev's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from core import vram_models
from models import vram_companions, vram_plan
from models.flux import FLUX_DEV
from models.tensor_types import FileType
from models.vram_card import Launch, VramState
from models.vram_needs import LEAST_SIDE, STEP, Picture
from models.vram_plan import Models, Plan, Verdict

STREAMING = 0.3  # seconds a step; a step of a megapixel takes a 6 GB laptop several (estimate)
OTHERS = 4_000_000_000  # bytes of the machine's memory for the system and ComfyUI; estimate
USUAL_RAM = 16 << 30  # bytes, where no host says
MOST_BATCH, MOST_SIDE = 16, 2048  # what is looked at
_T5_TYPES = (FileType.Q8_0, FileType.Q6_K, FileType.Q5_K_M, FileType.Q4_K_M)
_GOOD_ENOUGH = vram_models.BY_QUALITY.index(FileType.Q4_K_S)


@dataclass(frozen=True, slots=True)
class Option:
    """A file type on this card."""

    kind: FileType
    plan: Plan


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting of the host, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What suits a card.

    Attributes:
        options: every type looked at, the best first.
        chosen: of them.
        why: this one.
        t5: its companion's type.
        t5_why: this one.
        most: the largest batch of this size, and the largest square picture, at ease.
        flags: of the host.
    """

    options: tuple[Option, ...]
    chosen: Option
    why: str
    t5: FileType
    t5_why: str
    most: tuple[Picture, ...]
    flags: tuple[Flag, ...]


def advise(total: int, idle: int, launch: Launch, picture: Picture, ram: int = 0) -> Advice:
    """Choose for a card.

    Args:
        total: bytes of it.
        idle: bytes that are free before any model is loaded.
        launch: how the host was started.
        picture: what is wanted.
        ram: bytes of the machine's memory; 0 where nobody says.
    """
    room = ram or USUAL_RAM
    usual = replace(launch, state=VramState.NORMAL, smart=True)
    options = tuple(
        Option(kind, _plan(kind, FileType.Q8_0, picture, total, usual, idle))
        for kind in vram_models.BY_QUALITY
    )
    chosen, why = _chosen(options, room)
    t5, t5_why = _t5(chosen.kind, room)
    most = tuple(_most(chosen.kind, picture, total, usual, idle))
    return Advice(options, chosen, why, t5, t5_why, most, tuple(_flags(launch)))


def models(kind: FileType, t5: FileType, loras: int = 0) -> Models:
    """FLUX.1-dev and T5-XXL of these types."""
    both, _ = vram_models.encoders(t5.name)
    return Models(FLUX_DEV, vram_models.flux_dev(kind), both, vram_companions.vae(None), loras)


def _plan(
    kind: FileType, t5: FileType, picture: Picture, total: int, launch: Launch, idle: int
) -> Plan:
    return vram_plan.plan(models(kind, t5), picture, total, launch, idle)


def _ram(kind: FileType, t5: FileType) -> int:
    both, _ = vram_models.encoders(t5.name)
    return vram_models.flux_dev(kind).size + both.size + OTHERS


def _chosen(options: tuple[Option, ...], room: int) -> tuple[Option, str]:
    fitting = [one for one in options if _ram(one.kind, _T5_TYPES[-1]) <= room]
    for one in fitting:
        if one.plan.verdict is Verdict.WHOLE and _rank(one.kind) <= _GOOD_ENOUGH:
            return one, "the best that stays on the card wholly: nothing streams"
    for one in fitting:
        seconds = one.plan.seconds[0]
        if seconds <= STREAMING:
            told = f"{seconds:.2f} s of streaming a step" if seconds else "nothing streams"
            return one, f"the best that costs at most {STREAMING} s a step on the bus: {told}"
    kinds = {one.kind: one for one in options}
    return kinds[FileType.Q4_K_S], "smaller ones lose more than streaming costs"


def _rank(kind: FileType) -> int:
    return vram_models.BY_QUALITY.index(kind)


def _t5(kind: FileType, room: int) -> tuple[FileType, str]:
    fits = (t5 for t5 in _T5_TYPES if _ram(kind, t5) <= room)
    chosen = next(fits, _T5_TYPES[-1])
    gib = room / (1 << 30)
    return chosen, (
        f"it waits in the machine's memory beside the unet, and both fit {gib:.0f} GiB; "
        "it computes on the card, once for each new prompt"
    )


def _most(
    kind: FileType, picture: Picture, total: int, launch: Launch, idle: int
) -> Iterator[Picture]:
    """The largest that leaves ComfyUI what it wants for computing."""

    def at_ease(one: Picture) -> bool:
        plan = _plan(kind, FileType.Q8_0, one, total, launch, idle)
        return plan.verdict in (Verdict.WHOLE, Verdict.PARTLY)

    batches = (replace(picture, batch=number) for number in range(MOST_BATCH, 0, -1))
    yield from (one for one in [next(filter(at_ease, batches), None)] if one)
    sides = range(MOST_SIDE, LEAST_SIDE - 1, -STEP)
    squares = (Picture(side, side) for side in sides)
    yield from (one for one in [next(filter(at_ease, squares), None)] if one)


def _flags(launch: Launch) -> Iterator[Flag]:
    """Say which flags help, by what ComfyUI 0.3.64's source does with them."""
    yield Flag("no flag is needed", "ComfyUI splits a model that does not fit by itself")
    if launch.state is VramState.LOW:
        yield Flag(
            "leave --lowvram out",
            "it splits as without; all it changes is that text encoders compute on the processor",
        )
    if launch.state is VramState.NO:
        yield Flag("leave --novram out", "the whole unet then streams at each step, needed or not")
    if not launch.smart:
        yield Flag(
            "leave --disable-smart-memory out", "every model is then moved anew for each use of it"
        )
    yield Flag(
        "--async-offload does nothing here", "GGUF layers do not use it; with FP8 files it helps"
    )
    if launch.windows:
        yield Flag(
            "--reserve-vram 1.0, if a step suddenly takes many times as long",
            "other programs took memory, and the driver moves ours to and fro",
        )
        yield Flag(
            "NVIDIA Control Panel, Manage 3D settings, CUDA - Sysmem Fallback Policy: "
            "Prefer No Sysmem Fallback, for ComfyUI's python.exe",
            "too little memory is then told at once, instead of steps that take minutes",
        )
