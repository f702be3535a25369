"""``director.py quantize --dry-run``: what a conversion will give and take, as text or JSON."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantize.convert import ConversionPlan
    from quantize.estimate import Estimate


def report(plan: "ConversionPlan", estimate: "Estimate", as_json: bool) -> None:
    """Print it."""
    if as_json:
        print(json.dumps(_event(plan, estimate)), flush=True)
    else:
        print("\n".join(_lines(plan, estimate)))


def _event(plan: "ConversionPlan", estimate: "Estimate") -> dict[str, Any]:
    return {
        "event": "plan",
        "source": str(plan.source),
        "target": str(plan.target),
        "architecture": plan.architecture,
        "type": plan.file_type.name,
        "types": {kind.name: count for kind, count in plan.types.items()},
        "weights": plan.weights,
        "source_bytes": plan.source_bytes,
        "bytes": plan.total_bytes,
        "saving": round(plan.saving, 4),
        "memory": estimate.memory,
        "seconds": round(estimate.seconds, 3),
        "processor_seconds": round(estimate.processor_seconds, 3),
        "read_bytes_per_second": round(estimate.read_speed),
        "free_bytes": estimate.free,
        "fits": estimate.free >= plan.total_bytes,
        "notes": list(plan.notes),
        "tensors": {tensor.name: tensor.type.name for tensor in plan.tensors},
    }


def _lines(plan: "ConversionPlan", estimate: "Estimate") -> Iterator[str]:
    counts = ", ".join(f"{count} {kind.name}" for kind, count in plan.types.items())
    room = "enough" if estimate.free >= plan.total_bytes else "NOT ENOUGH"
    files = f" in {len(plan.files)} files" if len(plan.files) > 1 else ""
    yield f"{plan.source}: {plan.architecture}, {plan.weights / 1e6:,.1f} million weights{files}"
    yield f"  target   {plan.target}"
    yield f"  tensors  {len(plan.tensors)}: {counts}"
    yield (
        f"  size     {plan.total_bytes:,} bytes, {plan.saving:.1%} less than "
        f"the {plan.source_bytes:,} of the source"
    )
    yield f"  disk     {estimate.free / 1e9:,.1f} GB free where it will be: {room}"
    yield f"  memory   about {estimate.memory / 1e6:,.0f} MB"
    yield (
        f"  time     about {estimate.seconds:,.1f} s ({estimate.processor_seconds:,.1f} s of "
        f"processor; the source reads at {estimate.read_speed / 1e6:,.0f} MB/s)"
    )
    for note in plan.notes:
        yield f"  note     {note}"
    yield "Nothing was written."
