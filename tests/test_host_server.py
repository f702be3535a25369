"""The host's HTTP API, replayed against answers recorded from a real ComfyUI."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.__main__ import configure
from host.hub import MAX_UPLOAD
from tests.host_kit import LocalHost, alike, saved, serving, slow, transcript, wait_for


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    with serving(tmp_path_factory.mktemp("host")) as running:
        yield running


# --- replay: HTTP ---

BAD_BODIES = {"bad json", "empty body", "json null body", "prompt null", "prompt is a list"}
BAD_BODIES |= {"number not a number"}
"""ComfyUI answers 500 in plain text; here it is 400 with a reason."""


@pytest.mark.parametrize("label", sorted(BAD_BODIES))
def test_a_bad_body_is_400_with_a_reason(host: LocalHost, label: str) -> None:
    (entry,) = [one for one in transcript("http_prompt_errors") if one["label"] == label]
    sent = entry["request"]
    data = sent["data"].encode() if sent["data"] is not None else None
    answer = host.request("POST", "/prompt", sent["json"], data=data)
    assert answer.status == 400
    assert answer.json["error"]["message"]
    assert answer.json["node_errors"] == {}


@pytest.mark.parametrize("body", [b"\xff", b'{"prompt": NaN}', b'{"x": 1e999}', b"[" * 100_000])
def test_json_that_could_not_be_sent_back_is_refused(host: LocalHost, body: bytes) -> None:
    assert host.request("POST", "/prompt", data=body).status == 400


@pytest.mark.parametrize("path", ["/queue", "/history", "/free", "/interrupt"])
def test_every_route_with_a_body_refuses_bad_json(host: LocalHost, path: str) -> None:
    assert host.request("POST", path, data=b"x").status == 400
    assert host.post(path, []).status == 400


def test_prompts_are_accepted_as_recorded(host: LocalHost) -> None:
    for entry in transcript("http_prompt_ok"):
        sent = entry["request"]
        if sent["method"] != "POST":
            continue
        answer = host.post(sent["path"], sent["json"])
        assert answer.status == entry["status"], entry["label"]
        for key in ("prompt_id", "number"):
            if key in sent["json"]:
                assert answer.json[key] == entry["json"][key], entry["label"]
        host.history(answer.json["prompt_id"])


def test_history_reads_as_recorded(host: LocalHost) -> None:
    entries = {entry["label"]: entry for entry in transcript("http_prompt_ok")}
    recorded = entries["history success (client prompt_id, extra_data)"]["json"]
    (prompt_id,) = recorded
    sent = entries["ok client prompt_id"]["request"]["json"]
    host.post("/history", {"delete": [prompt_id]})
    host.submit(sent["prompt"], **{key: one for key, one in sent.items() if key != "prompt"})
    mine = host.history(prompt_id)
    assert mine["prompt"][3].pop("create_time") > 0  # newer ComfyUI's, for /api/jobs
    assert mine["prompt"][3] == {**sent["extra_data"], "client_id": sent["client_id"]}
    theirs = recorded[prompt_id]
    for part in ("outputs", "meta", "status"):
        expected = alike(theirs[part])
        if part == "status":
            names = [name for name, _ in expected["messages"]]
            assert [name for name, _ in mine["status"].pop("messages")] == names
            del expected["messages"]
        assert alike(mine[part]) == expected


def test_an_id_with_slashes_and_umlauts_has_a_history(host: LocalHost) -> None:
    prompt_id = host.submit(saved(), prompt_id="vulcan:job/7 ü")
    wait_for(lambda: host.get("/history/vulcan%3Ajob%2F7%20%C3%BC").json)
    assert prompt_id in host.get("/history/vulcan%3Ajob%2F7%20%C3%BC").json


VIEW = [entry for entry in transcript("http_view") if entry["request"]["path"].startswith("/view")]


@pytest.mark.parametrize("entry", VIEW, ids=lambda entry: str(entry["label"]))
def test_view_answers_as_recorded(host: LocalHost, entry: dict[str, Any]) -> None:
    host.history(host.submit(saved(10304628, "viewtest/sub/x")))
    request = entry["request"]
    path = request["path"].replace(" ", "%20")
    answer = host.request(request["method"], path, headers=request["headers"])
    assert answer.status == entry["status"]
    for name in ("Content-Type", "Content-Disposition"):
        if entry["status"] in (200, 206):
            assert answer.headers[name] == entry["headers"][name]
    if "hex" in entry:
        assert answer.body.hex()[:16] == entry["hex"][:16]
    if entry["label"] == "Range":
        assert answer.headers["Content-Range"].startswith("bytes 0-9/")
        assert len(answer.body) == 10


def test_view_does_not_follow_a_name_out_of_its_folder(host: LocalHost) -> None:
    secret = host.parts.folders.output.parent / "secret.png"
    secret.write_bytes(b"x")
    for query in (
        "filename=secret.png&subfolder=..",
        "filename=..%2Fsecret.png",
        f"filename=secret.png&subfolder={secret.parent}",
        "filename=secret.png&subfolder=sub%2F..%2F..",
        "filename=secret.png%00&subfolder=..",
        f"filename={'x' * 5000}",
    ):
        assert host.get(f"/view?{query}").status in (400, 403, 404)


def test_view_of_something_that_is_no_picture(host: LocalHost) -> None:
    host.parts.folders.output.mkdir(parents=True, exist_ok=True)
    (host.parts.folders.output / "page.html").write_text("<script>")
    answer = host.get("/view?filename=page.html")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert host.get("/view?filename=page.html&preview=webp").status == 400


def test_a_chunked_body_over_the_limit_is_413_and_nothing_else(tmp_path: Path) -> None:
    with serving(tmp_path, limit=1000) as small:
        port = int(small.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            head = "POST /prompt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            raw.sendall(head.encode() + b"800\r\n" + b"x" * 2048 + b"\r\n0\r\n\r\n")
            assert raw.makefile("rb").readline() == b"HTTP/1.1 413 Request Entity Too Large\r\n"


def test_an_idle_connection_outlasts_the_clients_that_keep_one(host: LocalHost) -> None:
    assert configure(host.parts).timeout_keep_alive == 75  # httpx gives up after 5, aiohttp 15


def test_a_body_over_the_limit_is_413_before_it_is_read(host: LocalHost) -> None:
    port = int(host.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        size = MAX_UPLOAD + 1
        head = f"POST /prompt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}"
        raw.sendall(f"{head}\r\n\r\n".encode())
        answer = raw.makefile("rb").read(400).decode()
    assert "413" in answer.splitlines()[0]
    assert f"Maximum request body size {MAX_UPLOAD} exceeded." in answer


STRICTER = ("rebinding Host", "sec-fetch-site cross-site")
"""What ComfyUI 0.3.64 let pass, and no longer can (see host.origin)."""


@pytest.mark.parametrize(
    "entry", transcript("http_origin_cors"), ids=lambda entry: str(entry["label"])
)
def test_foreign_pages_are_refused_as_recorded(host: LocalHost, entry: dict[str, Any]) -> None:
    request = entry["request"]
    own = host.url.removeprefix("http://")
    headers = {
        name: value.replace("127.0.0.1:8190", own).replace(":8190", ":" + own.split(":")[1])
        for name, value in (request["headers"] or {}).items()
    }
    data = b"{}" if request["method"] == "POST" else None
    answer = host.request(request["method"], request["path"], headers=headers, data=data)
    assert answer.status == (403 if entry["label"].startswith(STRICTER) else entry["status"])


def test_a_foreign_page_gets_no_socket(host: LocalHost) -> None:
    import websocket

    url = host.url.replace("http", "ws") + "/ws"
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(url, timeout=5, origin="http://evil.example")


GET = {
    "/": 200,
    "/prompt": 200,
    "/features": 200,
    "/embeddings": 200,
    "/extensions": 200,
    "/models": 200,
    "/models/unet_gguf": 200,
    "/models/nosuch": 404,
    "/object_info/NoSuchNode": 200,
    "/interrupt": 404,
    "/free": 404,
    "/nosuch": 404,
    "/history?max_items=abc": 400,
    "/view_metadata/loras?filename=x.safetensors": 404,
}


@pytest.mark.parametrize("path", GET)
def test_gets_have_their_status_under_both_prefixes(host: LocalHost, path: str) -> None:
    assert host.get(path).status == GET[path]
    if path != "/":
        assert host.get(f"/api{path}").status == GET[path]


def test_methods_that_no_route_has(host: LocalHost) -> None:
    assert host.request("PUT", "/prompt").status == 405
    assert host.post("/api/etn/translate", {}).status == 405
    assert host.request("OPTIONS", "/anything").status == 200
    assert host.request("HEAD", "/prompt").status == 200


def test_object_info_is_the_recorded_one_where_the_node_is_whole(host: LocalHost) -> None:
    everything = host.get("/object_info").json
    assert everything["KSampler"] == host.get("/object_info/KSampler").json["KSampler"]
    for name in ("EmptyImage", "UnetLoaderGGUF", "SaveImageWebsocket"):
        assert everything[name]["name"] == name
    assert everything["EmptyImage"] == {
        "input": {
            "required": {
                "width": ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}],
                "height": ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}],
                "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
                "color": [
                    "INT",
                    {"default": 0, "min": 0, "max": 16777215, "step": 1, "display": "color"},
                ],
            }
        },
        "input_order": {"required": ["width", "height", "batch_size", "color"]},
        "output": ["IMAGE"],
        "output_is_list": [False],
        "output_name": ["IMAGE"],
        "name": "EmptyImage",
        "display_name": "EmptyImage",
        "description": "",
        "python_module": "nodes",
        "category": "image",
        "output_node": False,
    }
    assert everything["UnetLoaderGGUF"]["input"]["required"]["unet_name"] == [[]]


def test_system_stats_look_like_comfyui_and_tell_the_embedded_host(host: LocalHost) -> None:
    stats = host.get("/system_stats").json
    assert stats["system"]["os"] == "posix"
    assert stats["system"]["ram_total"] > stats["system"]["ram_free"] > 0
    assert stats["system"]["comfyui_version"].count(".") == 2
    assert stats["system"]["embedded_host"] == "vulcan"
    assert stats["devices"][0]["type"] in ("cpu", "cuda")


# --- queue, interrupt, history ---


def test_priorities_and_deleting_as_recorded(host: LocalHost) -> None:
    running = host.submit(slow(1.0, 20))
    wait_for(lambda: host.get("/queue").json["queue_running"])
    first = host.submit(saved(2), extra_data={"n": 0})
    second = host.submit(saved(3), extra_data={"n": 1})
    front = host.submit(saved(4), front=True)
    early = host.submit(saved(5), number=-10000)
    queue = host.get("/queue").json
    assert [job[1] for job in queue["queue_running"]] == [running]
    assert [job[1] for job in queue["queue_pending"]] == [early, front, first, second]
    assert queue["queue_pending"][2][3]["n"] == 0
    assert queue["queue_pending"][2][4] == ["9"]
    assert host.get("/prompt").json == {"exec_info": {"queue_remaining": 5}}
    for unknown in ("nope", running):
        assert host.post("/queue", {"delete": [unknown]}).status == 200
    assert host.get("/prompt").json == {"exec_info": {"queue_remaining": 5}}
    assert host.post("/interrupt", {"prompt_id": first}).body == b""
    assert host.post("/queue", {"delete": [first]}).body == b""
    assert host.post("/queue", {"clear": True}).body == b""
    assert host.get("/prompt").json == {"exec_info": {"queue_remaining": 1}}
    assert host.post("/interrupt", {"prompt_id": running}).status == 200
    status = host.history(running)["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    assert status["messages"][-1][0] == "execution_interrupted"
    assert host.get(f"/history/{first}").json == {}, "a deleted job leaves no trace"


def test_a_duplicate_of_a_live_id_is_refused_and_of_an_ended_one_accepted(host: LocalHost) -> None:
    running = host.submit(slow(0.5, 10), prompt_id="twin")
    answer = host.post("/prompt", {"prompt": saved(), "prompt_id": "twin"})
    assert answer.status == 400
    assert answer.json["error"]["type"] == "duplicate_prompt_id"
    host.history(running)
    assert host.submit(saved(), prompt_id="twin") == "twin"
    wait_for(lambda: len(host.history("twin")["prompt"][2]) == 2)


def test_history_can_be_cut_and_forgotten(host: LocalHost) -> None:
    ids = [host.submit(saved(color)) for color in range(3)]
    for prompt_id in ids:
        host.history(prompt_id)
    assert list(host.get("/history?max_items=2").json) == ids[1:]
    everything = list(host.get("/history").json)
    assert list(host.get("/history?max_items=2&offset=0").json) == everything[:2]
    assert list(host.get("/history?offset=1").json) == everything[1:]
    assert host.get("/history?max_items=0").json == {}
    host.post("/history", {"delete": [ids[0], "nope"]})
    assert host.get(f"/history/{ids[0]}").json == {}
    host.post("/history", {"clear": True})
    assert host.get("/history").json == {}


def test_an_interrupt_while_idle_does_not_reach_the_next_job(host: LocalHost) -> None:
    wait_for(lambda: host.get("/prompt").json["exec_info"]["queue_remaining"] == 0)
    assert host.request("POST", "/interrupt").status == 200
    assert host.history(host.submit(slow(0.1, 2)))["status"]["completed"]


def test_free_is_done_by_the_worker(host: LocalHost) -> None:
    host.post("/free", {"unload_models": True, "free_memory": True})
    wait_for(lambda: host.wishes)
    assert host.wishes[-1].unload_models
    assert host.wishes[-1].free_memory
