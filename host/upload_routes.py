"""The routes that take files: ``/upload/image`` and ``/upload/mask``.

Follows ComfyUI in names, places and answers. Two differences on purpose: a mask without
``original_ref`` is 400 (there 500), and one whose original is not there is 404 (there 200, with
nothing written). Reading and coding pictures runs in a thread.
"""

import io
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from host.file_routes import RefusedError, locate
from host.folders import Folders, inside
from host.json_body import JsonResponse
from models.store import atomic_write


class UploadRoutes:
    """The handlers; they know the folders and nothing else of the host."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._storing = threading.Lock()  # two must not find the same name free

    async def image(self, request: Request) -> Response:
        """Take a picture into input (or temp, output); equal bytes are not stored twice."""
        return await self._take(request, masks=False)

    async def mask(self, request: Request) -> Response:
        """Take a mask; what is stored is the picture that it was made for, with its alpha."""
        return await self._take(request, masks=True)

    async def _take(self, request: Request, *, masks: bool) -> Response:
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            return Response(status_code=400)
        async with request.form(max_files=1) as form:
            upload = form.get("image")
            if not isinstance(upload, UploadFile) or not upload.filename:
                return Response(status_code=400)
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            content = await upload.read()
        try:
            return await run_in_threadpool(
                self._keep, upload.filename, content, fields, masks=masks
            )
        except RefusedError as refusal:
            return Response(status_code=refusal.status)
        except (OSError, ValueError):  # a name that no file can have, a full disk, no picture
            return Response(status_code=400)

    def _keep(
        self, filename: str, content: bytes, fields: Mapping[str, str], *, masks: bool
    ) -> Response:
        kind, subfolder = fields.get("type", "input"), fields.get("subfolder", "")
        place = self._place(kind, subfolder, filename)
        if masks:
            original = self._original(fields.get("original_ref", ""))
            content = with_alpha(original, content)
        overwrite = fields.get("overwrite") in ("true", "1")
        with self._storing:
            name = store(place, content, overwrite=overwrite)
        return JsonResponse({"name": name, "subfolder": subfolder, "type": kind})

    def _place(self, kind: str, subfolder: str, filename: str) -> Path:
        root = self._folders.root(kind)
        folder = inside(root, subfolder) if root is not None else None
        place = inside(folder, filename) if folder is not None else None
        # A name like "." is the folder itself; the next free name would lie beside it.
        if place is None or place == folder:
            raise RefusedError(400)
        return place

    def _original(self, reference: str) -> Path:
        said = _object(reference)
        filename = said.get("filename")
        if not isinstance(filename, str):
            raise RefusedError(400)
        kind, subfolder = said.get("type", "output"), said.get("subfolder", "")
        return locate(self._folders, filename, str(kind), str(subfolder))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def with_alpha(original: Path, mask: bytes) -> bytes:
    """Return a picture as PNG with the alpha channel of ``mask``; its text chunks are kept.

    Raises:
        OSError, ValueError: one of the two is no picture, or their sizes differ.
    """
    from PIL import Image  # not needed until somebody draws a mask
    from PIL.PngImagePlugin import PngInfo

    texts, buffer = PngInfo(), io.BytesIO()
    with Image.open(original) as picture, Image.open(io.BytesIO(mask)) as drawn:
        for key, text in getattr(picture, "text", {}).items():
            texts.add_text(key, text)
        whole = picture.convert("RGBA")
        whole.putalpha(drawn.convert("RGBA").getchannel("A"))
    whole.save(buffer, "PNG", compress_level=4, pnginfo=texts)
    return buffer.getvalue()


def store(place: Path, content: bytes, *, overwrite: bool) -> str:
    """Save an upload; return its name, ``x (1).png`` if other bytes have the one asked for."""
    path, number = place, 0
    while not overwrite and path.exists():
        if path.is_file() and path.read_bytes() == content:
            return path.name
        number += 1
        path = place.with_name(f"{place.stem} ({number}){place.suffix}")
    atomic_write(path, content)
    return path.name
