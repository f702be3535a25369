"""``director.py report``: FP16, quantised, with a LoRA while drawing, and baked, side by side.

A page of pictures and figures, made of the micro Flux that is shipped or of any other; what it
needs is made in a scratch folder. The heavy parts are loaded only here.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from bridge.request import LoraChoice, Request
from configs import settings as configs
from configs.settings import Settings
from core import bake_command, prepare, prompt_file, quantize_command, resolve
from core.prepare import PrepareError
from core.provenance import VERSION
from core.resolve import Ready, UsableLora, Usual
from core.wildcards import Wildcards
from core.wish import PromptError, Wish
from models import gguf_file, store
from models.micro import micro_set
from models.micro import spec as micro
from models.store import Folder
from models.tensor_types import FileType

if TYPE_CHECKING:
    from core.report_files import Baked, Wanted
    from core.report_page import Facts
    from core.report_pictures import Gallery, Way

EACH = 8  # prompts of either kind that the micro Flux is asked, unless --prompts says others


@dataclass(frozen=True, slots=True)
class Companions:
    """What draws beside the unet: files by "FOLDER/NAME" in a models folder, and their names."""

    files: dict[str, Path]
    text_encoders: tuple[str, str]
    vae: str


@dataclass(frozen=True, slots=True)
class Made:
    """The files that are compared."""

    packed: Path
    plain: Path | None
    baked: "Baked | None"


def run(arguments: argparse.Namespace) -> int:
    """Make everything, compare, write the page; nothing else is left behind.

    Raises:
        QuantizeError, ModelError: model or LoRA cannot be used.
        HostError, HostProcessError: the embedded host could not draw.
        PrepareError: the prompt file cannot be used.
    """
    settings = configs.load(arguments.config)
    _refuse(arguments)
    wishes = _wishes(arguments.prompts)
    with quantize_command.tidy_when_terminated(), _work(arguments.work) as work:
        page = _compared(arguments, settings, wishes, work)
        store.atomic_write(arguments.out, page.encode())
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB, open it in any browser")
    return 0


def _refuse(arguments: argparse.Namespace) -> None:
    """Say what cannot be done before anything is made."""
    own = arguments.unet is not None
    if own and not arguments.prompts and not arguments.weights_only:
        raise PrepareError("a model of your own needs --prompts FILE, or --weights-only")
    if arguments.out.is_dir():
        raise PrepareError(f"--out {arguments.out} is a folder; name a file in it")


@contextmanager
def _work(wished: Path | None) -> Iterator[Path]:
    """The folder for model files: the user's, which stays, or one that is deleted."""
    if wished is not None:
        wished.mkdir(parents=True, exist_ok=True)
        yield wished
        return
    with tempfile.TemporaryDirectory(prefix="vulcan-report-") as folder:
        yield Path(folder)


def _compared(
    arguments: argparse.Namespace, settings: Settings, wishes: list[Wish], work: Path
) -> str:
    from core import report_page, report_weights

    wanted = _wanted(arguments)
    made, gallery = _made(arguments, wanted, work), None
    if made.plain is not None:
        requests = _requests(arguments, settings, wishes, made)
        companions = _companions(arguments, settings)
        gallery = _drawn(wanted, made, companions, requests, micro=arguments.unet is None)
    weights = report_weights.measure(made.packed, wanted.source, made.baked)
    return report_page.page(_facts(wanted, made), gallery, weights)


# --- what is compared -----------------------------------------------------------------------------


def _wanted(arguments: argparse.Namespace) -> "Wanted":
    from core.report_files import Wanted
    from quantize.lora_delta import Choice

    shipped = micro_set.place(micro_set.SHIPPED)
    wishes = [bake_command.parse_wish(text) for text in arguments.lora]
    loras = tuple(Choice(wish.path, wish.strength) for wish in wishes)
    if arguments.unet is None and not loras:
        loras = (Choice(shipped.lora, 1.0),)
    file_type = quantize_command.file_type_of(arguments.type)
    return Wanted(arguments.unet or shipped.unet, file_type, loras)


def _made(arguments: argparse.Namespace, wanted: "Wanted", work: Path) -> Made:
    """Bake first: it refuses what does not fit before anything is made."""
    from core import report_files

    follow = quantize_command.follow_bar
    wishes = [bake_command.LoraWish(one.path, one.strength) for one in wanted.loras]
    beside = bake_command.default_target(wanted.source, wishes, wanted.file_type)
    baked = report_files.baked(wanted, work, follow, [beside]) if wanted.loras else None
    packed = report_files.quantised(wanted, wanted.file_type, work, follow)
    if arguments.weights_only:
        return Made(packed, None, baked)
    return Made(packed, report_files.quantised(wanted, FileType.F16, work, follow), baked)


