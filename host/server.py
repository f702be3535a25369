"""The routes: HTTP and WebSocket to calls of the queue, the hub and the folders. Nothing else.

Every route is served twice, as ``/x`` and as ``/api/x``. An unknown path is 404 for GET and 405
for anything else, as under ComfyUI's static files. Where ComfyUI answers a bad body with 500, the
answer here is 400 and says what is wrong.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from host import problems
from host.access_token import Token
from host.file_routes import FileRoutes
from host.gate import Gate
from host.hub import FEATURES, MAX_UPLOAD
from host.jobs_route import JobRoutes
from host.json_body import BadJsonError, JsonResponse, parse
from host.messages import status
from host.node_types import object_info
from host.parts import Parts
from host.socket_route import SocketRoute
from host.submission import submit
from host.system_stats import describe
from host.upload_routes import UploadRoutes

Handler = Callable[[Request], Awaitable[Response]]

_HOME = """<!doctype html><title>Vulcan embedded host</title>
<p>This is Vulcan's embedded host. It speaks ComfyUI's API and has no pages.</p>"""


NO_FRONTEND: dict[str, Any] = {
    "/extensions": [],
    "/users": {"storage": "server", "migrated": False},
    "/settings": {},
    "/workflow_templates": {},
    "/i18n": {},
}
"""What clients ask for the sake of ComfyUI's frontend, and what one says that has none."""


def application(parts: Parts, token: Token | None = None, limit: int = MAX_UPLOAD) -> ASGIApp:
    """Return the application; with ``token``, every client must know it. ``limit`` is in bytes."""
    routes = _routes(parts)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        parts.hub.attach(asyncio.get_running_loop())
        yield

    return Gate(Starlette(routes=routes, lifespan=lifespan), limit=limit, token=token)


def _routes(parts: Parts) -> list[BaseRoute]:
    routes, files, uploads = Routes(parts), FileRoutes(parts.folders), UploadRoutes(parts.folders)
    client = SocketRoute(parts.hub, parts.queue, parts.current_node)
    get: dict[str, Handler] = {
        "/prompt": routes.remaining,
        "/queue": routes.show_queue,
        "/history": routes.show_history,
        "/history/{prompt_id:path}": routes.show_job,
        "/object_info": routes.all_nodes,
        "/object_info/{name:path}": routes.one_node,
        "/system_stats": routes.system_stats,
        "/features": routes.features,
        "/ws": no_upgrade,
        **{path: fixed(body) for path, body in NO_FRONTEND.items()},
        "/view": files.view,
        "/view_metadata/{folder}": files.model_metadata,
        "/models": files.model_kinds,
        "/models/{folder}": files.models,
        "/embeddings": files.embeddings,
    }
    post: dict[str, Handler] = {
        "/prompt": routes.submit,
        "/queue": routes.change_queue,
        "/history": routes.change_history,
        "/interrupt": routes.stop,
        "/free": routes.free,
        "/upload/image": uploads.image,
        "/upload/mask": uploads.mask,
    }
    both: list[BaseRoute] = []
    for prefix in ("", "/api"):
        both.append(WebSocketRoute(f"{prefix}/ws", client.serve))
        both += [Route(f"{prefix}{path}", handler) for path, handler in get.items()]
        both += [Route(f"{prefix}{path}", _plain(h), methods=["POST"]) for path, h in post.items()]
    both += _job_routes(JobRoutes(parts))
    both.append(Route("/", home))
    both.append(Route("/{path:path}", not_found))
    return both


def _job_routes(jobs: JobRoutes) -> list[BaseRoute]:
    """Return the routes that newer ComfyUI has, and below ``/api`` only."""
    return [
        Route("/api/jobs", jobs.show_all),
        Route("/api/jobs/cancel", jobs.cancel_some, methods=["POST"]),
        Route("/api/jobs/{job_id:path}/cancel", jobs.cancel, methods=["POST"]),
        Route("/api/jobs/{job_id:path}", jobs.show),
    ]


