"""Uploads: pictures and masks, stored once and never outside."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.host_kit import Answer, LocalHost, form, serving


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    with serving(tmp_path_factory.mktemp("host")) as running:
        yield running


def upload(
    host: LocalHost, name: str, content: bytes, path: str = "/upload/image", **fields: str
) -> Answer:
    body, kind = form({"image": (name, content)}, fields)
    return host.request("POST", path, data=body, headers={"Content-Type": kind})


def test_uploads_are_stored_once_and_never_outside(host: LocalHost) -> None:
    root = host.parts.folders.input
    assert upload(host, "vt.png", b"one").json == {
        "name": "vt.png",
        "subfolder": "",
        "type": "input",
    }
    assert upload(host, "vt.png", b"one").json["name"] == "vt.png"
    assert upload(host, "vt.png", b"two").json["name"] == "vt (1).png"
    assert upload(host, "vt.png", b"three", overwrite="true").json["name"] == "vt.png"
    assert (root / "vt.png").read_bytes() == b"three"
    assert upload(host, "a.png", b"x", subfolder="ss/tt").json["subfolder"] == "ss/tt"
    assert (root / "ss/tt/a.png").read_bytes() == b"x"
    assert upload(host, "a.png", b"x", path="/api/upload/image", type="temp").json["type"] == "temp"
    for bad in (
        {"subfolder": "../.."},
        {"subfolder": "/tmp"},
        {"type": "zzz"},
        {"subfolder": "s" * 300},
    ):
        assert upload(host, "a.png", b"x", **bad).status == 400
    assert upload(host, "../../a.png", b"x").status == 400
    for itself in (".", "x/..", "./."):  # the folder's own name: the next free one is outside
        assert upload(host, itself, b"x").status == 400
    assert not [path for path in root.parent.iterdir() if path.name.startswith("input (")]
    assert upload(host, "", b"x").status == 400
    assert host.post("/upload/image", {"a": 1}).status == 400


def test_a_mask_becomes_the_alpha_of_the_picture_it_was_made_for(host: LocalHost) -> None:
    text = PngInfo()
    text.add_text("prompt", "{}")
    original, mask = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(original, "PNG", pnginfo=text)
    Image.new("RGBA", (4, 4), (0, 0, 0, 99)).save(mask, "PNG")
    upload(host, "face.png", original.getvalue())
    for reference in ({"filename": "face.png", "type": "input"}, {"filename": "face.png [input]"}):
        fields = {"original_ref": json.dumps(reference), "overwrite": "true"}
        answer = upload(host, "masked.png", mask.getvalue(), "/upload/mask", **fields)
        assert answer.json == {"name": "masked.png", "subfolder": "", "type": "input"}
        with Image.open(host.parts.folders.input / "masked.png") as made:
            assert made.getpixel((0, 0)) == (255, 0, 0, 99)
            assert made.info["prompt"] == "{}"


@pytest.mark.parametrize(
    ("reference", "status"),
    [("", 400), ("[]", 400), ('{"filename": "../x"}', 400), ('{"filename": "nosuch.png"}', 404)],
)
def test_a_mask_for_nothing_is_refused(host: LocalHost, reference: str, status: int) -> None:
    assert upload(host, "m.png", b"x", "/upload/mask", original_ref=reference).status == status


def test_uploads_of_one_name_at_one_time_are_all_kept(host: LocalHost) -> None:
    contents = [bytes([number]) * 100 for number in range(12)]
    with ThreadPoolExecutor(len(contents)) as pool:
        answers = list(pool.map(lambda content: upload(host, "race.png", content), contents))
    root = host.parts.folders.input
    assert [(root / answer.json["name"]).read_bytes() for answer in answers] == contents
