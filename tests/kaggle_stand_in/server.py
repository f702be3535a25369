"""The stand-in's HTTP: what the package ``kaggle`` 2.2.4 calls, and no more.

``POST [/api]/v1/SERVICE/METHOD`` with JSON for the calls, ``PUT /upload/TOKEN`` for files (Google's
resumable upload, as the package speaks it), ``GET /output/...`` for a run's files (with ranges),
``GET .../kernels/logs/stream/USER/SLUG``. A proxy's absolute form is understood too, so that the
real command line can be sent here by ``HTTP_PROXY``.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.kaggle_stand_in import calls
from tests.kaggle_stand_in.behaviour import Fault
from tests.kaggle_stand_in.kaggle_site import KEY, TOKEN, USER, Refused, Runner, Site

_PIECE = 1 << 16


class Cut(Exception):  # noqa: N818 - names what is to happen
    """The connection is to be cut here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_: Any) -> None:
        """Tests have nothing to read there."""

    def do_POST(self) -> None:
        self._guarded(self._call)

    def do_PUT(self) -> None:
        self._guarded(self._take)

    def do_GET(self) -> None:
        self._guarded(self._give)

    def _guarded(self, work: Callable[[str, Fault | None], None]) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.site.lock:
            self.site.requests.append(f"{self.command} {path}")
            fault = self.site.behaviour.fault(path)
        try:
            if fault and fault.status:
                self._body()
                self._json({"code": fault.status, "message": fault.words}, fault.status, fault)
            elif fault and fault.after is None and not fault.late:
                self._cut()
            else:
                work(path, fault)
        except Refused as refused:
            self._json({"code": refused.status, "message": refused.words}, refused.status)
        except (Cut, ConnectionError):
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _call(self, path: str, fault: Fault | None) -> None:
        request = json.loads(self._body() or b"{}")
        method = path.rpartition("/")[2]
        if method != "IntrospectToken":
            self._check_credentials()
        with self.site.lock:
            answer = calls.answer(self.site, method, request, self._address())
        if fault and fault.late:
            raise Cut
        self._json(answer)

    def _address(self) -> str:
        assert isinstance(self.server, ThreadingHTTPServer)
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def _check_credentials(self) -> None:
        basic = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        if self.headers.get("Authorization") not in (f"Basic {basic}", f"Bearer {TOKEN}"):
            raise Refused(401, "Unauthenticated")

    def _take(self, path: str, fault: Fault | None) -> None:
        """Take a file or part of one (https://cloud.google.com/storage/docs/resumable-uploads)."""
        blob = self.site.blobs[path.rpartition("/")[2]]
        told = self.headers.get("Content-Range", "")
        if told.startswith("bytes */"):
            self._body()
        else:
            start = int(told.split()[1].partition("-")[0]) if told else 0
            assert start <= blob.received, "a hole in an upload"
            with blob.path.open("r+b") as file:
                file.truncate(start)
                file.seek(start)
                for piece in self._pieces(fault.after if fault else None):
                    file.write(piece)
                    file.flush()
                    self.site.taken += len(piece)
        if fault:
            raise Cut
        if blob.received == blob.length:
            self._json({})
        else:
            ranges = {"Range": f"bytes=0-{blob.received - 1}"} if blob.received else {}
            self._head(308, {**ranges, "Content-Length": "0"})

    def _give(self, path: str, fault: Fault | None) -> None:
        if "/kernels/logs/stream/" in path:
            self._check_credentials()
            self._stream(path.rpartition("/")[2])
            return
        content = self._file(path)
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        told = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(told[1]) if told and self.headers.get("If-Range", etag) == etag else 0
        headers = {
            "Content-Length": str(len(content) - start),
            "Accept-Ranges": "bytes",
            "ETag": etag,
            "Last-Modified": "Sun, 22 Nov 2026 00:00:00 GMT",
        }
        if start:
            self.site.continued.append(start)
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if start else 200, headers)
        sent = content[start:][: fault.after if fault else None]
        self.wfile.write(sent)
        if fault:
            raise Cut

    def _file(self, path: str) -> bytes:
        _, _, slug, number, name = path.split("/", 4)
        if name in self.site.outside_listing:
            return self.site.outside_listing[name]
        version = self.site.kernel(slug).versions[int(number) - 1]
        return (version.working / name).read_bytes()

    def _stream(self, slug: str) -> None:
        version = self.site.kernel(slug).versions[-1]
        lines = calls.log(version)
        if version.over:
            body = json.dumps(lines).encode()
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            self._head(200, headers)
            self.wfile.write(body)
            return
        self._head(200, {"Content-Type": "text/event-stream", "Connection": "close"})
        for line in lines:
            self.wfile.write(f"data: {json.dumps(line)}\n\n".encode())
        self.close_connection = True  # a real one stays open; a client may not rely on it

    def _body(self) -> bytes:
        return b"".join(self._pieces(None))

    def _pieces(self, limit: int | None) -> Iterator[bytes]:
        left = int(self.headers.get("Content-Length", 0))
        left = left if limit is None else min(left, limit)
        while left > 0 and (piece := self.rfile.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece

    def _json(self, table: Any, status: int = 200, fault: Fault | None = None) -> None:
        body = json.dumps(table).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self._head(status, {**headers, **(fault.headers if fault else {})})
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


class StandIn:
    """A running stand-in."""

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"


@contextmanager
def standing_in(folder: Path, runner: Runner | None = None) -> Iterator[StandIn]:
    """Serve a stand-in for Kaggle on a free port until the block ends."""
    site = Site(folder, runner)
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield StandIn(site, port)
    finally:
        site.close()
        server.shutdown()
        server.server_close()
        thread.join()
