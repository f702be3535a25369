"""The host's WebSocket, held against recorded sessions in which something out of the way happens.

Sessions that only differ by time are compared by their course: kinds and nodes of the messages in
their order, with repeated steps as one. Where ComfyUI goes deaf, this host must not.
"""

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import websocket

from tests.host_kit import (
    Client,
    LocalHost,
    alike,
    client,
    saved,
    serving,
    slow,
    transcript,
    wait_for,
)
from tests.test_host_process import started

FLAGS = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    with serving(tmp_path_factory.mktemp("host")) as running:
        yield running


def recorded(frames: Sequence[dict[str, Any]]) -> list[Any]:
    """Return recorded frames as the kit gives its own; the closing is left out."""
    return [
        frame["text"] if "text" in frame else bytes.fromhex(frame["hex_head"])
        for frame in frames
        if "text" in frame or "hex_head" in frame
    ]


def course(frames: Sequence[Any]) -> list[tuple[str, Any]]:
    """Return kind and node of each message; a run of progress, with its previews, is one."""
    told = [_kind(frame) for frame in frames]
    return [kind for kind, _ in groupby(told)]


def _kind(frame: Any) -> tuple[str, Any]:
    if isinstance(frame, bytes) or frame["type"].startswith("progress"):
        return ("progress", None)
    data = frame["data"]
    return (frame["type"], data.get("node", data.get("node_id")))


# --- interrupts ---


def stopped(
    host: LocalHost, me: Client, graph: dict[str, Any], last: str, *, by_id: bool = False
) -> list[Any]:
    """Interrupt a job after a message of this type from its second node; return what was told."""
    me.frame()
    prompt_id = host.submit(graph, client_id="I")
    frames: list[Any] = []
    while not frames or frames[-1]["type"] != last or frames[-1]["data"]["node"] != "2":
        frames.append(me.frame())
    host.post("/interrupt", {"prompt_id": prompt_id} if by_id else {})
    return frames + me.until_idle(prompt_id)


@pytest.mark.parametrize(
    ("name", "key", "by_id"),
    [
        ("ws_interrupted_progress_node", "frames", False),
        ("ws_interrupted_by_id", "frames", True),
        ("ws_interrupted_seen_by_other", "A", False),
    ],
)
def test_an_interrupted_job_is_reported_as_recorded(
    host: LocalHost, name: str, key: str, by_id: bool
) -> None:
    with host.socket("I") as me, host.socket("other") as other:
        frames = stopped(host, me, slow(5, 100), "progress", by_id=by_id)
        others = other.waiting()
    theirs = recorded(transcript(name)[key])[1:]
    assert course(frames) == course(theirs)
    assert {kind for kind, _ in course(others)} == {"status"}


def test_a_node_that_never_checks_ends_first_and_the_next_is_announced_only(
    host: LocalHost,
) -> None:
    graph = saved(time.time_ns() & 0xFFFFFF)
    inputs = {"image": ["1", 0], "seconds": 0.3, "nonce": time.time_ns()}
    graph["2"] = {"class_type": "LabSleepNoCheck", "inputs": inputs}
    graph["9"]["inputs"]["images"] = ["2", 0]
    with host.socket("I") as me:
        frames = stopped(host, me, graph, "executing")
    theirs = recorded(transcript("ws_interrupted_node_that_never_checks")["frames"])[1:]
    assert course(frames) == course(theirs)
    assert [one["type"] for one in frames] == [one["type"] for one in theirs]


def test_an_interrupt_while_idle_leaves_the_next_job_as_recorded(tmp_path: Path) -> None:
    session = transcript("ws_after_idle_interrupt")
    with serving(tmp_path) as fresh, fresh.socket("idle") as me:
        fresh.request("POST", "/interrupt")
        me.frame()
        prompt_id = session["prompt_id"]
        fresh.submit(session["prompt"], client_id="idle", prompt_id=prompt_id)
        frames = me.until_idle(prompt_id)
    assert alike(frames) == alike(recorded(session["frames"])[1:])


# --- who gets what ---