def _companions(arguments: argparse.Namespace, settings: Settings) -> Companions:
    """The shipped ones for the shipped unet, the settings' for any other.

    Raises:
        ModelError: the settings name a file that is not there.
    """
    own = arguments.unet is not None and settings.model.source != configs.MICRO
    models = settings.folders.models if own else micro_set.SHIPPED
    encoders = settings.model.text_encoders if own else (micro.CLIP_FILE, micro.T5_FILE)
    vae = settings.model.vae if own else micro.VAE_FILE
    kinds = dict.fromkeys(encoders, Folder.TEXT_ENCODERS) | {vae: Folder.VAE}
    files = {
        f"{kind}/{name}": store.find(store.places(models, kind), name)
        for name, kind in kinds.items()
    }
    if (models / "tokenizers").is_dir():
        files["tokenizers"] = models / "tokenizers"
    return Companions(files, (encoders[0], encoders[1]), vae)


# --- pictures -------------------------------------------------------------------------------------


def _wishes(path: Path | None) -> list[Wish]:
    """What the prompt file asks for.

    Raises:
        PrepareError: it cannot be used.
    """
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            wishes = prompt_file.parse(path.name, file.read(prompt_file.MAX_BYTES + 1))
    except PromptError as error:
        raise PrepareError(str(error)) from error
    if any(wish.image for wish in wishes):
        raise PrepareError(f"{path.name}: image: the comparison draws from text only")
    return [wish.model_copy(update={"lora": (), "pair": None}) for wish in wishes]


def _requests(
    arguments: argparse.Namespace, settings: Settings, wishes: list[Wish], made: Made
) -> list[Request]:
    """What is drawn in every way, without LoRAs."""
    from core import report_pictures

    companions = _companions(arguments, settings)
    if not wishes:
        prompts = report_pictures.micro_prompts(EACH)
        wishes = [Wish(prompt=prompt, lora=()) for prompt in prompts]
    usual = replace(Usual(**settings.defaults.model_dump()), workflow="txt2img")
    ready = Ready(
        unet="x.gguf",
        unet_path=made.packed,
        unet_sha256="",
        text_encoders=companions.text_encoders,
        vae=companions.vae,
        loras=(),
        native=prepare.native(gguf_file.read_header(made.packed)),
    )
    wildcards = Wildcards(settings.folders.wildcards)
    try:
        found = resolve.requests(wishes, ready, usual, _no_lora, lambda index: index, wildcards)
    except PromptError as error:
        raise PrepareError(str(error)) from error
    return [
        replace(one, seed=(one.seed + number) % 2**64, batch=1)
        for one in found
        for number in range(arguments.seeds)
    ]


def _no_lora(name: str) -> UsableLora:
    raise PrepareError(f"the LoRA {name} is named with --lora, not in the prompt file")


def _drawn(
    wanted: "Wanted", made: Made, companions: Companions, requests: list[Request], *, micro: bool
) -> "Gallery":
    """Start the embedded host and have it draw everything."""
    from core import report_pictures
    from core.easel import easel
    from core.report_pictures import Gallery

    gallery = Gallery(requests, _ways(wanted, made), micro)
    total = len(requests) * len(gallery.ways)
    with tempfile.TemporaryDirectory(prefix="vulcan-easel-") as folder:
        models, paths = Path(folder) / "models", [one.path for one in wanted.loras]
        names = report_pictures.lay_out(models, gallery.ways, paths, companions.files)
        strengths = [one.strength for one in wanted.loras]
        loras = [LoraChoice(*one) for one in zip(names, strengths, strict=True)]
        with easel(models, Path(folder) / "host") as host:
            steps = report_pictures.draw(host, gallery, loras)
            for _ in track(steps, "drawing", total, console=Console(stderr=True), transient=True):
                pass
    return gallery


def _ways(wanted: "Wanted", made: Made) -> "list[Way]":
    """FP16 and quantised, and both with the LoRA if there is one; then the baked file."""
    from core.report_pictures import Way

    assert made.plain is not None  # noqa: S101 - made when pictures are
    kind = wanted.file_type.name
    ways = [
        Way("fp16", "FP16", made.plain, lora=False, reference="fp16"),
        Way("packed", kind, made.packed, lora=False, reference="fp16"),
    ]
    if made.baked is not None:
        ways += [
            Way("fp16-lora", "FP16 + LoRA", made.plain, lora=True, reference="fp16-lora"),
            Way("packed-lora", f"{kind} + LoRA", made.packed, lora=True, reference="fp16-lora"),
            Way("baked", f"{kind} baked", made.baked.path, lora=False, reference="fp16-lora"),
        ]
    return ways


# --- what is said above ---------------------------------------------------------------------------


def _facts(wanted: "Wanted", made: Made) -> "Facts":
    from core.report_page import Facts

    kind = wanted.file_type.name
    loras = [(one.path.name, f"strength {one.strength:g}") for one in wanted.loras]
    lines = [
        ("model", f"{wanted.source.resolve().name}"),
        (kind, f"{made.packed.stat().st_size / 1e6:,.1f} MB"),
        *((f"LoRA {name}", told) for name, told in loras),
        ("made by", f"Vulcan {VERSION}, {os.cpu_count()} cores, {platform.machine()}"),
    ]
    title = f"{wanted.source.resolve().name}: FP16 and {kind}" + (", LoRA baked" if loras else "")
    notes = [] if made.plain else ["The weights alone were compared; nothing was drawn."]
    return Facts(title, lines, kind, notes)
