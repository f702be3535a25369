"""``director.py lora``: look into a LoRA, check it against a Flux, convert it.

What needs numpy is loaded only here, so the director proper stays small.
"""

import argparse
import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from core import lora_inspection
from core.lora_inspection import Inspection
from models import base_shape
from models import lora as lora_file
from models.lora import LoraFile

if TYPE_CHECKING:
    from quantize.lora_convert import Converted


def run(arguments: argparse.Namespace) -> int:
    """Do one of the three.

    Returns:
        0 if the LoRA is sound, else 1.

    Raises:
        ModelError, QuantizeError: a file cannot be used, or not be written.
        OSError: it cannot be read.
    """
    return _ACTIONS[arguments.action](arguments)


def inspect(arguments: argparse.Namespace) -> int:
    """Say what is in a LoRA."""
    from core import lora_report

    identity = lora_inspection.identify(arguments.file)
    shape = base_shape.read(arguments.unet) if arguments.unet else None
    found, refusal = lora_inspection.refused(arguments.file, shape)
    if arguments.json:
        entries = lora_inspection.facts(found) if found else {"refused": refusal}
        _print_json(**lora_inspection.identity_facts(identity), **entries)
    else:
        console = _console()
        lora_report.show(console, identity, found, refusal)
        if found:
            lora_report.reasons(console, found.reasons)
            lora_report.notes(console, found.warnings)
    return int(found is None or bool(found.bad))


def check(arguments: argparse.Namespace) -> int:
    """Check a LoRA against a Flux."""
    shape = base_shape.read(arguments.unet)
    found = lora_inspection.inspect(arguments.file, shape)
    if arguments.json:
        entries = lora_inspection.facts(found)
        del entries["layers"]
        _print_json(
            file=str(arguments.file),
            unet=str(arguments.unet),
            fits=found.sound,
            applies=found.fit.told,
            **entries,
        )
    else:
        _say_check(arguments, found)
    return int(not found.sound)


def _say_check(arguments: argparse.Namespace, found: Inspection) -> None:
    from core import lora_report

    console = _console()
    verdict = "fits" if found.sound else "does not fit"
    lora_report.say(
        console,
        f"{arguments.file.name} {verdict} {arguments.unet.name}: ComfyUI applies {found.fit.told}",
    )
    widths = _other_width(arguments, found)
    lora_report.reasons(console, [*widths, *found.reasons])
    lora_report.notes(console, _check_notes(found))
    if found.fit.converting_helps and not found.bad:
        file = shlex.quote(str(arguments.file))
        lora_report.notes(console, [f"director.py lora convert {file} OUT.safetensors cures it"])


def _other_width(arguments: argparse.Namespace, found: Inspection) -> list[str]:
    """The one sentence that explains a hundred misfits."""
    meant = lora_file.read(arguments.file).shape
    own, base = (meant.hidden, meant.mlp), (found.lora.shape.hidden, found.lora.shape.mlp)
    if own == base:
        return []
    return [f"it was made for a Flux of width {own[0]} (MLP {own[1]}), not {base[0]} ({base[1]})"]


def _check_notes(found: Inspection) -> list[str]:
    lora = found.lora
    text_encoder = (
        f"{len(lora.text_encoder)} keys are for text encoders, which LoraLoaderModelOnly leaves as "
        "they are"
    )
    diffusers = f"diffusers applies {len(found.fit.in_diffusers)} of {found.fit.total} layers"
    return [
        *([text_encoder] if lora.text_encoder else []),
        *([diffusers] if len(found.fit.in_diffusers) < found.fit.total else []),
        *(text for text in found.warnings if text not in found.fit.texts),
    ]


def convert(arguments: argparse.Namespace) -> int:
    """Rewrite a LoRA."""
    from quantize import lora_convert, lora_cut

    shape = base_shape.read(arguments.unet) if arguments.unet else None
    lora = lora_file.read(arguments.file, shape)
    done = lora_convert.convert(lora_cut.plan(lora), arguments.target, force=arguments.force)
    if arguments.json:
        _print_json(
            event="done",
            source=str(arguments.file),
            target=str(arguments.target),
            bytes=arguments.target.stat().st_size,
            converted_from=list(lora.families),
            modules=done.modules,
            text_encoder_tensors=done.carried,
            scaled=done.scaled,
            inexact=done.inexact,
            widened=done.widened,
            largest_error=done.error,
        )
    else:
        _say_converted(arguments.target, lora, done)
    return 0


def _say_converted(target: Path, lora: LoraFile, done: "Converted") -> None:
    from core import lora_report

    console = _console()
    lora_report.say(
        console,
        f"{target}: {target.stat().st_size / 1e6:,.1f} MB, {done.modules} modules "
        f"from {len(lora.layers)} layers in {' and '.join(lora.families)} naming",
    )
    lora_report.notes(console, _conversion_notes(done))


def _conversion_notes(done: "Converted") -> list[str]:
    error = f", by at most {done.error:.1e} of it" if done.error else " in F32"
    texts = {
        f"the scale is in lora_B of {done.scaled} modules now": done.scaled,
        f"{done.inexact} scales are no power of two: lora_B was rounded{error}": done.inexact,
        f"{done.widened} lora_B are F32 now: their own type is too coarse "
        "for the scaled numbers": done.widened,
        f"{done.carried} tensors for text encoders are taken along as they are": done.carried,
    }
    return [text for text, count in texts.items() if count]


def _console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def _print_json(**entries: Any) -> None:
    print(json.dumps(entries), flush=True)


_ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "inspect": inspect,
    "check": check,
    "convert": convert,
}