def _plain(handler: Handler) -> Handler:
    """Answer a body that is not JSON with 400 and the reason."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except BadJsonError as error:
            problem = problems.problem("invalid_json", "The request body is not valid", str(error))
            return JsonResponse({"error": problem, "node_errors": {}}, status_code=400)

    return answer


async def home(request: Request) -> Response:
    """Answer probes that ask for the page."""
    del request
    return HTMLResponse(_HOME)


async def no_upgrade(request: Request) -> Response:
    """Answer who asks for the socket as if it were a page."""
    del request
    return Response('Can "Upgrade" only to "WebSocket".', status_code=400)


def fixed(body: Any) -> Handler:
    """Return a handler that always answers the same."""

    async def answer(request: Request) -> Response:
        del request
        return JsonResponse(body)

    return answer


async def not_found(request: Request) -> Response:
    """Answer any other GET."""
    del request
    return Response(status_code=404)


class Routes:
    """The handlers of everything that is not a file."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def submit(self, request: Request) -> Response:
        """Check a graph and queue it."""
        body = parse(await request.body())
        status, answer = await run_in_threadpool(submit, self._parts, body)
        return JsonResponse(answer, status_code=status)

    # --- queue, history, interrupt ---

    async def remaining(self, request: Request) -> Response:
        """Say how many jobs are pending or running."""
        del request
        remaining = self._parts.queue.remaining
        return JsonResponse({"exec_info": {"queue_remaining": remaining}})

    async def show_queue(self, request: Request) -> Response:
        """Show the running and the pending jobs."""
        del request
        running, pending = self._parts.queue.snapshot()
        lists = ([job.as_list() for job in jobs] for jobs in (running, pending))
        return JsonResponse(dict(zip(("queue_running", "queue_pending"), lists, strict=True)))

    async def change_queue(self, request: Request) -> Response:
        """Drop pending jobs."""
        body = _object(parse(await request.body()))
        if body.get("clear"):
            self._parts.queue.clear()
        if "delete" in body:
            self._parts.queue.delete(_ids(body["delete"]))
        self._parts.hub.send(status(self._parts.queue.remaining), None)
        return Response()

    async def show_history(self, request: Request) -> Response:
        """Show ended jobs, oldest first."""
        query = request.query_params
        try:
            max_items = int(query["max_items"]) if "max_items" in query else None
            offset = int(query["offset"]) if "offset" in query else None
        except ValueError:
            return Response("max_items and offset must be whole numbers", status_code=400)
        if offset is not None and offset < 0:
            offset = None
        entries = self._parts.queue.history(max_items=max_items, offset=offset)
        return await run_in_threadpool(JsonResponse, entries)

    async def show_job(self, request: Request) -> Response:
        """Show one ended job, ``{}`` for any other."""
        prompt_id = request.path_params["prompt_id"]
        entry = self._parts.queue.history_of(prompt_id)
        return JsonResponse({} if entry is None else {prompt_id: entry})

    async def change_history(self, request: Request) -> Response:
        """Forget ended jobs."""
        body = _object(parse(await request.body()))
        if body.get("clear"):
            self._parts.queue.forget_all()
        if "delete" in body:
            self._parts.queue.forget(_ids(body["delete"]))
        return Response()

    async def stop(self, request: Request) -> Response:
        """Interrupt the running job, or only the one that is named."""
        raw = await request.body()
        body = _object(parse(raw)) if raw.strip() else {}
        prompt_id = body.get("prompt_id")
        self._parts.interrupt.request(str(prompt_id) if prompt_id else None)
        return Response()

    async def free(self, request: Request) -> Response:
        """Free memory after the running job."""
        body = _object(parse(await request.body()))
        unload, forget = bool(body.get("unload_models")), bool(body.get("free_memory"))
        self._parts.queue.wish(unload_models=unload, free_memory=forget)
        return Response()

    # --- what the host is ---

    async def all_nodes(self, request: Request) -> Response:
        """Describe every node."""
        del request
        return JsonResponse(await run_in_threadpool(self._describe, list(self._parts.table)))

    async def one_node(self, request: Request) -> Response:
        """Describe one node, ``{}`` for an unknown one."""
        name = request.path_params["name"]
        known = [name] if name in self._parts.table else []
        return JsonResponse(await run_in_threadpool(self._describe, known))

    def _describe(self, names: list[str]) -> dict[str, Any]:
        table, folders = self._parts.table, self._parts.folders
        return {name: object_info(table[name], folders) for name in names}

    async def system_stats(self, request: Request) -> Response:
        """Describe the machine."""
        del request
        return JsonResponse(describe(self._parts.devices()))

    async def features(self, request: Request) -> Response:
        """Say what the protocol can do here."""
        del request
        return JsonResponse(dict(FEATURES))


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise BadJsonError("the body must be a JSON object")
    return body


def _ids(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
