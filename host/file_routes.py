"""The routes that read files: ``/view``, ``/view_metadata``, ``/models``.

Status codes and rules follow ComfyUI. Reading and decoding run in a thread: the event loop must
keep answering while a large picture is converted.
"""

import io
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from host.folders import MODEL_KINDS, Folders, inside, is_file, split_annotation
from host.json_body import JsonResponse
from models.errors import ModelError
from models.safetensors_file import read_header

if TYPE_CHECKING:
    from PIL import Image

_UNSAFE = frozenset(f"text/{kind}" for kind in ("html", "html-sandboxed", "javascript", "css")) | {
    "application/xhtml+xml"
}
"""Types that a browser would run; they are only ever downloaded."""


class RefusedError(Exception):
    """The request gets this status and nothing else."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Conversion:
    """How ``/view`` is to convert a picture: to a small format, or to some of its channels."""

    format: str
    quality: int
    channel: str

    @classmethod
    def wanted(cls, request: Request) -> "Conversion | None":
        """Return what the query asks for, None for the file as it is."""
        preview = request.query_params.get("preview")
        channel = request.query_params.get("channel", "rgba")
        if preview is None:
            return cls("png", 0, channel) if channel in ("rgb", "a") else None
        kind, *rest = preview.split(";")
        if kind not in ("webp", "jpeg") or channel == "a":
            kind = "webp"
        last = rest[-1] if rest else ""
        quality = int(last) if last.isascii() and last.isdigit() else 90
        return cls(kind, min(quality, 100), channel)


class FileRoutes:
    """The handlers; they know the folders and nothing else of the host."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    async def view(self, request: Request) -> Response:
        """Send a picture, whole, in part (Range), converted, or as a preview."""
        try:
            path = find(self._folders, request)
        except RefusedError as refusal:
            return Response(status_code=refusal.status)
        headers = {"Content-Disposition": _disposition(path.name)}
        conversion = Conversion.wanted(request)
        if conversion is None:
            return FileResponse(path, headers=headers, media_type=_media_type(path))
        try:
            body = await run_in_threadpool(convert, path, conversion)
        except (OSError, ValueError):  # Pillow: not a picture, or broken
            return Response(status_code=400)
        return Response(body, headers=headers, media_type=f"image/{conversion.format}")

    async def model_kinds(self, request: Request) -> Response:
        """List the model folders."""
        del request
        return JsonResponse(list(MODEL_KINDS))

    async def models(self, request: Request) -> Response:
        """List the model files of one folder."""
        kind = request.path_params["folder"]
        if kind not in MODEL_KINDS:
            return Response(status_code=404)
        return JsonResponse(await run_in_threadpool(self._folders.names, kind))

    async def embeddings(self, request: Request) -> Response:
        """List the embeddings, without their endings."""
        del request
        names = await run_in_threadpool(self._folders.names, "embeddings")
        return JsonResponse([name.rsplit(".", 1)[0] for name in names])

    async def model_metadata(self, request: Request) -> Response:
        """Send the ``__metadata__`` of a safetensors file."""
        kind, name = request.path_params["folder"], request.query_params.get("filename", "")
        if kind not in MODEL_KINDS or name not in self._folders.names(kind):
            return Response(status_code=404)
        try:
            header = await run_in_threadpool(read_header, self._folders.model(kind, name))
        except ModelError:
            return Response(status_code=404)
        return JsonResponse(dict(header.metadata)) if header.metadata else Response(status_code=404)


def find(folders: Folders, request: Request) -> Path:
    """Return the file that a ``/view`` query names.

    Raises:
        RefusedError: 400 for a bad name or type, 403 for a subfolder outside, 404 if not there.
    """
    query = request.query_params
    if "filename" not in query:
        raise RefusedError(404)
    kind, subfolder = query.get("type", "output"), query.get("subfolder", "")
    return locate(folders, query["filename"], kind, subfolder)


def locate(folders: Folders, filename: str, kind: str, subfolder: str) -> Path:
    """Return a file that is there; ``filename`` may end in ``[input]`` and then says the type.

    Raises:
        RefusedError: as :func:`find`.
    """
    name, said = split_annotation(filename)
    if not name or name.startswith("/") or ".." in name:
        raise RefusedError(400)
    root = folders.root(said or kind)
    if root is None:
        raise RefusedError(400)
    folder = inside(root, subfolder)
    if folder is None:
        raise RefusedError(403)
    path = inside(folder, Path(name).name)
    if path is None or not is_file(path):
        raise RefusedError(404)
    return path


def _disposition(name: str) -> str:
    plain = name.isascii() and name.isprintable() and '"' not in name
    return f'filename="{name}"' if plain else f"filename*=utf-8''{quote(name)}"


def _media_type(path: Path) -> str:
    guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return "application/octet-stream" if guessed in _UNSAFE else guessed


def convert(path: Path, how: Conversion) -> bytes:
    """Return a picture in another format, or some of its channels as PNG."""
    from PIL import Image  # not needed until somebody asks for a preview

    with Image.open(path) as picture:
        buffer = io.BytesIO()
        if how.format == "png":
            channels = picture.convert("RGB") if how.channel == "rgb" else _alpha(picture)
            channels.save(buffer, "PNG")
        else:
            flat = how.format == "jpeg" or how.channel == "rgb"
            small = picture.convert("RGB") if flat else picture
            small.save(buffer, how.format, quality=how.quality)
        return buffer.getvalue()


def _alpha(picture: "Image.Image") -> "Image.Image":
    from PIL import Image

    alpha = picture.getchannel("A") if picture.mode == "RGBA" else Image.new("L", picture.size, 255)
    shown = Image.new("RGBA", picture.size)
    shown.putalpha(alpha)
    return shown
