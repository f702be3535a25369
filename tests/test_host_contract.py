"""The host's HTTP API, held against whole recorded sessions of a real ComfyUI 0.3.64.

Each request of a transcript is sent again, in its order, and its answer compared. Where this host
means to be different, the difference stands here in a table, with its reason.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host_kit import TRANSCRIPTS, Answer, LocalHost, alike, form, serving, transcript

BETTER = {500: 400}
"""A bad request is the client's fault; ComfyUI says that it is in trouble itself."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    with serving(tmp_path_factory.mktemp("host")) as running:
        yield running


def test_every_transcript_is_replayed_against_this_host() -> None:
    tests = Path(__file__).parent.glob("test_host_*.py")
    named = set(re.findall(r'"(\w+)"', "".join(map(Path.read_text, tests))))
    recorded = {path.stem for path in TRANSCRIPTS.glob("*.json")}
    assert len(recorded) >= 40
    assert recorded - named == set()


# --- GET ---

NOT_HERE = {
    "/internal/logs": "the director keeps the log",
    "/internal/logs/raw": "the director keeps the log",
    "/internal/folder_paths": "no path of this machine is told",
    "/internal/files/output": "for the frontend",
    "/internal/files/nosuch": "for the frontend",
    "/experiment/models": "no path of this machine is told",
    "/experiment/models/loras": "for the frontend",
}
NEWER = {"/api/jobs": "as ComfyUI 0.38 has it, see test_host_jobs"}
OWN_BODY = {
    "/system_stats": "the machine's",
    "/api/system_stats": "the machine's",
    "/extensions": "a frontend's",
    "/models": "fewer kinds",
    "/object_info": "fewer nodes",
    "/api/object_info": "fewer nodes",
}
WHOLE_NODES = ("EmptyImage", "UnetLoaderGGUF", "SaveImage", "SaveImageWebsocket", "NoSuchNode")
"""What other loaders and samplers offer depends on what this host can load; these are the same."""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    """A host that has done nothing yet, as the recorded one."""
    with serving(tmp_path_factory.mktemp("fresh")) as running:
        yield running


@pytest.mark.parametrize(
    "entry",
    transcript("http_get"),
    ids=lambda one: f"{one['request']['method']} {one['request']['path']}",
)
def test_a_get_is_answered_as_recorded(fresh: LocalHost, entry: dict[str, Any]) -> None:
    method, path = entry["request"]["method"], entry["request"]["path"]
    answer = fresh.request(method, path)
    if path in NEWER:
        assert answer.status == 200
        return
    assert answer.status == (404 if path in NOT_HERE else entry["status"])
    is_node = path.startswith("/object_info/")
    own = path in (*NOT_HERE, *OWN_BODY) or (is_node and not path.endswith(WHOLE_NODES))
    if "json" in entry and not own:
        assert answer.json == entry["json"]


