"""``director.py verify``: is a GGUF sound, and how far is it from what it was made from.

The comparison (and numpy with it) is loaded only here, so the director proper stays small.
"""

import argparse
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

if TYPE_CHECKING:
    from models.gguf_file import GgufFile
    from quantize.structure import Structure
    from quantize.verify import TensorError


def run(arguments: argparse.Namespace) -> int:
    """Check one file.

    Returns:
        0 if it is sound and its weights are the source's, else 1.

    Raises:
        QuantizeError, ModelError: the source cannot be read or is another model.
    """
    from quantize import structure  # brings numpy

    found = structure.check(arguments.file)
    (_say_structure_json if arguments.json else _say_structure)(found)
    if found.problems or found.header is None:
        return 1
    if arguments.against is None:
        return 0
    return _compare(arguments, found.header)


def _compare(arguments: argparse.Namespace, header: "GgufFile") -> int:
    from quantize import error_plot, verify

    steps = verify.compare(
        header, arguments.against, workers=os.cpu_count() or 1, sample=arguments.sample
    )
    errors = list(steps if arguments.json else _shown(steps, len(header.tensors)))
    report: Path = arguments.report or header.path.with_name(f"{header.path.name}.png")
    title = f"{header.path.name} against {arguments.against.name}"
    error_plot.draw(report, title, error_plot.summary(errors), errors)
    (_say_errors_json if arguments.json else _say_errors)(errors, report)
    return int(any(one.error > verify.OTHER_WEIGHTS for one in errors))


def _shown(steps: Iterator["TensorError"], total: int) -> Iterator["TensorError"]:
    console = Console(stderr=True)
    yield from track(steps, "comparing", total=total, console=console, transient=True)


def _say_structure(found: "Structure") -> None:
    if found.header is not None:
        counts = ", ".join(f"{count} {kind.name}" for kind, count in found.types.items())
        kind = found.architecture or "no architecture"
        print(f"{found.path}: {kind}, {len(found.header.tensors)} tensors: {counts}")
    for problem in found.problems:
        print(f"  wrong: {problem}")
    print("The file is not sound." if found.problems else "The file is sound.")


def _say_structure_json(found: "Structure") -> None:
    _print_json(
        event="structure",
        file=str(found.path),
        sound=not found.problems,
        problems=list(found.problems),
        architecture=found.architecture,
        types={kind.name: count for kind, count in found.types.items()},
    )


def _say_errors(errors: list["TensorError"], report: Path) -> None:
    from quantize import error_plot, verify

    print(f"{error_plot.summary(errors)}.\nThe worst:")
    for one in verify.worst(errors):
        mark = "  NOT THE SOURCE'S WEIGHTS" if one.error > verify.OTHER_WEIGHTS else ""
        print(f"  {one.error:8.3%}  {one.type.name:5} {one.name}{mark}")
    print(f"The errors over the depth of the model: {report}")


def _say_errors_json(errors: list["TensorError"], report: Path) -> None:
    from quantize import verify

    _print_json(
        event="errors",
        overall=_number(verify.overall(errors)),
        same=all(one.error <= verify.OTHER_WEIGHTS for one in errors),
        weights=sum(one.weights for one in errors),
        worst=[one.name for one in verify.worst(errors)],
        tensors={one.name: {"type": one.type.name, "error": _number(one.error)} for one in errors},
        report=str(report),
    )


def _number(error: float) -> float | None:
    """JSON knows no infinity."""
    return error if math.isfinite(error) else None


def _print_json(**event: Any) -> None:
    print(json.dumps(event), flush=True)
