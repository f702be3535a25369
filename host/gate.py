"""What every request passes before it reaches a route: who may not in, and no oversized bodies.

Plain ASGI, so that nothing is buffered on the way to files and sockets. Which origin is foreign is
decided in :mod:`host.origin`, which token is right in :mod:`host.access_token`.
"""

from h11 import LocalProtocolError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from host.access_token import Token
from host.origin import is_foreign


class BodyTooLargeError(Exception):
    """More bytes came than a body may have."""


class _Exchange:
    """One request on its way: counts what comes, and holds back what nobody can take any more.

    When a body grows too large, or the client goes in the middle of it, the application ends with
    an exception, for which Starlette would answer 500 and uvicorn log a traceback.
    """

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send, self._limit = receive, send, limit
        self._taken = 0
        self.is_over = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > self._limit:
            self.is_over = True
            raise BodyTooLargeError
        if message["type"] == "http.disconnect":
            self.is_over = True
        return message

    async def send(self, message: Message) -> None:
        if self.is_over:
            return
        try:
            await self._send(message)
        except LocalProtocolError:  # what came was no HTTP, and uvicorn has said so already
            self.is_over = True
            raise ClientDisconnect from None


class Gate:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, *, limit: int, token: Token | None = None) -> None:
        """Wrap ``app``; ``limit`` is the largest body in bytes, ``token`` what all must know."""
        self._app = app
        self._limit = limit
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one connection through, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if is_foreign(headers, has_token=self._token is not None):
            await self._refuse(403, scope, receive, send)
        elif not self._knows_token(headers, scope):
            await self._refuse(401, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await Response()(scope, receive, send)
        else:
            await self._with_limit(headers, scope, receive, send)

    def _knows_token(self, headers: Headers, scope: Scope) -> bool:
        # In the query of a socket only: those of requests end in logs and histories.
        query = scope["query_string"] if scope["type"] == "websocket" else b""
        return self._token is None or self._token.opens(headers.get("authorization"), query)

    async def _refuse(self, status: int, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)  # before accept: the client sees 403
            return
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        await Response(status_code=status, headers=headers)(scope, receive, send)

    async def _with_limit(
        self, headers: Headers, scope: Scope, receive: Receive, send: Send
    ) -> None:
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length) > self._limit:
            await self._too_large()(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._limit)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except BodyTooLargeError:
            await self._too_large()(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is there to be answered

    def _too_large(self) -> Response:
        text = f"Maximum request body size {self._limit} exceeded."
        return PlainTextResponse(text, status_code=413)
