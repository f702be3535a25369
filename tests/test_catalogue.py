from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue import Catalogue
from bridge.client import HostClient
from bridge.errors import HostError, HostUnreachable
from tests import comfyui_catalogue, host_kit

OLD = {"input": {"required": {"unet_name": [["flux\\x.gguf", "y.gguf"], {"tooltip": "t"}]}}}
NEW = {"input": {"optional": {"mode": ["COMBO", {"options": ["a", "b"]}]}}, "output": ["MODEL"]}


def test_both_ways_of_writing_a_combo_come_out_alike() -> None:
    read = Catalogue.read({"Old": OLD, "New": NEW})
    assert read.choices("Old", "unet_name") == ("flux\\x.gguf", "y.gguf")
    assert read.choices("New", "mode") == ("a", "b")


def test_a_combo_that_is_not_there_is_none_and_an_empty_one_is_not() -> None:
    empty = {"input": {"required": {"lora_name": [[]], "text": ["STRING", {}]}}}
    read = Catalogue.read({"Lora": empty})
    assert read.choices("Lora", "lora_name") == ()
    assert read.choices("Lora", "text") is None
    assert read.choices("Lora", "nothing") is None
    assert read.choices("Nothing", "lora_name") is None


def test_a_name_is_handed_back_in_the_hosts_own_spelling() -> None:
    read = Catalogue.read({"Old": OLD})
    assert read.spelled("Old", "unet_name", "flux/x.gguf") == "flux\\x.gguf"
    assert read.spelled("Old", "unet_name", "flux\\x.gguf") == "flux\\x.gguf"
    assert read.spelled("Old", "unet_name", "x.gguf") is None
    assert read.spelled("Nothing", "unet_name", "x.gguf") is None


def test_of_two_spellings_that_a_host_has_the_exact_one_wins() -> None:
    both = {"input": {"required": {"f": [["a\\b", "a/b"]]}}}
    assert Catalogue.read({"N": both}).spelled("N", "f", "a/b") == "a/b"


def test_odd_entries_are_left_out_and_the_rest_stays() -> None:
    info: dict[str, Any] = {
        "Null": None,
        "List": [],
        "Text input": {"input": "x"},
        "Group": {"input": {"required": ["x"], "optional": {"a": ["INT"], "b": [], "c": 5}}},
        "Old": {**OLD, "brand_new_key": {"x": 1}, "output_node": True},
    }
    read = Catalogue.read(info)
    assert read.class_types == ("Group", "Old")
    assert [item.name for item in read.inputs("Group")] == ["a"]
    assert read.is_output("Old")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=12,
    )
)
def test_no_entry_whatever_it_is_spoils_the_others(entry: Any) -> None:
    read = Catalogue.read(
        {"Odd": entry, "Old": OLD, "Input": {"input": {"required": {"x": entry}}}}
    )
    assert read.choices("Old", "unet_name") is not None


def test_a_real_comfyuis_answer_is_read_whole() -> None:
    info = comfyui_catalogue.object_info()
    read = Catalogue.read(info)
    assert set(read.class_types) == set(info)
    for name, node in info.items():
        declared = [*node["input"].get("required", {}), *node["input"].get("optional", {})]
        assert [item.name for item in read.inputs(name)] == declared
    assert "euler" in (read.choices("KSampler", "sampler_name") or ())
    assert read.choices("StringContains", "case_sensitive") is None
    seed = read.node("KSampler")
    assert seed is not None
    assert {item.name: item.maximum for item in seed.inputs}["seed"] == 2**64 - 1
    assert read.is_output("SaveImage")
    assert not read.is_output("KSampler")
    assert [item.name for item in read.inputs("LoadImage") if item.uploads] == ["image"]


# --- over HTTP ---


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[host_kit.LocalHost, Path]]:
    root = tmp_path_factory.mktemp("host")
    with host_kit.serving(root) as running:
        yield running, root


Host = tuple[host_kit.LocalHost, Path]


def test_a_host_is_asked_for_all_it_offers_at_once(host: Host) -> None:
    with HostClient(host[0].url, "c") as client:
        read = client.object_info()
        assert set(host_kit.TABLE) == set(read.class_types)
        assert read.choices("KSampler", "sampler_name") == client.choices(
            "KSampler", "sampler_name"
        )


def test_an_uploaded_picture_gets_the_name_for_load_image(host: Host) -> None:
    with HostClient(host[0].url, "c") as client:
        assert client.upload("pose.png", b"one") == "pose.png"
        assert client.upload("pose.png", b"one") == "pose.png"
        assert client.upload("pose.png", b"one", "vulcan/in") == "vulcan/in/pose.png"
    assert (host[1] / "input" / "vulcan" / "in" / "pose.png").read_bytes() == b"one"


def test_an_upload_never_replaces_another_picture_of_that_name(host: Host) -> None:
    with HostClient(host[0].url, "c") as client:
        first, second = client.upload("same.png", b"1"), client.upload("same.png", b"2")
    assert first != second
    assert (host[1] / "input" / first).read_bytes() == b"1"
    assert (host[1] / "input" / second).read_bytes() == b"2"


def test_memory_is_freed_as_often_as_asked(host: Host) -> None:

    with HostClient(host[0].url, "c") as client:
        client.free()
        client.free()
        client.free(unload_models=False)
    host_kit.wait_for(lambda: any(wish.unload_models for wish in host[0].wishes))
    assert all(wish.free_memory for wish in host[0].wishes)


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Accept-Encoding"] == "identity"  # a loopback needs no gzip
            self.answer()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer()

        def answer(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b"hello"])
def test_an_answer_that_is_no_catalogue_is_an_error_of_the_host(body: bytes) -> None:
    with (
        answering(200, body, {}) as url,
        HostClient(url, "c") as client,
        pytest.raises(HostError, match="not ComfyUI's answer"),
    ):
        client.object_info()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"{}", "has no name"),
        (200, b'{"name": 5}', "has no name"),
        (413, b"too large", "max-upload-size"),
        (500, b"", "answered 500"),
    ],
)
def test_an_upload_that_failed_is_never_taken_for_one_that_worked(
    status: int, body: bytes, says: str
) -> None:
    with (
        answering(status, body, {}) as url,
        HostClient(url, "c") as client,
        pytest.raises(HostError, match=says),
    ):
        client.upload("a.png", b"x")


def test_an_upload_to_nobody_says_that_nobody_answers() -> None:
    with HostClient("http://127.0.0.1:1", "c") as client, pytest.raises(HostUnreachable):
        client.upload("a.png", b"x")
