"""What was found in a data set, as one JSON object for programs."""

from dataclasses import asdict
from typing import Any

from training.dataset.check import Report
from training.dataset.finding import Finding
from training.dataset.set_checks import framing

KIND = "vulcan data set report"
"""By it a report knows an older one that it may replace."""


def of(report: Report) -> dict[str, Any]:
    """Return the facts; files are relative to the folder, boxes in pixels."""
    return {
        "kind": KIND,
        "folder": str(report.folder),
        "trigger": report.trigger,
        "preset": str(report.preset),
        "hash": report.pictures.hash,
        "errors": [_finding(one) for one in report.errors],
        "warnings": [_finding(one) for one in report.warnings],
        "notes": [_finding(one) for one in report.notes],
        "buckets": {
            str(side): {str(bucket): count for bucket, count in found.items()}
            for side, found in report.buckets.items()
        },
        "pictures": _pictures(report),
    }


def _finding(one: Finding) -> dict[str, Any]:
    facts = asdict(one)
    del facts["severity"]
    return facts


def _pictures(report: Report) -> list[dict[str, Any]]:
    found = zip(report.pictures.items, report.measured, strict=True)
    return [
        {
            **asdict(item),
            "format": one.look.format,
            "mode": one.look.mode,
            "sharpness": round(one.sharpness, 2),
            "phash": f"{one.likeness:016x}",
            "faces": [asdict(box) for box in one.faces],
            "framing": framing(one),
            "crop": asdict(box) if (box := report.crops.get(item.file)) else None,
        }
        for item, one in found
    ]
