"""``director.py vram``: what a job will do on a graphics card, before anything is loaded.

Files, settings, workflow and host are brought together here; the rules are :mod:`models.vram_plan`,
what suits a card :mod:`core.vram_advice`, and how it looks :mod:`core.vram_report`.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bridge import workflow
from bridge.answers import HostFacts
from bridge.client import HostClient
from bridge.graph import inputs
from bridge.workflow import Slot, Slots, Workflow
from configs import settings as configs
from configs.settings import MICRO, Settings
from core import prepare, vram_models
from models import vram_companions, vram_files, vram_plan
from models.errors import ModelError
from models.store import Folder
from models.vram_card import Launch, VramState
from models.vram_needs import Picture
from models.vram_plan import Models, Verdict

EXIT_FAILED = 1
USUAL_CARD, USUAL_SIDE, LARGEST_SIDE, MOST_BATCH = "6GB", 1024, 16384, 4096
USUAL_UNET, USUAL_T5 = "Q4_K_S", "Q8_0"
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(g|gb|gib|m|mb|mib|)\s*", re.IGNORECASE)
# Flags whose effect on memory is not followed.
_OTHER_FLAGS = ("--highvram", "--gpu-only", "--cpu-vae", "--fp32-vae", "--force-fp32")


@dataclass(frozen=True, slots=True)
class Machine:
    """A card and how its host was started.

    Attributes:
        name: of the card, or what was asked for.
        total: bytes of it.
        idle: bytes free before any model is loaded.
        told: whether the host said so; else `idle` is an estimate.
        launch: flags and system.
        ram: bytes of the machine's memory; 0 where nobody says.
        notes: what is not followed.
    """

    name: str
    total: int
    idle: int
    told: bool
    launch: Launch
    ram: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked about: models by what names, and a picture."""

    models: Models
    unet: str
    t5: str
    picture: Picture
    notes: tuple[str, ...] = ()


def run(arguments: argparse.Namespace) -> int:
    """Plan and tell.

    Raises:
        ConfigError: the settings cannot be used.
        ModelError: a file, a size or a type that was named cannot be used.
        BridgeError: the workflow cannot, or the host does not answer.
    """
    from core import vram_advice, vram_report, vram_table  # bring numpy and rich's tables

    settings = configs.load(arguments.config, {})
    if arguments.table:
        vram_table.tell(vram_table.rows(_launch(arguments)), arguments.json)
        return 0
    machine = _machine(arguments, settings)
    job = _job(arguments, settings)
    if not machine.total:
        vram_report.tell_no_card(machine.name, arguments.json)
        return 0
    plan = vram_plan.plan(job.models, job.picture, machine.total, machine.launch, machine.idle)
    advice = vram_advice.advise(
        *(machine.total, machine.idle, machine.launch, job.picture, machine.ram)
    )
    vram_report.tell(vram_report.Report(machine, job, plan, advice), arguments.json, arguments.log)
    return EXIT_FAILED if plan.verdict is Verdict.CANNOT else 0


# --- the card -------------------------------------------------------------------------------------


def _launch(arguments: argparse.Namespace) -> Launch:
    return Launch(windows=arguments.system != "linux")


def _machine(arguments: argparse.Namespace, settings: Settings) -> Machine:
    if arguments.host:
        with HostClient(
            arguments.host.rstrip("/"), "vulcan-vram", settings.host.connect_timeout
        ) as client:
            return machine_of(client.facts())
    size, launch = arguments.vram or USUAL_CARD, _launch(arguments)
    total = card_size(size)
    return Machine(
        f"a card of {size}", total, max(0, total - vram_plan.taken(launch)), False, launch
    )


def card_size(text: str) -> int:
    """Read a card's memory: 6GB, 5.75GiB, 6144MB; all of them count in powers of two, as cards do.

    Raises:
        ModelError: it is no size, or no card's.
    """
    found = _SIZE.fullmatch(text)
    unit = 20 if found and found[2].lower().startswith("m") else 30
    size = int(float(found[1]) * (1 << unit)) if found else 0
    if not 1 << 28 <= size <= 1 << 42:
        raise ModelError(f"{text!r} is no card's memory", fix="Write it as 6GB or 6144MB")
    return size


def machine_of(facts: HostFacts) -> Machine:
    """Read what a host says; a total of 0 means that it has no card."""
    if not facts.cuda:
        return Machine(facts.device, 0, 0, True, Launch(facts.windows), facts.ram_total)
    flags = facts.flags
    states = (VramState.NO, VramState.LOW)
    return Machine(
        name=facts.device,
        total=facts.vram_total,
        # What ComfyUI holds now is free before a job that needs it.
        idle=min(facts.vram_total, facts.vram_free + facts.torch_held),
        told=True,
        launch=Launch(
            windows=facts.windows,
            state=next((one for one in states if one.value in flags), VramState.NORMAL),
            reserve=_reserve(flags),
            smart="--disable-smart-memory" not in flags,
        ),
        ram=facts.ram_total,
        notes=tuple(
            f"the host runs with {flag}, whose effect is not followed here"
            for flag in _OTHER_FLAGS
            if flag in flags
        ),
    )


