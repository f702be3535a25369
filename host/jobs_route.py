"""``/api/jobs``: list, look at and cancel jobs, whatever their state. The words are ComfyUI 0.38's.

Only below ``/api``, as there. Does not know how a job is described (:mod:`host.job_summary`).
"""

import uuid
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from host import job_summary
from host.job_summary import SortKey, Status, Summary, Wanted
from host.json_body import BadJsonError, JsonResponse, parse
from host.messages import status
from host.parts import Parts


class BadQueryError(ValueError):
    """The query asks for what there is not; the sentence is for the client."""


class JobRoutes:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def show_all(self, request: Request) -> Response:
        """List jobs: filtered, sorted, a page at a time."""
        try:
            wanted = read_query(request.query_params)
        except BadQueryError as error:
            return _refused(str(error))
        return await run_in_threadpool(self._page, wanted)

    def _page(self, wanted: Wanted) -> Response:
        return JsonResponse(job_summary.page(self._summaries(), wanted))

    def _summaries(self) -> list[Summary]:
        running, pending, ended = self._parts.queue.everything()
        live = [job_summary.of_live(job, Status.IN_PROGRESS) for job in running]
        live += [job_summary.of_live(job, Status.PENDING) for job in pending]
        return live + [job_summary.of_ended(entry) for entry in ended]

    async def show(self, request: Request) -> Response:
        """Show one job, an ended one with all that it made."""
        summary = self._find(request.path_params["job_id"])
        return _refused("Job not found", 404) if summary is None else JsonResponse(summary)

    def _find(self, job_id: str) -> Summary | None:
        # In the order of a job's life, so that one which ends meanwhile is not missed.
        running, pending = self._parts.queue.snapshot()
        for jobs, where in ((running, Status.IN_PROGRESS), (pending, Status.PENDING)):
            for job in jobs:
                if job.prompt_id == job_id:
                    return job_summary.of_live(job, where)
        entry = self._parts.queue.history_of(job_id)
        return None if entry is None else job_summary.in_full(entry)

    async def cancel(self, request: Request) -> Response:
        """Cancel one job: drop it if it is pending, interrupt it if it runs."""
        return JsonResponse({"cancelled": self._cancel([request.path_params["job_id"]])})

    async def cancel_some(self, request: Request) -> Response:
        """Cancel the jobs that ``job_ids`` names; those that are over are left alone."""
        try:
            body = parse(await request.body())
        except BadJsonError:
            return _refused("Request body must be valid JSON")
        ids = body.get("job_ids") if isinstance(body, dict) else None
        if not isinstance(ids, list):
            return _refused("job_ids must be a list")
        invalid = [one if isinstance(one, str) else repr(one) for one in ids if not _is_uuid(one)]
        if invalid:
            answer = {"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}
            return JsonResponse(answer, status_code=400)
        return JsonResponse({"cancelled": self._cancel(ids)})

    def _cancel(self, ids: list[str]) -> bool:
        dropped = self._parts.queue.delete(ids)
        if dropped:
            self._parts.hub.send(status(self._parts.queue.remaining), None)
        # A job that began in between is no longer pending but running, so this comes second.
        stopped = [self._parts.interrupt.request(one) for one in ids]
        return bool(dropped) or any(stopped)


def read_query(query: QueryParams) -> Wanted:
    """Return what a query asks for.

    Raises:
        BadQueryError: it names an unknown status, key or order, or a number is none.
    """
    order = query.get("sort_order", "desc").lower()
    if order not in ("asc", "desc"):
        raise BadQueryError("sort_order must be 'asc' or 'desc'")
    limit = _whole(query, "limit")
    if limit is not None and limit <= 0:
        raise BadQueryError("limit must be a positive integer")
    return Wanted(
        _statuses(query.get("status", "")),
        query.get("workflow_id") or None,
        _sort_key(query.get("sort_by", "created_at").lower()),
        order == "desc",
        limit,
        max(_whole(query, "offset") or 0, 0),
    )


def _statuses(text: str) -> frozenset[Status]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in set(Status)]
    if unknown:
        values = f"{', '.join(unknown)}. Valid values: {', '.join(Status)}"
        raise BadQueryError(f"Invalid status value(s): {values}")
    return frozenset(map(Status, names)) if text else frozenset(Status)


def _sort_key(text: str) -> SortKey:
    if text not in set(SortKey):
        raise BadQueryError("sort_by must be 'created_at' or 'execution_duration'")
    return SortKey(text)


def _whole(query: QueryParams, name: str) -> int | None:
    if name not in query:
        return None
    try:
        return int(query[name])
    except ValueError:
        raise BadQueryError(f"{name} must be an integer") from None


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def _refused(sentence: str, code: int = 400) -> Response:
    return JsonResponse({"error": sentence}, status_code=code)
