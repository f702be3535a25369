"""The fault host against what the real ComfyUI was recorded to do: same frames, same answers."""

import json
import queue
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.fake_host import FakeHost, serving
from tests.fault_host.pictures import picture, pixels, pixels_of

TRANSCRIPTS = Path(__file__).parent / "data" / "transcripts"
Eventually = Callable[..., None]
MOVING = ("prompt_id", "timestamp", "filename", "sid", "traceback", "current_inputs")


Hear = Callable[..., "Heard"]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serving() as served:
        yield served


@pytest.fixture
def hear(host: FakeHost) -> Iterator[Hear]:
    """Open sockets that are closed when the test is over."""
    opened: list[Heard] = []

    def connect(client: str = "me", flags: bool = False, **options: Any) -> Heard:
        opened.append(Heard(host, client, flags, **options))
        return opened[-1]

    yield connect
    for heard in opened:
        heard.close()


def recorded(name: str) -> dict[str, Any]:
    transcript: dict[str, Any] = json.loads((TRANSCRIPTS / f"{name}.json").read_text())
    return transcript


def shape(message: Any) -> Any:
    """A message with what differs from run to run taken out."""
    if isinstance(message, dict):
        return {k: "*" if k in MOVING else shape(v) for k, v in message.items()}
    return [shape(value) for value in message] if isinstance(message, list) else message


def call(url: str, body: Any = None) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Heard:
    """A client's socket, and what it was told."""

    def __init__(self, host: FakeHost, client: str, flags: bool, **options: Any) -> None:
        address = host.url.replace("http", "ws") + f"/ws?clientId={client}"
        reads = options.pop("reads", True)
        self.socket = websocket.create_connection(address, timeout=5, **options)
        self.frames: queue.Queue[Any] = queue.Queue()
        if flags:
            data = {"supports_preview_metadata": True}
            self.socket.send(json.dumps({"type": "feature_flags", "data": data}))
        self._reader = threading.Thread(target=self._read, daemon=True)
        if reads:
            self._reader.start()

    def close(self) -> None:
        if self._reader.is_alive():
            self.socket.abort()  # wakes the reader
            self._reader.join(5)
        self.socket.shutdown()

    def _read(self) -> None:
        try:
            while frame := self.socket.recv():
                self.frames.put(json.loads(frame) if isinstance(frame, str) else frame)
        except (OSError, websocket.WebSocketException):
            return

    def run(self, host: FakeHost, graph: Any, job: str = "a", client: str = "me") -> list[Any]:
        """Post a graph; return the frames up to the null node."""
        call(f"{host.url}/prompt", {"prompt": graph, "client_id": client, "prompt_id": job})
        return self.until_null(job)

    def until_null(self, job: str) -> list[Any]:
        frames: list[Any] = []
        while True:
            frame = self.frames.get(timeout=5)
            frames.append(frame)
            data = frame.get("data", {}) if isinstance(frame, dict) else {}
            if data.get("prompt_id") == job and data.get("node", "") is None:
                return frames


@pytest.mark.parametrize(
    "name",
    ["ws_normal_saveimage", "ws_error", "ws_two_outputs"],
)
def test_a_run_is_told_in_comfyuis_own_frames_and_order(
    host: FakeHost, hear: Hear, name: str
) -> None:
    transcript = recorded(name)
    wanted = [frame["text"] for frame in transcript["frames"] if "text" in frame]
    heard = hear().run(host, transcript["prompt"])
    told = [shape(frame) for frame in heard]
    expected = [shape(frame) for frame in wanted]
    if name == "ws_error":  # the real one lists what the tensors held
        for frame in (*told, *expected):
            frame["data"].pop("current_outputs", None)
    assert told == expected


def test_a_cached_graph_is_told_as_comfyui_tells_it_and_writes_no_file(
    host: FakeHost, hear: Hear
) -> None:
    transcript = recorded("ws_cached_saveimage")
    heard = hear()
    first = heard.run(host, transcript["prompt"], "first")
    again = heard.run(host, transcript["prompt"], "again")
    wanted = [shape(f["text"]) for f in transcript["frames"] if "text" in f][1:]
    assert [shape(frame) for frame in again] == wanted
    named = [f["data"]["output"] for f in (*first, *again) if f["type"] == "executed"]
    assert named[0] == named[1]
    assert len(host.files) == 1