def _reserve(flags: tuple[str, ...]) -> float | None:
    """Read the value of --reserve-vram, given behind it or with an equals sign."""
    for flag, value in zip(flags, (*flags, "")[1:], strict=True):
        name, _, own = flag.partition("=")
        if name == "--reserve-vram":
            try:
                return float(own or value)
            except ValueError:
                return None
    return None


# --- the job --------------------------------------------------------------------------------------


def _job(arguments: argparse.Namespace, settings: Settings) -> Job:
    graph, slots = _workflow(arguments, settings)
    unet, t5 = _named(arguments, settings)
    notes = []
    if settings.model.source == MICRO and not arguments.unet:
        notes.append("the settings' micro Flux fits any card; this is about FLUX.1-dev")
    shape, weights, unet_name = vram_models.unet(unet)
    both, t5_name = vram_models.encoders(t5)
    vae = settings.folders.models / Folder.VAE / settings.model.vae
    loras = list(_loras(arguments, settings, graph))
    models = Models(
        shape,
        weights,
        both,
        vram_files.vae(vae) if vae.is_file() else vram_companions.vae(None),
        sum(map(vram_files.lora, loras)),
    )
    if loras:
        notes.append(f"with {', '.join(path.name for path in loras)}")
    return Job(
        models, unet_name, t5_name, _picture(arguments, settings, graph, slots), tuple(notes)
    )


def _workflow(
    arguments: argparse.Namespace, settings: Settings
) -> tuple[Workflow, Slots] | tuple[None, None]:
    if not arguments.workflow:
        return None, None
    path = Path(arguments.workflow)
    folder = settings.folders.workflows
    graph = (
        workflow.load(path)
        if path.suffix == ".json"
        else workflow.named(folder, arguments.workflow)
    )
    return graph, workflow.find_slots(graph, path.stem)


def _named(arguments: argparse.Namespace, settings: Settings) -> tuple[str | Path, str | Path]:
    """The unet and the T5: as asked for, else the settings', else the usual types."""
    micro = settings.model.source == MICRO
    unet = arguments.unet or (USUAL_UNET if micro else prepare.unet_path(settings))
    if arguments.t5 or micro:
        return unet, arguments.t5 or USUAL_T5
    name = prepare.text_encoders(settings)[1]
    path = settings.folders.models / Folder.TEXT_ENCODERS / name
    return unet, path if path.is_file() else name


def _loras(
    arguments: argparse.Namespace, settings: Settings, graph: Workflow | None
) -> Iterator[Path]:
    """The LoRAs asked for; else those of the workflow and of the pair, as far as they lie here."""
    if arguments.lora:
        yield from arguments.lora
        return
    names = [str(inputs(graph, node).get("lora_name", "")) for node in graph] if graph else []
    if settings.model.source != MICRO:
        names.append(prepare.usual_lora(settings))
    for name in dict.fromkeys(name.replace("\\", "/") for name in names if name):
        path = settings.folders.models / Folder.LORAS / name
        if path.is_file():
            yield path


def _picture(
    arguments: argparse.Namespace,
    settings: Settings,
    graph: Workflow | None,
    slots: Slots | None,
) -> Picture:
    """Size and batch: as asked for, else the workflow's, else the settings'.

    Raises:
        ModelError: no picture has that size.
    """

    def value(slot: Slot, usual: int) -> int:
        asked = getattr(arguments, slot.value)
        if asked is not None or graph is None or slots is None:
            return usual if asked is None else int(asked)
        found = (inputs(graph, place.node).get(place.input) for place in slots[slot])
        return next((one for one in found if type(one) is int), usual)

    picture = Picture(
        value(Slot.WIDTH, settings.defaults.width or USUAL_SIDE),
        value(Slot.HEIGHT, settings.defaults.height or USUAL_SIDE),
        value(Slot.BATCH, 1),
    )
    sides = (picture.width, picture.height)
    if (
        not all(16 <= side <= LARGEST_SIDE for side in sides)
        or not 1 <= picture.batch <= MOST_BATCH
    ):
        raise ModelError(
            f"{picture} is no picture",
            fix=f"Sides are 16 to {LARGEST_SIDE} pixels, a batch has 1 to {MOST_BATCH}",
        )
    return picture
