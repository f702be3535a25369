"""What every request passes before it reaches a route: foreign pages out, oversized bodies out.

Plain ASGI, so that nothing is buffered on the way to files and sockets. Which origin is foreign is
decided in :mod:`host.origin`.
"""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from host.origin import is_foreign


class BodyTooLargeError(Exception):
    """More bytes came than a body may have."""


class Gate:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        """Wrap ``app``; ``limit`` is the largest body in bytes."""
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one connection through, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if is_foreign(headers.get("host"), headers.get("origin")):
            await self._refuse(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await Response()(scope, receive, send)
        else:
            await self._with_limit(headers, scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)  # before accept: the client sees 403
        else:
            await Response(status_code=403)(scope, receive, send)

    async def _with_limit(
        self, headers: Headers, scope: Scope, receive: Receive, send: Send
    ) -> None:
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length) > self._limit:
            await self._too_large()(scope, receive, send)
            return
        try:
            await self._app(scope, self._counting(receive), send)
        except BodyTooLargeError:
            await self._too_large()(scope, receive, send)

    def _counting(self, receive: Receive) -> Receive:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limit:
                raise BodyTooLargeError
            return message

        return counted

    def _too_large(self) -> Response:
        text = f"Maximum request body size {self._limit} exceeded."
        return PlainTextResponse(text, status_code=413)