def test_a_job_without_a_client_is_told_as_recorded(host: LocalHost) -> None:
    session = transcript("ws_prompt_without_client_id")
    wait_for(lambda: host.get("/prompt").json["exec_info"]["queue_remaining"] == 0)
    with host.socket("A") as one, host.socket("B") as two:
        graph = slow(0.1, 2)
        graph["2"]["inputs"]["preview"] = True
        host.history(host.submit(graph))
        failing = saved(time.time_ns() & 0xFFFFFF)
        inputs = {"image": ["1", 0], "message": "boom", "kind": "ValueError"}
        failing["3"] = {"class_type": "LabFail", "inputs": inputs}
        failing["9"]["inputs"]["images"] = ["3", 0]
        host.history(host.submit(failing))
        long = host.submit(slow(5, 100))
        for _ in range(3):  # the first job made two steps
            one.until("progress")
        host.request("POST", "/interrupt")
        host.history(long)
        frames = two.waiting()
    assert course(frames) == course(recorded(session["A"]))
    assert course(recorded(session["A"])) == course(recorded(session["B"]))


def test_who_comes_back_in_the_middle_is_told_as_recorded(host: LocalHost) -> None:
    session = transcript("ws_reconnect_mid_run")
    graph = slow(0.8, 8)
    graph["2"]["inputs"]["preview"] = True
    with host.socket("R", flags=True) as me:
        prompt_id = host.submit(graph, client_id="R")
        first = [me.frame()]
        while _kind(first[-1]) != ("progress", None) or len(first) < 12:
            first.append(me.frame())
    with host.socket("R") as me:
        second = me.until_idle(prompt_id)
    assert course(first) == course(recorded(session["first"]))
    assert course(second) == course(recorded(session["second"]))
    assert {one[:4] for one in second if isinstance(one, bytes)} == {b"\0\0\0\1"}


def test_who_comes_back_afterwards_finds_the_rest_in_the_history(host: LocalHost) -> None:
    session = transcript("ws_reconnect_after_end")
    with host.socket("R2") as me:
        me.frame()
        prompt_id = host.submit(saved(77, "after"), client_id="R2")
    status = host.history(prompt_id)["status"]
    with host.socket("R2") as me:
        frames = me.waiting(0.2)
    assert course(frames) == course(recorded(session["second"]))
    theirs = session["history"]
    assert [name for name, _ in status["messages"]] == [name for name, _ in theirs["messages"]]
    assert (status["status_str"], status["completed"]) == ("success", True)


def test_a_second_socket_of_a_client_gets_all_and_is_not_deaf_when_the_first_ends(
    host: LocalHost,
) -> None:
    session = transcript("ws_same_clientId_twice")
    assert session["new_socket_after_old_closed"] == []  # deaf, there
    with client(host.url, "S") as old, client(host.url, "S") as new:
        prompt_id = host.submit(slow(0.1, 2), client_id="S")
        frames = new.until_idle(prompt_id)
        assert course(old.waiting(0.2)) == course(recorded(session["old_socket"]))
        assert course(frames) == course(recorded(session["new_socket"]))
        old.connection.close()
        wait_for(lambda: host.parts.hub.count == 1)
        new.connection.settimeout(10)
        assert new.until_idle(host.submit(saved(5, "S"), client_id="S"))


def test_a_reset_of_a_half_open_socket_leaves_the_new_one_alone(host: LocalHost) -> None:
    session = transcript("ws_half_open_then_reset_kills_new_registration")
    assert len(recorded(session["new_socket"])) == 1  # deaf, there
    half_open = raw(host, "HO")
    read_until(half_open, b"}}")
    with host.socket("HO") as new:
        new.frame()
        half_open.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        half_open.close()
        wait_for(lambda: host.parts.hub.count == 1)
        assert new.until_idle(host.submit(saved(6, "HO"), client_id="HO"))


def raw(host: LocalHost, client_id: str, path: str = "/ws") -> socket.socket:
    """Open a WebSocket by hand; its answer has been sent for, not read."""
    address = urlsplit(host.url)
    plain = socket.create_connection((address.hostname, address.port), timeout=10)
    head = f"GET {path}?clientId={client_id} HTTP/1.1\r\nHost: {address.netloc}\r\n"
    more = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
    plain.sendall(f"{head}{more}Sec-WebSocket-Version: 13\r\n\r\n".encode())
    return plain


# --- the wire ---