def test_an_interrupt_is_seen_at_the_next_step_and_told_as_comfyui_tells_it(
    host: FakeHost,
    hear: Hear,
) -> None:
    transcript = recorded("ws_interrupted_by_id")
    wanted = [shape(frame["text"]) for frame in transcript["frames"] if "text" in frame]
    graph = {**recorded("ws_normal_saveimage")["prompt"]}
    graph["2"] = {"class_type": "LabSlow", "inputs": {"image": ["1", 0]}}
    graph["9"] = {**graph["9"], "inputs": {**graph["9"]["inputs"], "images": ["2", 0]}}
    host.steps, host.step_time = 30, 0.3
    heard = hear()
    call(f"{host.url}/prompt", {"prompt": graph, "client_id": "me", "prompt_id": "a"})
    told: list[Any] = []
    while not told or told[-1]["type"] != "progress":
        told.append(heard.frames.get(timeout=5))
    call(f"{host.url}/interrupt", {"prompt_id": "somebody else's"})
    call(f"{host.url}/interrupt", {"prompt_id": "a"})
    told += heard.until_null("a")
    assert [shape(frame) for frame in told] == wanted
    assert host.history["a"]["status"]["messages"][-1][0] == "execution_interrupted"


@pytest.mark.parametrize("flags", [True, False])
def test_previews_come_in_the_form_and_at_the_place_that_was_negotiated(
    host: FakeHost, hear: Hear, flags: bool
) -> None:
    name = "ws_progress_preview_flags" if flags else "ws_progress_preview_noflags"
    transcript = recorded(name)
    wanted = ["bin" if "bin_len" in f else f["text"]["type"] for f in transcript["frames"][:-1]]
    host.steps, host.preview = 2, 100
    heard = hear("me", flags)
    if flags:
        time.sleep(0.1)
    frames = heard.run(host, transcript["prompt"])
    assert ["bin" if isinstance(f, bytes) else f["type"] for f in frames] == wanted
    kinds = {frame[:4] for frame in frames if isinstance(frame, bytes)}
    assert kinds == {b"\0\0\0\4" if flags else b"\0\0\0\1"}


@pytest.mark.parametrize(
    "label",
    [
        "bad json",
        "empty body",
        "json list body",
        "json null body",
        "no prompt field",
        "prompt empty",
        "prompt null",
        "prompt is a list",
        "missing node class",
        "node without class_type",
        "missing required input",
        "no outputs",
    ],
)
def test_a_bad_post_is_answered_as_comfyui_answers_it(host: FakeHost, label: str) -> None:
    host.validating = True
    entries: Any = recorded("http_prompt_errors")
    entry = next(entry for entry in entries if entry["label"] == label)
    asked = entry["request"]
    body = asked["data"].encode() if asked["data"] is not None else asked["json"]
    status, answer = call(f"{host.url}/prompt", body)
    assert status == entry["status"]
    if "json" not in entry:
        assert answer.decode() == entry["text"]
        return
    said = json.loads(answer)
    assert said["error"] == entry["json"]["error"]
    assert {
        node: [(error["type"], error["details"]) for error in found["errors"]]
        for node, found in said["node_errors"].items()
    } == {
        node: [(error["type"], error["details"]) for error in found["errors"]]
        for node, found in entry["json"]["node_errors"].items()
    }


def test_one_bad_output_of_two_is_a_200_with_node_errors(host: FakeHost) -> None:
    host.validating = True
    entries: Any = recorded("http_prompt_errors")
    entry = next(e for e in entries if "two outputs, one bad" in e["label"])
    status, answer = call(f"{host.url}/prompt", entry["request"]["json"])
    assert (status, sorted(json.loads(answer)["node_errors"])) == (
        entry["status"],
        sorted(entry["json"]["node_errors"]),
    )


def test_the_end_of_an_old_socket_makes_a_new_one_of_the_same_id_deaf(
    host: FakeHost, hear: Hear, eventually: Eventually
) -> None:
    old, new = hear(), hear()
    eventually(lambda: new.frames.qsize() == 1)
    old.close()
    eventually(lambda: not host.sockets)
    call(f"{host.url}/prompt", {"prompt": recorded("ws_normal_saveimage")["prompt"]})
    eventually(lambda: host.rendered)
    assert new.frames.qsize() == 1, "only the greeting"


