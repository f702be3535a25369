"""A fake ComfyUI with a catalogue of its own: lacking nodes or models, on Windows, strict, old."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests import comfyui_catalogue
from tests.fake_host import FakeHost


def node(**inputs: list[str]) -> dict[str, Any]:
    """Write a node type whose inputs are combos."""
    return {"input": {"required": {name: [values, {}] for name, values in inputs.items()}}}


def flux_nodes(unet: str, lora: str, clip: str, t5: str, vae: str) -> dict[str, Any]:
    """Return what a real ComfyUI offers, with one file of each kind."""
    return comfyui_catalogue.object_info_with(
        unet_name=[unet], lora_name=[lora], clip_name1=[clip], clip_name2=[t5], vae_name=[vae]
    )


@dataclass
class OfferingHost(FakeHost):
    """Says of itself, and offers, what the test likes."""

    system: dict[str, Any] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Any] = field(
        default_factory=lambda: {"UnetLoaderGGUF": node(unet_name=["x.gguf"])}
    )
    strict: bool = True  # refuses a foreign Origin, as ComfyUI does
    refused: list[tuple[str, str]] = field(default_factory=list)  # Host and Origin

    async def system_stats(self, _: Request) -> Response:
        system = {"os": "posix", "comfyui_version": "0.3.64", **self.system}
        device = {"name": "fake", "type": "cuda", "vram_total": 6 << 30, "vram_free": 5 << 30}
        return JSONResponse({"system": system, "devices": [{**device, **self.device}]})

    async def object_info(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse({name: self.nodes[name]} if name in self.nodes else {})

    async def all_object_info(self, _: Request) -> Response:
        return JSONResponse(self.nodes)

    def application(self) -> Starlette:
        made = super().application()
        made.router.routes.append(Route("/object_info", self.all_object_info))
        if self.strict:
            made.add_middleware(_OriginCheck, refused=self.refused)
        return made


class _OriginCheck:
    """ComfyUI's ``create_origin_only_middleware``, on sockets too (server.py of 0.3.64)."""

    def __init__(self, app: ASGIApp, refused: list[tuple[str, str]]) -> None:
        self._app, self._refused = app, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope.get("headers", [])}
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if host and origin and is_refused(host, origin):
            self._refused.append((host, origin))
            await Response(status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_refused(host: str, origin: str) -> bool:
    """Compare as ComfyUI does: both lower-cased, ports only where both name one."""
    ours, theirs = urlsplit(f"//{host.lower()}"), urlsplit(origin)
    here: str | None = host.lower()
    there: str | None = theirs.netloc.lower()
    if theirs.port is None:
        here = ours.hostname
    if ours.port is None:
        there = theirs.hostname
    loopback = ours.hostname == "localhost" or (ours.hostname or "").startswith("127.")
    return loopback and bool(here) and bool(there) and here != there
