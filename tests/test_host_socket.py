"""The host's WebSocket, replayed against sessions recorded from a real ComfyUI."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.hub import MAX_UPLOAD
from tests.host_kit import (
    LocalHost,
    alike,
    client,
    image,
    saved,
    serving,
    slow,
    transcript,
    wait_for,
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    with serving(tmp_path_factory.mktemp("host")) as running:
        yield running


def frames_of(recorded: list[dict[str, Any]]) -> list[Any]:
    """Recorded frames as the kit gives them; binary ones as their head."""
    frames: list[Any] = []
    for frame in recorded:
        if "text" in frame:
            frames.append(alike(frame["text"]))
        elif "hex_head" in frame:
            frames.append(head_of(bytes.fromhex(frame["hex_head"])))
    return frames


def head_of(frame: bytes) -> bytes:
    """What two equal binary frames share: type, format or metadata, and the kind of picture."""
    if frame[3] == 1:
        return frame[:12]
    return frame[: 8 + int.from_bytes(frame[4:8])]


def heads(frames: list[Any]) -> list[Any]:
    return [head_of(one) if isinstance(one, bytes) else alike(one) for one in frames]


SESSIONS = (
    "ws_normal_saveimage",
    "ws_normal_with_flags",
    "ws_two_outputs",
    "ws_preview_image_node",
    "ws_saveimagewebsocket_flags",
    "ws_saveimagewebsocket_noflags",
    "ws_saveimagewebsocket_batch3",
    "ws_progress_preview_flags",
    "ws_progress_preview_noflags",
    "ws_progress_node",
    "ws_big_saveimagewebsocket_4096",
)


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_is_frame_by_frame_the_recorded_one(tmp_path: Path, name: str) -> None:
    recorded = transcript(name)
    with serving(tmp_path) as fresh:
        cid = recorded["frames"][0]["text"]["data"]["sid"]
        with fresh.socket(cid, flags=bool(recorded["client_flags"])) as me:
            frames = [me.frame()]
            if recorded["client_flags"]:
                frames.append(me.frame())
            prompt_id = recorded["prompt_id"]
            fresh.submit(recorded["prompt"], client_id=cid, prompt_id=prompt_id)
            frames += me.until_idle(prompt_id)
    assert heads(frames) == frames_of(recorded["frames"])


def test_a_cached_job_is_reported_as_recorded(tmp_path: Path) -> None:
    recorded = transcript("ws_cached_saveimage")
    with serving(tmp_path) as fresh, fresh.socket("c-cached_saveimage") as me:
        fresh.history(fresh.submit(recorded["prompt"]))
        me.waiting()
        me.connection.settimeout(10)
        prompt_id = recorded["prompt_id"]
        fresh.submit(recorded["prompt"], client_id="c-cached_saveimage", prompt_id=prompt_id)
        frames = me.until_idle(prompt_id)
    assert heads(frames) == frames_of(recorded["frames"])[1:]


def test_a_failing_job_is_reported_as_recorded(host: LocalHost) -> None:
    recorded = transcript("ws_error")
    with host.socket("c-error") as me:
        me.frame()
        host.submit(recorded["prompt"], client_id="c-error", prompt_id=recorded["prompt_id"])
        frames = me.until_idle(recorded["prompt_id"])
    mine, theirs = heads(frames), frames_of(recorded["frames"])[1:]
    for one in (*mine, *theirs):
        if one["type"] == "execution_error":
            for key in ("traceback", "current_inputs", "current_outputs"):
                one["data"].pop(key)
    assert mine == theirs


def test_others_see_only_status_and_the_owner_everything(host: LocalHost) -> None:
    recorded = transcript("ws_other_clients")
    with host.socket("A") as owner, host.socket("B") as other, host.socket("") as nameless:
        assert nameless.until("status")["data"]["sid"]
        graph = slow(0.1, 2)
        graph["2"]["inputs"]["preview"] = True
        prompt_id = host.submit(graph, client_id="A")
        seen = owner.until_idle(prompt_id)
        others = other.waiting() + nameless.waiting()
    kinds = [one["type"] if isinstance(one, dict) else "binary" for one in seen]
    theirs = [
        "binary" if "hex_head" in one else one["text"]["type"] for one in recorded["A_owner"][:-1]
    ]
    assert kinds == theirs
    assert {one["type"] for one in others if isinstance(one, dict)} == {"status"}
    assert all(isinstance(one, dict) for one in others)


def test_without_a_client_id_progress_goes_to_all_and_the_rest_to_nobody(host: LocalHost) -> None:
    with host.socket("A") as me:
        me.frame()
        done = host.submit(slow(0.1, 2))
        host.history(done)
        stopped = host.submit(slow(5, 100))
        wait_for(lambda: host.get("/queue").json["queue_running"])
        time.sleep(0.15)
        host.request("POST", "/interrupt")
        host.history(stopped)
        kinds = {one["type"] for one in me.waiting() if isinstance(one, dict)}
    assert kinds == {"status", "progress", "progress_state", "execution_interrupted"}


def test_history_is_there_when_execution_success_arrives(host: LocalHost) -> None:
    with host.socket("racer") as me:
        for color in range(30):
            prompt_id = host.submit(saved(color, "race"), client_id="racer")
            assert me.until("execution_success")["data"]["prompt_id"] == prompt_id
            assert host.get(f"/history/{prompt_id}").json != {}


def test_an_interrupt_is_seen_within_a_step(host: LocalHost) -> None:
    with host.socket("stopper") as me:
        prompt_id = host.submit(slow(30, 300), client_id="stopper")
        me.until("progress")
        start = time.monotonic()
        host.post("/interrupt", {"prompt_id": "another"})
        me.until("progress")
        host.post("/interrupt", {"prompt_id": prompt_id})
        data = me.until("execution_interrupted")["data"]
        assert time.monotonic() - start < 3.0
    assert data["node_type"] == "LabSlow"
    assert data["executed"] == ["1"]


def test_who_reconnects_in_the_middle_is_told_the_node_and_gets_the_rest(host: LocalHost) -> None:
    graph = slow(0.6, 6)
    with host.socket("back") as me:
        prompt_id = host.submit(graph, client_id="back")
        me.until("progress")
    with host.socket("back") as me:
        me.until("status")
        assert me.frame() == {"type": "executing", "data": {"node": "2"}}
        kinds = [one["type"] for one in me.until_idle(prompt_id) if isinstance(one, dict)]
    assert "executed" in kinds
    assert "execution_success" in kinds


def test_an_old_socket_of_the_same_client_takes_nothing_with_it(host: LocalHost) -> None:
    with client(host.url, "same") as new:
        with client(host.url, "same") as newer:
            newer.frame()
            host.history(host.submit(saved(1, "same"), client_id="same"))
            assert newer.until("executed")
        # The newest is gone: what comes now goes to the one that is still there.
        wait_for(lambda: host.parts.hub.count == 1)
        prompt_id = host.submit(saved(2, "same"), client_id="same")
        assert new.until_idle(prompt_id)
    with client(host.url, "same") as old:
        old.frame()
        with client(host.url, "same") as young:
            young.frame()
            old.connection.shutdown()
            time.sleep(0.1)
            prompt_id = host.submit(saved(3, "same"), client_id="same")
            assert young.until_idle(prompt_id)


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[LocalHost]:
    """A host of one's own: no other test's job ends on it, of which all sockets would hear."""
    with serving(tmp_path) as fresh:
        yield fresh


def test_flags_count_only_in_the_first_object(quiet: LocalHost) -> None:
    flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
    with quiet.socket("flags") as me:
        me.frame()
        for noise in ("no json", "[1]", "5", "x" * 100_000):
            me.connection.send(noise)
        me.connection.send_binary(b"\0\1")
        me.connection.send(json.dumps(flags))
        answer = me.frame()
        assert answer == {
            "type": "feature_flags",
            "data": {"supports_preview_metadata": True, "max_upload_size": MAX_UPLOAD},
        }
        me.connection.send(json.dumps(flags))
        assert me.silent(0.2)
    with quiet.socket("late") as me:
        me.frame()
        me.connection.send(json.dumps({"type": "hello"}))
        me.connection.send(json.dumps(flags))
        assert me.silent(0.2)


def test_a_client_that_never_reads_delays_nobody(tmp_path: Path) -> None:
    with serving(tmp_path) as fresh:
        port = int(fresh.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            request = (
                "GET /ws?clientId=stalled HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            stalled.sendall(request.encode())
            wait_for(lambda: fresh.parts.hub.count == 1)
            graph = {
                "1": {**image(size=2048)},
                "9": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
            }
            graph["1"]["inputs"]["batch_size"] = 4
            with fresh.socket("reader") as reader:
                for _ in range(5):
                    fresh.submit(graph, client_id="stalled")
                prompt_id = fresh.submit(saved(), client_id="reader")
                assert reader.until_idle(prompt_id)


def test_many_small_jobs_go_through_quickly(host: LocalHost) -> None:
    with host.socket("speed") as me:
        start = time.monotonic()
        ids = [host.submit(saved(color, "speed"), client_id="speed") for color in range(40)]
        me.until_idle(ids[-1])
        took = time.monotonic() - start
    assert took < 10, f"{took / 40 * 1000:.0f} ms per job"
