"""Jobs as ``/api/jobs`` shows them: one shape for pending, running and ended ones. Pure.

Follows ``comfy_execution/jobs.py`` of ComfyUI 0.38; 0.3.64 has no such route. Keys without a value
are left out, as there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from host.job_queue import Job

Summary = dict[str, Any]

_VISUAL = frozenset({"images", "video", "audio", "3d"})
"""Kinds of output that a client can show."""

_ENDS = {
    "execution_success": "completed",
    "execution_error": "failed",
    "execution_interrupted": "cancelled",
}


class Status(StrEnum):
    """Where a job is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SortKey(StrEnum):
    """What a list can be sorted by."""

    CREATED_AT = "created_at"
    DURATION = "execution_duration"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs a client wants to see.

    Attributes:
        statuses: only these.
        workflow_id: only jobs of this workflow; None means any.
        sort_by: the key.
        descending: the greatest first.
        limit: at most so many; None means all.
        offset: leave out so many at the beginning.
    """

    statuses: frozenset[Status] = frozenset(Status)
    workflow_id: str | None = None
    sort_by: SortKey = SortKey.CREATED_AT
    descending: bool = True
    limit: int | None = None
    offset: int = 0


def page(summaries: Iterable[Summary], wanted: Wanted) -> dict[str, Any]:
    """Return the body of ``GET /api/jobs``."""
    found = [one for one in summaries if _is_wanted(one, wanted)]
    key = _duration if wanted.sort_by is SortKey.DURATION else _created
    found.sort(key=key, reverse=wanted.descending)
    end = None if wanted.limit is None else wanted.offset + wanted.limit
    jobs = found[wanted.offset : end]
    pagination = {
        "offset": wanted.offset,
        "limit": wanted.limit,
        "total": len(found),
        "has_more": wanted.offset + len(jobs) < len(found),
    }
    return {"jobs": jobs, "pagination": pagination}


def _is_wanted(summary: Summary, wanted: Wanted) -> bool:
    same = wanted.workflow_id is None or summary.get("workflow_id") == wanted.workflow_id
    return same and summary["status"] in wanted.statuses


def _created(summary: Summary) -> int:
    return int(summary.get("create_time", 0))


def _duration(summary: Summary) -> int:
    start, end = summary.get("execution_start_time"), summary.get("execution_end_time")
    return end - start if start and end else 0


def of_live(job: Job, status: Status) -> Summary:
    """Return the summary of a job that is pending or running."""
    head = {"id": job.prompt_id, "status": status.value, "priority": job.number}
    counts = {"outputs_count": 0, "previewable_outputs_count": 0}
    return _pruned({**head, **_origin(job.extra_data), **counts})


def of_ended(entry: Mapping[str, Any]) -> Summary:
    """Return the summary of a job of which this is the history entry."""
    number, prompt_id, _, extra_data, _ = entry["prompt"]
    messages = entry["status"]["messages"]
    (first, (last, data)) = messages[0], messages[-1]
    failed = last == "execution_error"
    success = last == "execution_success"
    return _pruned(
        {
            "id": prompt_id,
            "status": _ENDS[last],
            "priority": number,
            **_origin(extra_data),
            "execution_start_time": first[1]["timestamp"],
            "execution_end_time": data["timestamp"],
            "execution_error": data if failed else None,
            "completion_status": "success" if success else None,
            "has_errors": failed,
            "execution_error_count": int(failed),
            **_outputs(entry["outputs"]),
        }
    )


def in_full(entry: Mapping[str, Any]) -> Summary:
    """Return an ended job with its outputs and its graph, as ``GET /api/jobs/{id}`` has it."""
    _, _, graph, extra_data, _ = entry["prompt"]
    return {
        **of_ended(entry),
        "outputs": entry["outputs"],
        "execution_status": entry["status"],
        "execution_errors": [],
        "workflow": {"prompt": graph, "extra_data": extra_data},
    }


def _origin(extra_data: Mapping[str, Any]) -> Summary:
    info = extra_data.get("extra_pnginfo")
    workflow = info.get("workflow") if isinstance(info, Mapping) else None
    name = workflow.get("id") if isinstance(workflow, Mapping) else None
    return {"create_time": extra_data.get("create_time"), "workflow_id": name}


def _outputs(outputs: Mapping[str, Mapping[str, Any]]) -> Summary:
    """Return how many files a job made, and the one that stands for all: saved before temporary."""
    shown = [
        (kind, {**item, "nodeId": node, "mediaType": kind})
        for node, output in outputs.items()
        for kind, items in output.items()
        if isinstance(items, list)
        for item in items
        if isinstance(item, Mapping)
    ]
    visual = [item for kind, item in shown if kind in _VISUAL]
    saved = [item for item in visual if item.get("type") == "output"]
    return {
        "outputs_count": len(shown),
        "previewable_outputs_count": len(visual),
        "preview_output": next(iter(saved or visual), None),
    }


def _pruned(summary: Summary) -> Summary:
    return {key: value for key, value in summary.items() if value is not None}
