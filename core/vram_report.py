"""What ``director.py vram`` says of a job on a card, as text or as one JSON object."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.vram_advice import Advice, Option
from models import vram_needs
from models.vram_needs import Picture
from models.vram_plan import BUS, Plan, Stage, Use, Verdict

if TYPE_CHECKING:
    from core.vram_command import Job, Machine

GIB, GB = 1 << 30, 1_000_000_000
_MODELS = {Use.ENCODE: "text encoders", Use.SAMPLE: "unet", Use.DECODE: "autoencoder"}


@dataclass(frozen=True, slots=True)
class Report:
    """All that is told."""

    machine: "Machine"
    job: "Job"
    plan: Plan
    advice: Advice


def tell(report: Report, as_json: bool, log: bool) -> None:
    """Print it; `log` adds the lines that ComfyUI will print."""
    if as_json:
        print(json.dumps(_event(report)))
        return
    console = Console(highlight=False)
    console.print(Text(_heading(report)))
    console.print(_stages(report.plan))
    for line in (*_verdict(report), *_notes(report)):
        console.print(Text(line))
    console.print("\nBest for this card")
    console.print(_advice(report.advice))
    console.print()
    console.print(_options(report.advice))
    if log:
        console.print("\nWhat ComfyUI will print of a first job and a second:")
        for line in report.plan.log_lines:
            console.print(Text(f"  {line}"))


def tell_no_card(name: str, as_json: bool) -> None:
    """Say that a host has no card to plan for."""
    why = (
        f"the host renders on {name}, whose memory is no graphics card's: there is nothing to plan"
    )
    print(json.dumps({"event": "no_card", "why": why}) if as_json else why)


def _heading(report: Report) -> str:
    machine, job = report.machine, report.job
    told = "as the host says" if machine.told else "an estimate; --host URL asks"
    return (
        f"{job.unet} with {job.t5}, {job.picture}\non {machine.name}: {_gib(machine.total)}, of "
        f"which {_gib(machine.idle)} are free for it ({told})\n"
    )


def _stages(plan: Plan) -> Table:
    table = Table(
        *("", "model", "whole", "on the card", "streams", "to compute", "peak"),
        box=None,
        padding=(0, 2, 0, 0),
    )
    for stage in plan.stages:
        table.add_row(*_stage(stage))
    return table


def _stage(stage: Stage) -> list[str]:
    sizes = [stage.resident, stage.streamed, stage.computing, stage.peak]
    there = list(map(_gib, sizes)) if stage.on_card else ["processor", "-", "-", _gib(stage.peak)]
    return [stage.use, _MODELS[stage.use], _gib(stage.size), *there]


def _verdict(report: Report) -> Iterator[str]:
    plan = report.plan
    sample = plan.sampling
    yield ""
    match plan.verdict:
        case Verdict.WHOLE:
            yield "It fits: the unet stays on the card, and nothing of it streams."
        case Verdict.PARTLY:
            yield f"It fits in part: {_gib(sample.resident)} of the unet stay on the card."
        case Verdict.TIGHT:
            yield (
                f"It is tight: ComfyUI wants {_gib(sample.reckoned)} to compute with, and keeps "
                "little of the unet on the card for it. It tries all the same; by what was counted "
                f"in its code it {'should run' if sample.peak <= plan.total else 'runs out'}."
            )
            if _smaller(report):
                yield _nearest(report)
        case Verdict.CANNOT:
            yield from _cannot(report)
    if plan.crossing:
        low, high = plan.seconds
        what = "of the unet" if not plan.loras else f"of unet and LoRA ({_gib(plan.loras)})"
        yield (
            f"{plan.crossing / GB:.2f} GB {what} cross the bus at each step, which takes {low:.2f} "
            f"to {high:.2f} s (estimate: PCIe 4.0 x8 at {BUS / GB:.0f} GB/s, or half of that)."
        )
    if plan.tiled:
        yield "The picture is decoded in tiles: decoding it whole takes more than is free."


def _cannot(report: Report) -> Iterator[str]:
    plan, shape = report.plan, report.job.models.shape
    yield (
        f"IT CANNOT FIT: computing takes at least {_gib(vram_needs.floor(plan.picture, shape))}, "
        "with nothing of the model on the card."
    )
    yield _nearest(report)


def _nearest(report: Report) -> str:
    nearest = " or ".join(map(str, _smaller(report)))
    return f"The nearest that runs: {nearest or 'nothing on this card'}."


def _smaller(report: Report) -> list[Picture]:
    """Return what runs in place of a picture that does not."""
    plan = report.plan
    if plan.verdict is not Verdict.CANNOT and plan.sampling.peak <= plan.total:
        return []
    return list(vram_needs.nearest(plan.picture, report.job.models.shape, plan.total))


def _notes(report: Report) -> Iterator[str]:
    for note in (*report.job.notes, *report.machine.notes):
        yield f"note: {note}"


def _advice(advice: Advice) -> Table:
    most = " or ".join(map(str, dict.fromkeys(advice.most)))
    table = Table.grid(padding=(0, 2))
    table.add_row("  unet", Text(f"{advice.chosen.kind.name}: {advice.why}"))
    table.add_row("  T5", Text(f"{advice.t5.name}: {advice.t5_why}"))
    table.add_row("  size", f"up to {most} at ease" if most else "nothing at ease on this card")
    for flag in advice.flags:
        table.add_row("  host", Text(f"{flag.what}: {flag.why}"))
    return table


def _options(advice: Advice) -> Table:
    table = Table(
        "type", "size", "on the card", "streams", "s a step", box=None, padding=(0, 2, 0, 0)
    )
    for option in advice.options:
        table.add_row(*_option(option, option is advice.chosen))
    return table


def _option(option: Option, chosen: bool) -> list[str]:
    sample, seconds = option.plan.sampling, option.plan.seconds
    moved = [_gib(sample.streamed), f"{seconds[0]:.2f} to {seconds[1]:.2f}"]
    return [
        f"{option.kind.name}{' *' if chosen else ''}",
        _gib(sample.size),
        _gib(sample.resident),
        *(moved if sample.streamed else ["-", "-"]),
    ]


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB"


# --- JSON -----------------------------------------------------------------------------------------


def _event(report: Report) -> dict[str, Any]:
    machine, plan, advice = report.machine, report.plan, report.advice
    return {
        "event": "plan",
        "unet": report.job.unet,
        "t5": report.job.t5,
        "card": {"name": machine.name, "total": machine.total, "idle": machine.idle},
        "launch": asdict(machine.launch),
        "picture": asdict(plan.picture),
        "verdict": plan.verdict,
        "stages": [asdict(stage) for stage in plan.stages],
        "peak": plan.peak,
        "bytes_a_step": plan.crossing,
        "seconds_a_step": plan.seconds,
        "tiled": plan.tiled,
        "nearest": [asdict(one) for one in _smaller(report)],
        "notes": [*report.job.notes, *machine.notes],
        "log": list(plan.log_lines),
        "advice": {
            "unet": advice.chosen.kind.name,
            "why": advice.why,
            "t5": advice.t5.name,
            "most": [asdict(one) for one in advice.most],
            "flags": [asdict(flag) for flag in advice.flags],
        },
    }