# --- queue, interrupt, history ---


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a recorded value with our ids in place of theirs."""
    text = json.dumps(value)
    for theirs, mine in names.items():
        text = text.replace(theirs, mine)
    return json.loads(text)


def test_a_whole_session_of_queue_interrupt_and_history_goes_as_recorded(tmp_path: Path) -> None:
    names: dict[str, str] = {}
    with serving(tmp_path) as fresh:
        for entry in transcript("http_queue_interrupt_history"):
            sent = entry["request"]
            path, body = renamed(sent["path"], names), renamed(sent["json"], names)
            expected = renamed(entry.get("json"), names)
            if path.startswith("/history/") and expected:
                fresh.history(path.rpartition("/")[2])
            data = sent["data"].encode() if sent["data"] else None
            answer = fresh.request(sent["method"], path, body, data=data)
            assert answer.status == BETTER.get(entry["status"], entry["status"]), entry["label"]
            if sent["path"] == "/prompt" and sent["method"] == "POST":
                names[entry["json"]["prompt_id"]] = answer.json["prompt_id"]
            elif expected is not None:
                assert told(path, answer.json) == told(path, expected), entry["label"]


def told(path: str, body: Any) -> Any:
    """Return what a client acts on: ids of jobs, ends, outputs, and the kinds of messages."""
    if path == "/queue":
        return {name: sorted(job[1] for job in jobs) for name, jobs in body.items()}
    if not path.startswith("/history/"):
        return body
    return {name: summary(entry) for name, entry in body.items()}


def summary(entry: dict[str, Any]) -> dict[str, Any]:
    status = dict(entry["status"])
    name, data = status["messages"][-1]
    wanted = ("node_id", "node_type", "executed", "exception_type")
    last = (name, {key: data[key] for key in wanted if key in data})
    if "exception_type" in data:  # torch.OutOfMemoryError there, the laboratory's own here
        last[1]["exception_type"] = data["exception_type"].rpartition(".")[2]
    kinds = [kind for kind, _ in status.pop("messages")]
    outputs = alike(entry["outputs"])
    return {"status": status, "last": last, "kinds": kinds, "outputs": outputs, "of": entry["meta"]}


# --- odds and ends ---


def misc(label: str) -> Any:
    return next(entry for entry in transcript("http_misc") if entry["label"] == label)


def test_a_second_job_of_a_pending_id_is_refused_instead_of_half_taken(tmp_path: Path) -> None:
    with serving(tmp_path) as fresh:
        for label, status in (
            ("slow", 200),
            ("number 5 a", 200),
            ("number 5, SAME prompt_id while pending", 400),  # 500 there, and it runs
            ("same prompt_id pending, other number", 400),  # 200 there: two of one name
        ):
            sent = misc(label)["request"]["json"]
            assert fresh.post("/prompt", sent).status == status, label
        assert len(fresh.get("/queue").json["queue_pending"]) == 1
        fresh.post("/queue", misc("delete tie: how many go?")["request"]["json"])
        assert fresh.get("/queue").json["queue_pending"] == []
        assert fresh.request("POST", "/interrupt").status == 200


@pytest.mark.parametrize("path", ["/settings", "/userdata/workflows%2Fx.json?overwrite=true"])
def test_there_is_no_store_for_a_frontend(host: LocalHost, path: str) -> None:
    recorded = {one["request"]["path"]: one["status"] for one in transcript("http_misc")}
    assert recorded[path] == 200
    assert host.post(path, {"a.b": 1}).status == 405


# --- uploads ---

FILE = {"image": ("vt.png", b"one")}
UPLOADS: dict[str, tuple[dict[str, tuple[str, bytes]], dict[str, str]]] = {
    "new": (FILE, {}),
    "same name same bytes (no new file)": (FILE, {}),
    "same name other bytes: (1)": ({"image": ("vt.png", b"two")}, {}),
    "overwrite true": ({"image": ("vt.png", b"three")}, {"overwrite": "true"}),
    "subfolder": (FILE, {"subfolder": "ss/tt"}),
    "type temp": (FILE, {"type": "temp"}),
    "type output": (FILE, {"type": "output"}),
    "type bad": (FILE, {"type": "zzz"}),
    "traversal subfolder": (FILE, {"subfolder": "../.."}),
    "traversal filename": ({"image": ("..%2Fvt2.png", b"x")}, {}),
    "filename with subdir": ({"image": ("q%2Fvt2.png", b"x")}, {}),
    "not an image at all (accepted)": ({"image": ("evil.txt", b"x")}, {}),
    "no image field": ({}, {"subfolder": "x"}),
    "api alias": ({"image": ("vt3.png", b"x")}, {}),
    "mask: no original_ref": (FILE, {}),
}


def upload(
    host: LocalHost, path: str, files: dict[str, tuple[str, bytes]], fields: dict[str, str]
) -> Answer:
    body, kind = form(files, fields)
    return host.request("POST", path, data=body, headers={"Content-Type": kind})


def test_uploads_are_answered_as_recorded(tmp_path: Path) -> None:
    with serving(tmp_path) as fresh:
        for entry in transcript("http_upload"):
            if entry["label"] not in UPLOADS:
                continue
            answer = upload(fresh, entry["request"]["path"], *UPLOADS[entry["label"]])
            assert answer.status == BETTER.get(entry["status"], entry["status"]), entry["label"]
            if "json" in entry:
                assert answer.json == entry["json"], entry["label"]
