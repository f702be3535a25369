"""``POST /prompt``: from a body to a queued job, or to the reason why not.

Everything but the transport: it takes the parsed body and returns status and answer.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from host import problems
from host.errors import DuplicateJobError
from host.job_queue import Job, JobQueue
from host.json_body import BadJsonError
from host.messages import status
from host.parts import Parts
from host.problems import Problem
from host.validation import Verdict, validate

Reply = tuple[int, dict[str, Any]]
"""HTTP status and body."""


def submit(parts: Parts, body: Any) -> Reply:
    """Check a graph and queue it.

    Raises:
        BadJsonError: ``number`` is no number.
    """
    if not isinstance(body, dict) or "prompt" not in body:
        return _refused(problems.no_prompt())
    targets = body.get("partial_execution_targets")
    wanted = targets if isinstance(targets, list) else None
    verdict = validate(body["prompt"], parts.table, parts.folders, wanted)
    if verdict.error is not None:
        return _refused(verdict.error, verdict.node_errors)
    job = _job(body, verdict, parts)
    try:
        parts.queue.put(job, lambda remaining: parts.hub.send_soon(status(remaining), None))
    except DuplicateJobError as error:
        return _refused(problems.problem("duplicate_prompt_id", str(error)))
    accepted = {"prompt_id": job.prompt_id, "number": job.number}
    return 200, {**accepted, "node_errors": dict(verdict.node_errors)}


def _refused(error: Problem, node_errors: Mapping[str, Any] | None = None) -> Reply:
    return 400, {"error": error, "node_errors": dict(node_errors or {})}


def _job(body: Mapping[str, Any], verdict: Verdict, parts: Parts) -> Job:
    client_id = body.get("client_id")
    return Job(
        _number(body, parts.queue),
        # Any id will do, as in ComfyUI: a number becomes its text, null becomes "None".
        str(body["prompt_id"]) if "prompt_id" in body else str(uuid.uuid4()),
        verdict.graph,
        _extra_data(body, parts.clock()),
        verdict.outputs,
        client_id if isinstance(client_id, str) else None,
    )


def _number(body: Mapping[str, Any], queue: JobQueue) -> float:
    if "number" in body:
        try:
            return float(body["number"])
        except (TypeError, ValueError, OverflowError):
            raise BadJsonError("number is not a number") from None
    number = queue.next_number()
    return -number if body.get("front") else number


def _extra_data(body: Mapping[str, Any], now: float) -> dict[str, Any]:
    extra = body.get("extra_data")
    data = dict(extra) if isinstance(extra, dict) else {}
    data["create_time"] = int(now * 1000)  # as newer ComfyUI has it, for /api/jobs
    if "client_id" in body:
        data["client_id"] = body["client_id"]
    return data
