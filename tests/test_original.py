import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import original, png_text, record
from core.a1111 import Place
from core.provenance import Hashes, Provenance
from core.record import RecordError
from tests.fake_host import png
from tests.sample_request import REQUEST

TEXT = record.write(REQUEST, Provenance(Hashes("aa"), "bb", "ComfyUI 1"), Place())


def put(path: Path, **texts: str) -> Path:
    path.write_bytes(png_text.with_texts(png(1), texts))
    return path


def test_a_picture_tells_its_own_record(tmp_path: Path) -> None:
    read = original.load(put(tmp_path / "a.png", vulcan=TEXT))
    assert read.record.request == REQUEST
    assert png_text.is_whole(read.content)


def test_other_kinds_have_theirs_beside_them(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(b"RIFF....WEBP")
    (tmp_path / "a.json").write_text(json.dumps({"vulcan": json.loads(TEXT), "prompt": {}}))
    assert original.load(tmp_path / "a.webp").record.request == REQUEST


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"prompt": "{}"}, "Drag it into ComfyUI"),
        ({"workflow": "{}"}, "Drag it into ComfyUI"),
        ({"parameters": "a fox\nSteps: 20"}, "it says: a fox Steps: 20"),
        ({"Title": "x"}, "not Vulcan's"),
        ({"vulcan": "{}"}, "damaged"),
        ({"vulcan": '{"version": 99, "request": {}}'}, "update Vulcan"),
    ],
)
def test_a_picture_without_a_usable_record_says_what_is_missing(
    tmp_path: Path, texts: dict[str, str], says: str
) -> None:
    path = put(tmp_path / "a.png", **texts)
    with pytest.raises(RecordError, match=says) as caught:
        original.load(path)
    assert str(path) in str(caught.value)


def test_what_is_no_picture_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = {
        "missing.png": None,
        "text.txt": b"hello",
        "cut.png": png(1)[:-5],
        "beside.mp4": b"....ftyp",
        "list.mp4": b"....ftyp",
    }
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    (tmp_path / "beside.json").write_text("[" * 100_000)
    (tmp_path / "list.json").write_text("[]")
    for path in [tmp_path, *(tmp_path / name for name in cases)]:
        with pytest.raises(RecordError):
            original.load(path)
    monkeypatch.setattr(original, "MAX_BYTES", 10)
    with pytest.raises(RecordError, match="no picture of Vulcan's"):
        original.load(put(tmp_path / "huge.png", vulcan=TEXT))


@settings(max_examples=200)
@given(place=st.integers(min_value=0), value=st.integers(0, 255), cut=st.integers(min_value=0))
def test_a_damaged_picture_is_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, cut: int
) -> None:
    content = bytearray(png_text.with_texts(png(1), {"vulcan": TEXT}))
    content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(content[: cut % (len(content) + 1)] if cut % 2 else content)
    with suppress(RecordError):
        assert original.load(path).record.request == REQUEST
