"""HTTP answers read by our own reader and by the standard library's: they agree."""

import http.client
import io
import socket
from contextlib import suppress
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import exchange
from bridge.exchange import BadAnswer

BODIES = st.binary(max_size=200)


def chunked(parts: list[bytes]) -> bytes:
    sizes = [f"{len(part):x};note=1\r\n".encode() + part + b"\r\n" for part in parts if part]
    return b"".join(sizes) + b"0\r\nTrailer: x\r\n\r\n"


def by_the_library(answer: bytes) -> tuple[int, bytes]:
    class Wire:
        def makefile(self, *_: Any) -> io.BytesIO:
            return io.BytesIO(answer)

    response = http.client.HTTPResponse(cast(socket.socket, Wire()), method="GET")
    response.begin()
    return response.status, response.read()


@given(
    body=BODIES,
    cuts=st.lists(st.integers(0, 200), max_size=4),
    framing=st.sampled_from(["length", "chunked", "end"]),
    status=st.sampled_from([200, 204, 304, 400, 404, 500]),
    interim=st.booleans(),
)
def test_an_answer_reads_as_the_standard_library_reads_it(
    body: bytes, cuts: list[int], framing: str, status: int, interim: bool
) -> None:
    head = b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" if interim else b""
    head += f"HTTP/1.1 {status} Phrase of words\r\nServer:  x \r\n".encode()
    if framing == "length":
        answer = head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    elif framing == "chunked":
        ends = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
        parts = [body[a:b] for a, b in pairwise(ends)]
        answer = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(parts)
    else:
        answer = head + b"\r\n" + body
    read = exchange.read(cast(Any, io.BytesIO(answer)))
    expected = by_the_library(answer)
    if status in (204, 304):
        expected = (status, b"")  # RFC 9112, 6.3: no body, chunked or not
    assert (read.status, read.content) == expected
    assert read.headers["server"] == "x"


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_at_all_bring_anything_but_an_answer_or_a_sentence(noise: bytes, cut: int) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    for said in (noise, whole[:cut] + noise, b"HTTP/1.1 200 OK\r\n" + noise):
        with suppress(BadAnswer):
            assert exchange.read(cast(Any, io.BytesIO(said))).status < 1000


@given(st.binary(min_size=1, max_size=60), st.integers(0, 200))
def test_an_answer_that_breaks_off_is_never_taken_for_whole(body: bytes, cut: int) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked([body])
    for whole in (head + body, chunks):
        with pytest.raises(BadAnswer):
            exchange.read(cast(Any, io.BytesIO(whole[: min(cut, len(whole) - 1)])))


def test_a_request_is_one_piece_with_its_length() -> None:
    sent = exchange.request("POST", "/prompt", {"Host": "h:1"}, b"{}")
    assert sent == b"POST /prompt HTTP/1.1\r\nHost: h:1\r\nContent-Length: 2\r\n\r\n{}"
    assert (
        exchange.request("GET", "/q", {"Host": "h"}, None) == b"GET /q HTTP/1.1\r\nHost: h\r\n\r\n"
    )


@pytest.mark.parametrize("framing", ["length", "chunked", "end"])
def test_a_body_without_an_end_is_no_answer(framing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LONGEST_BODY", 1000)
    body = b"x" * 600
    head = b"HTTP/1.1 200 OK\r\n"
    answer = {
        "length": head + b"Content-Length: 1000000000000000\r\n\r\n" + body,
        "chunked": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked([body, body]),
        "end": head + b"\r\n" + body + body,
    }[framing]
    with pytest.raises(BadAnswer):
        exchange.read(cast(Any, io.BytesIO(answer)))
