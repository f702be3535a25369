"""``director.py plan``: what prompt files will give, before anything runs.

The same code reads the files, draws the variants and lays out the grids as in the director; here
it is only told. Needs no host, makes no model and writes nothing: what is not there yet is said.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge import workflow
from bridge.errors import WorkflowError
from bridge.request import InputImage
from configs import settings as configs
from configs.settings import MICRO, WORKFLOWS, Settings
from core import estimate, native, plan_report, prepare, prompt_file, resolve
from core.native import Native
from core.pairs import Pairs
from core.plan_report import Plan
from core.resolve import FindLora, FindPair, Ready, UsableLora, Usual
from core.wildcards import Wildcards
from core.wish import PromptError
from models import gguf_file
from models.errors import ModelError
from models.gguf_file import GgufFile
from models.store import Folder

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
EXIT_FAILED = 1


@dataclass(frozen=True, slots=True)
class Site:
    """What is known of the models without making any.

    Attributes:
        ready: what requests are made with; hashes are left empty.
        find_lora: LoRAs by name, checked where the unet is there.
        find_pair: named pairs.
        notes: what could not be known.
    """

    ready: Ready
    find_lora: FindLora
    find_pair: FindPair
    notes: tuple[str, ...]


def run(arguments: argparse.Namespace) -> int:
    """Plan each file; a bad one is told and does not stop the others.

    Raises:
        ConfigError: the settings cannot be used.
        ModelError: the pair that they name cannot.
    """
    settings = configs.load(arguments.config, {})
    site = _site(settings)
    paces = estimate.paces(settings.state, site.ready.unet)
    wildcards = Wildcards(settings.folders.wildcards)
    failed = False
    for path in arguments.files:
        try:
            plan = _plan(path, settings, site, wildcards, paces)
        except (PromptError, ModelError, WorkflowError, OSError) as error:
            failed = True
            plan_report.complain(path, error, arguments.json)
        else:
            shown = None if arguments.all else plan_report.SHOWN
            plan_report.tell(plan, shown, arguments.json)
    sys.stdout.flush()
    return EXIT_FAILED if failed else 0


def _plan(
    path: Path,
    settings: Settings,
    site: Site,
    wildcards: Wildcards,
    paces: list[estimate.Pace],
) -> Plan:
    wishes = prompt_file.parse(path.name, _read(path))
    requests = resolve.requests(
        wishes,
        site.ready,
        Usual(**settings.defaults.model_dump(), pair=settings.pair),
        site.find_lora,
        draw_seed=_example_seed(path.name),
        wildcards=wildcards,
        image=_beside(path),
        find_image=lambda name: _picture(path, name),
        find_pair=site.find_pair,
    )
    for name in {request.workflow for request in requests}:
        workflow.find_slots(workflow.load(WORKFLOWS / f"{name}.json"), name)
    return Plan(
        path=path,
        requests=tuple(requests),
        priority=prompt_file.priority(wishes),
        seeds_open=any(wish.seed is None for wish in wishes),
        estimates=tuple(estimate.estimates(requests, paces)),
        notes=site.notes,
    )


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(prompt_file.MAX_BYTES + 1)


def _example_seed(name: str) -> Callable[[int], int]:
    """Return seeds for what has none: examples, since the real ones come with the drop."""

    def draw(index: int) -> int:
        digest = hashlib.sha256(f"{name}#{index}".encode(errors="replace")).digest()
        return int.from_bytes(digest[:6], "big")

    return draw


def _beside(path: Path) -> InputImage | None:
    """Return the picture that would travel with the file."""
    found = next(
        (path.with_suffix(end) for end in PICTURES if path.with_suffix(end).is_file()), None
    )
    return _image(found) if found else None


def _picture(path: Path, name: str) -> InputImage:
    found = path.parent / name
    if not found.is_file():
        raise PromptError(path.name, 0, f"image: there is no {name} beside it")
    return _image(found)


def _image(path: Path) -> InputImage:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return InputImage(path.name, str(path.absolute()), digest)


def _site(settings: Settings) -> Site:
    pairs = Pairs(settings, lambda _what, _share: None, only_look=True)
    if settings.pair:
        usual_pair = pairs.find(settings.pair)
        return Site(usual_pair.ready, usual_pair.find_lora, pairs.find, ())
    unet = prepare.unet_path(settings)
    header, why = _header(unet)
    if header is not None:
        loras = prepare.Loras(
            settings.folders.models / Folder.LORAS, header, settings, lambda _: ""
        )
        ready = _ready(settings, unet, native.of(header.shapes), loras.usual())
        return Site(ready, loras.find, pairs.find, ())
    size = native.MICRO_SIZE if settings.model.source == MICRO else native.FULL_SIZE
    find = _unchecked(settings)
    usual = find(name) if (name := prepare.usual_lora(settings)) else None
    notes = [f"{why}: sizes and steps are assumed, and no LoRA was checked"]
    return Site(_ready(settings, unet, size, usual), find, pairs.find, tuple(notes))


def _header(unet: Path) -> tuple[GgufFile | None, str]:
    """Read the unet's header, or say why not."""
    if not unet.is_file():
        return None, f"{unet} is not there yet"
    try:
        return gguf_file.read_header(unet), ""
    except ModelError as error:
        return None, str(error)


def _unchecked(settings: Settings) -> FindLora:
    own = settings.lora.trigger

    def find(name: str) -> UsableLora:
        return UsableLora(name, settings.lora.strength, (own,) if own else (), "")

    return find


def _ready(settings: Settings, unet: Path, size: Native, lora: UsableLora | None) -> Ready:
    return Ready(
        unet=prepare.listed_name(unet, settings.folders.models / Folder.UNET),
        unet_path=unet,
        unet_sha256="",
        text_encoders=prepare.text_encoders(settings),
        vae=prepare.vae(settings),
        loras=(lora,) if lora else (),
        native=size,
    )