def test_a_client_that_does_not_read_stops_the_others_messages_and_not_the_jobs(
    host: FakeHost, hear: Hear, eventually: Eventually
) -> None:
    host.send_buffer, host.preview, host.steps = 4096, 4_000_000, 4
    small = ((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),)
    staller = hear("staller", reads=False, sockopt=small)
    other = hear()
    graph = recorded("ws_progress_preview_flags")["prompt"]
    call(f"{host.url}/prompt", {"prompt": graph, "client_id": "staller", "prompt_id": "a"})
    eventually(lambda: host.rendered == ["a"])
    plain = recorded("ws_normal_saveimage")["prompt"]
    call(f"{host.url}/prompt", {"prompt": plain, "client_id": "me", "prompt_id": "b"})
    eventually(lambda: host.rendered == ["a", "b"])
    time.sleep(0.2)
    waiting = [other.frames.get_nowait() for _ in range(other.frames.qsize())]
    assert {frame["type"] for frame in waiting} <= {"status"}
    staller.socket.shutdown()
    assert other.until_null("b")


def test_history_may_be_written_well_after_success_is_told(host: FakeHost, hear: Hear) -> None:
    host.faults.history_late = 0.3
    heard = hear()
    graph = recorded("ws_normal_saveimage")["prompt"]
    call(f"{host.url}/prompt", {"prompt": graph, "client_id": "me", "prompt_id": "a"})
    while heard.frames.get(timeout=5)["type"] != "execution_success":
        continue
    assert call(f"{host.url}/history/a") == (200, b"{}")
    heard.until_null("a")
    assert b"lab_00001_.png" in call(f"{host.url}/history/a")[1]


def test_a_restart_loses_queue_history_and_numbers_and_keeps_files(
    host: FakeHost, hear: Hear
) -> None:
    graph = recorded("ws_normal_saveimage")["prompt"]
    heard = hear()
    heard.run(host, graph, "a")
    host.forget()
    answer = json.loads(call(f"{host.url}/prompt", {"prompt": graph, "prompt_id": "b"})[1])
    assert answer["number"] == 0
    assert call(f"{host.url}/history/a") == (200, b"{}")
    assert call(f"{host.url}/view?filename=lab_00001_.png")[0] == 200


def test_the_same_number_and_id_twice_is_a_500_that_is_queued_all_the_same(
    host: FakeHost,
) -> None:
    host.paused = True
    graph = recorded("ws_normal_saveimage")["prompt"]
    post = {"prompt": graph, "prompt_id": "tie", "number": 5}
    assert [call(f"{host.url}/prompt", post)[0] for _ in range(2)] == [200, 500]
    assert host.pending == ["tie", "tie"]


def test_the_same_bytes_uploaded_twice_are_one_file_and_others_get_a_name_of_their_own(
    host: FakeHost,
) -> None:
    def upload(content: bytes) -> Any:
        head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="p.png"\r\n\r\n'
        request = urllib.request.Request(f"{host.url}/upload/image", head + content + b"\r\n--x--")
        request.add_header("Content-Type", "multipart/form-data; boundary=x")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())["name"]

    assert [upload(content) for content in (b"1", b"1", b"2")] == ["p.png", "p.png", "p (1).png"]


def test_a_body_above_the_limit_is_a_413(host: FakeHost) -> None:
    host.max_body = 1000
    assert call(f"{host.url}/prompt", b"x" * 2000)[0] == 413


def test_a_windows_host_lists_names_with_backslashes(host: FakeHost) -> None:
    host.catalogue.windows = True
    host.catalogue.models["unet"] = ["flux/x.gguf"]
    info = json.loads(call(f"{host.url}/object_info/UnetLoaderGGUF")[1])
    assert info["UnetLoaderGGUF"]["input"]["required"]["unet_name"] == [["flux\\x.gguf"]]


def test_a_picture_tells_prompt_and_seed_apart() -> None:
    assert pixels_of(picture("a", 1)) == pixels("a", 1)
    others = {pixels("a", 1), pixels("a", 2), pixels("b", 1), pixels("a", 1, 1)}
    assert len(others) == 4


def test_a_switch_of_another_name_is_refused(host: FakeHost) -> None:
    assert call(f"{host.url}/fault/set", {"deff": True})[0] == 400
    assert call(f"{host.url}/fault/set", {"deaf": True, "step_time": 0.5})[0] == 200
    assert (host.faults.deaf, host.step_time) == (True, 0.5)
