"""``director.py report``: FP16, quantised, with a LoRA while drawing, and baked, side by side.

A page of pictures and figures, made of the micro Flux that is shipped or of any other; what it
needs is made in a scratch folder. The heavy parts are loaded only here.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from bridge.request import LoraChoice
from configs import settings as configs
from configs.settings import Settings
from core import bake_command, quantize_command
from core.prepare import PrepareError
from core.provenance import VERSION
from models import store
from models.micro import micro_set
from models.tensor_types import FileType

if TYPE_CHECKING:
    from core.report_asked import Asked
    from core.report_files import Baked, Wanted
    from core.report_page import Facts
    from core.report_pictures import Gallery, Way


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
    with quantize_command.tidy_when_terminated(), _work(arguments.work) as work:
        page = _compared(arguments, settings, work)
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


def _compared(arguments: argparse.Namespace, settings: Settings, work: Path) -> str:
    from core import report_asked, report_page, report_weights
    from core.report_asked import Extent

    wanted, asked = _wanted(arguments), None
    if not arguments.weights_only:
        extent = Extent(arguments.prompts, arguments.seeds, own=arguments.unet is not None)
        asked = report_asked.read(settings, extent, _shapes(wanted))
    made = _made(arguments, wanted, work)
    gallery = _drawn(wanted, made, asked) if asked else None
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


def _shapes(wanted: "Wanted") -> Mapping[str, tuple[int, ...]]:
    """The source's tensors in the reference names, by its headers alone.

    Raises:
        QuantizeError, ModelError: it is no FLUX.1, or damaged.
    """
    from quantize import convert

    plan = convert.plan(wanted.source, Path("unnamed.gguf"), wanted.file_type)
    return {tensor.name: tensor.shape for tensor in plan.tensors}


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


# --- pictures -------------------------------------------------------------------------------------


def _drawn(wanted: "Wanted", made: Made, asked: "Asked") -> "Gallery":
    """Start the embedded host and have it draw everything."""
    from core import report_pictures
    from core.easel import easel
    from core.report_pictures import Gallery

    gallery = Gallery(asked.requests, _ways(wanted, made), not asked.own)
    total = len(asked.requests) * len(gallery.ways)
    with tempfile.TemporaryDirectory(prefix="vulcan-easel-") as folder:
        models, paths = Path(folder) / "models", [one.path for one in wanted.loras]
        names = report_pictures.lay_out(models, gallery.ways, paths, asked.companions)
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