def test_a_ping_is_answered_and_the_first_frame_is_the_recorded_one(host: LocalHost) -> None:
    session = transcript("ws_raw_ping_pong")
    theirs = bytes.fromhex(session["first_bytes"]).partition(b"\r\n\r\n")
    with raw(host, "PP") as plain:
        head, _, frame = read_until(plain, b"}}").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert theirs[0].split(b"Accept: ")[1].split(b"\r\n")[0] in head
        assert frame[:2] == theirs[2][:2]
        assert json.loads(frame[2:]) == json.loads(theirs[2][2:])
        plain.sendall(b"\x89\x85\0\0\0\0ping!")
        assert plain.recv(64) == bytes.fromhex(session["pong_hex"])


def read_until(plain: socket.socket, end: bytes) -> bytes:
    content = b""
    while not content.endswith(end):
        content += plain.recv(4096)
    return content


def test_the_alias_below_api_greets_as_recorded(host: LocalHost) -> None:
    url = host.url.replace("http", "ws") + "/api/ws?clientId=Z2"
    connection = websocket.create_connection(url, timeout=10)
    assert json.loads(connection.recv()) == json.loads(transcript("ws_api_ws_alias")["first"])
    connection.close()


def test_compression_is_agreed_on_if_offered(host: LocalHost) -> None:
    wanted = transcript("ws_permessage_deflate")["resp_headers"]["Sec-WebSocket-Extensions"]
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    url = host.url.replace("http", "ws") + "/ws"
    connection = websocket.create_connection(url, timeout=10, header=[offer])
    assert str((connection.getheaders() or {})["sec-websocket-extensions"]).startswith(wanted)
    connection.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ws_feature_flags_twice", [FLAGS, FLAGS]),
        ("ws_odd_client_messages_then_late_feature_flags", ["x", "[]", "{}", FLAGS]),
    ],
)
def test_what_a_client_says_is_answered_as_recorded(
    host: LocalHost, name: str, said: list[str]
) -> None:
    theirs = recorded(transcript(name)["frames"])
    with host.socket(theirs[0]["data"]["sid"]) as me:
        frames = [me.frame()]
        for word in said:
            me.connection.send(word)
        assert frames + me.waiting(0.3) == theirs


@pytest.mark.parametrize(
    ("name", "mebibytes"),
    [("ws_client_sends_3MiB", 3), ("ws_client_sends_4MiB", 4), ("ws_client_sends_5MiB", 5)],
)
def test_a_client_s_frame_may_be_as_large_as_recorded(
    host: LocalHost, name: str, mebibytes: int
) -> None:
    dropped = transcript(name)["closed"]
    if mebibytes == 4:  # the limit itself: too much there, the most there may be here
        dropped = False
    with host.socket("big") as me:
        me.frame()
        try:
            me.connection.send("x" * (mebibytes << 20))
            alive = me.silent(0.3)
        except (OSError, websocket.WebSocketException, struct.error):
            alive = False
    assert alive is not dropped


# --- races and ends ---


def test_the_history_is_there_at_success_in_every_job(host: LocalHost) -> None:
    races = transcript("races_and_stall")["races"]
    assert races  # there, the history came later in one job of five
    with host.socket("race") as me:
        for color in range(20):
            prompt_id = host.submit(saved(color, "races"), client_id="race")
            assert me.until("execution_success")["data"]["prompt_id"] == prompt_id
            assert host.get(f"/history/{prompt_id}").json


def test_a_killed_host_starts_anew_as_recorded(tmp_path: Path) -> None:
    session = transcript("kill_restart")["SIGKILL"]
    with started(tmp_path / "models", tmp_path) as first:
        first.host.submit(saved(1))
        prompt_id = first.host.submit(saved(2))
        with client(first.host.url, "K") as me:
            me.frame()
            os.kill(first.process.pid, signal.SIGKILL)
            with pytest.raises((websocket.WebSocketConnectionClosedException, OSError)):
                me.waiting(5.0)
    with started(tmp_path / "models", tmp_path) as second:
        assert second.host.get("/queue").json == session["queue_after"]
        assert second.host.get(f"/history/{prompt_id}").json == {}
        with client(second.host.url, "K") as me:
            assert me.frame() == recorded(session["ws_after"])[0]
        answer = second.host.post("/prompt", {"prompt": saved(3)})
        assert answer.json["number"] == session["next_number"]["number"]
