"""What a bake has to say: a table for people, JSON lines, a JSON file, a picture."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from models import store

if TYPE_CHECKING:
    from quantize.bake_plan import BakePlan
    from quantize.layer_proof import LayerProof

SHOWN = 10  # layers of the table


def note(text: str, as_json: bool) -> None:
    """Say something beforehand."""
    if as_json:
        _print_json(event="note", text=text)
    else:
        print(f"note: {text}", file=sys.stderr)


def up_to_date(target: Path, proofs: "Sequence[LayerProof]", as_json: bool) -> None:
    """Say that there is nothing to do."""
    if as_json:
        _print_json(event="kept", target=str(target), **_summary(proofs))
    else:
        print(f"{target} has just this in it already; --force makes it again")
        print(_sentence(proofs))


def done(plan: "BakePlan", proofs: "Sequence[LayerProof]", seconds: float, as_json: bool) -> None:
    """Say what was made."""
    conversion = plan.conversion
    target, size = conversion.target, conversion.target.stat().st_size
    if as_json:
        _print_json(
            event="done",
            target=str(target),
            bytes=size,
            source_bytes=conversion.source_bytes,
            seconds=round(seconds, 3),
            **_summary(proofs),
            layers=[_layer(proof) for proof in proofs],
        )
        return
    _table(proofs)
    saved = 1 - size / conversion.source_bytes
    print(f"{target}: {size / 1e6:,.1f} MB, {saved:.1%} smaller, in {seconds:.1f} s")
    print(_sentence(proofs))


def write_json(path: Path, target: Path, proofs: "Sequence[LayerProof]") -> None:
    """Write all layers as one JSON object."""
    content = {
        "file": target.name,
        **_summary(proofs),
        "layers": [_layer(proof) for proof in proofs],
    }
    store.atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def draw(path: Path, target: Path, proofs: "Sequence[LayerProof]") -> None:
    """Draw the error of each layer's change over its depth."""
    from quantize import error_plot
    from quantize.verify import TensorError

    errors = [TensorError(p.name, p.last.type, 0, 1.0, p.last.error**2) for p in proofs]
    error_plot.draw(
        path,
        f"LoRAs in {target.name}",
        _sentence(proofs),
        errors,
        unit="error of the LoRA in its own space",
    )


def _table(proofs: "Sequence[LayerProof]") -> None:
    from quantize import layer_proof

    table = Table(title=f"The layers that keep least, of {len(proofs)}", title_justify="left")
    table.add_column("layer", overflow="fold")
    table.add_column("type", no_wrap=True)
    for heading in ("LoRA", "kept", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    for proof in layer_proof.worst(proofs, SHOWN):
        types = " > ".join(attempt.type.name for attempt in proof.attempts)
        kept = f"{proof.last.kept:.2%}" + ("" if proof.enough else " !")
        name = proof.name.removesuffix(".weight")
        table.add_row(name, types, f"{proof.size:.2%}", kept, f"{proof.last.error:.2%}")
    if proofs:
        Console().print(table)


def _sentence(proofs: "Sequence[LayerProof]") -> str:
    if not proofs:
        return "No layer was changed: the LoRAs are zero at these strengths."
    raised = sum(proof.raised for proof in proofs)
    low = [proof for proof in proofs if not proof.enough]
    least = min(proof.last.kept for proof in proofs)
    text = f"{len(proofs)} layers changed; {least:.2%} of the LoRA or more is kept in each"
    text += f"; {raised} got a finer type" if raised else ""
    pinned = ", as --tensor-type wants it" if low and all(proof.pinned for proof in low) else ""
    return text + (f"; {len(low)} stay below 97 %{pinned}" if low else "") + "."


def _summary(proofs: "Sequence[LayerProof]") -> dict[str, Any]:
    return {
        "changed": len(proofs),
        "lowest_kept": _number(min((proof.last.kept for proof in proofs), default=1.0)),
        "raised": sum(proof.raised for proof in proofs),
        "below": [proof.name for proof in proofs if not proof.enough],
    }


def _layer(proof: "LayerProof") -> dict[str, Any]:
    return {
        "name": proof.name,
        "type": proof.last.type.name,
        "kept": _number(proof.last.kept),
        "error": _number(proof.last.error),
        "size": _number(proof.size),
        "noise": _number(proof.noise),
        "pinned": proof.pinned,
        "attempts": [
            {"type": one.type.name, "kept": _number(one.kept), "error": _number(one.error)}
            for one in proof.attempts
        ],
    }


def _number(value: float) -> float | None:
    """JSON knows neither infinity nor NaN."""
    return round(value, 6) if math.isfinite(value) else None


def _print_json(**event: Any) -> None:
    print(json.dumps(event), flush=True)
