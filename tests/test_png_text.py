import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from core import png_text
from core.png_text import PngError


def picture(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    out = io.BytesIO()
    Image.linear_gradient("L").save(out, "PNG", pnginfo=info)
    return out.getvalue()


@given(
    st.dictionaries(
        st.sampled_from(["prompt", "vulcan", "workflow"]), st.text(st.characters(codec="utf-8"))
    )
)
def test_pillow_reads_what_was_written(texts: dict[str, str]) -> None:
    written = png_text.with_texts(picture(), texts)
    read = Image.open(io.BytesIO(written))
    read.load()
    assert read.text == texts  # type: ignore[attr-defined] # only a PNG has it
    assert read.tobytes() == Image.linear_gradient("L").tobytes()
    assert png_text.texts(written) == texts


def test_a_text_is_replaced_and_the_others_stay() -> None:
    written = png_text.with_texts(picture(prompt="old", other="kept"), {"prompt": "new"})
    assert png_text.texts(written) == {"prompt": "new", "other": "kept"}


def test_writing_twice_is_writing_once() -> None:
    once = png_text.with_texts(picture(), {"a": "x"})
    assert png_text.with_texts(once, {"a": "x"}) == once


@given(st.integers(min_value=0))
def test_a_cut_or_damaged_picture_is_not_whole(place: int) -> None:
    whole = png_text.with_texts(picture(), {"a": "x"})
    assert png_text.is_whole(whole)
    place %= len(whole)
    assert not png_text.is_whole(whole[:place])
    damaged = bytearray(whole)
    damaged[place] ^= 1
    assert not png_text.is_whole(bytes(damaged))


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(PngError):
        png_text.with_texts(content, {})


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*added: bytes) -> bytes:
    """A picture with these chunks right behind its header (8 + 25 bytes)."""
    whole = picture()
    return whole[:33] + b"".join(added) + whole[33:]


def frontend_texts(png: bytes) -> dict[str, str]:
    """What ComfyUI's editor reads when a picture is dragged into it (getFromPngBuffer, 1.27)."""
    found: dict[str, str] = {}
    for kind, data in png_text.chunks(png):
        if kind in (b"tEXt", b"comf", b"iTXt"):
            key, _, text = data.partition(b"\0")
            found[key.decode("latin-1")] = text.decode("utf-8")
    return found


def test_comfyui_reads_json_that_was_written_whatever_is_in_it() -> None:
    graph = {"1": {"class_type": "X", "inputs": {"text": "é \u4e2d \U0001f98a \x00"}}}
    written = png_text.with_texts(picture(), {"prompt": json.dumps(graph)})
    assert json.loads(frontend_texts(written)["prompt"]) == graph


def test_what_must_be_international_is_and_half_surrogates_do_not_stop_it() -> None:
    written = png_text.with_texts(picture(), {"x": "plain", "y": "a\ud800"}, international=("x",))
    kinds = {data.split(b"\0")[0]: kind for kind, data in png_text.chunks(written)}
    assert kinds[b"x"] == b"iTXt"
    assert png_text.texts(written) == {"x": "plain", "y": "a?"}


def test_packed_texts_are_read() -> None:
    text = "prompt é".encode()
    png = with_chunks(
        chunk(b"zTXt", b"a\0\0" + zlib.compress("é".encode("latin-1"))),
        chunk(b"iTXt", b"b\0\1\0de\0\0" + zlib.compress(text)),
    )
    assert png_text.texts(png) == {"a": "é", "b": "prompt é"}


def test_a_packed_bomb_is_refused_before_it_unpacks() -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)
    with pytest.raises(PngError, match="unpack"):
        png_text.texts(with_chunks(chunk(b"zTXt", b"a\0\0" + bomb)))
    third = zlib.compress(bytes(png_text.MAX_TEXT // 3), 9)
    many = [chunk(b"iTXt", b"%d\0\1\0\0\0" % n + third) for n in range(4)]
    with pytest.raises(PngError, match="unpack"):
        png_text.texts(with_chunks(*many))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"iTXt", b"a\0\1\0\0\0no deflate"),
        (b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b"x" * 99)[:-6]),
        (b"iTXt", b"a\0\0\0only one field\0"),
        (b"iTXt", b"no end of keyword"),
        (b"zTXt", b"a"),
        (b"tEXt", b"a"),
    ],
)
def test_a_text_that_does_not_unpack_is_left_out(kind: bytes, data: bytes) -> None:
    assert png_text.texts(with_chunks(chunk(kind, data), chunk(b"tEXt", b"b\0x"))) == {"b": "x"}


@given(st.binary(max_size=60), st.sampled_from(png_text.TEXT_KINDS))
def test_no_text_chunk_breaks_the_reader_or_the_writer(data: bytes, kind: bytes) -> None:
    png = with_chunks(chunk(kind, data))
    png_text.texts(png)
    assert png_text.texts(png_text.with_texts(png, {"vulcan": "x"}))["vulcan"] == "x"


@given(length=st.integers(0, 2**32 - 1), rest=st.binary(max_size=40))
def test_absurd_lengths_are_a_cut_file(length: int, rest: bytes) -> None:
    png = png_text.SIGNATURE + struct.pack(">I", length) + b"tEXt" + rest
    with pytest.raises(PngError):
        png_text.texts(png)


def test_a_file_without_a_picture_is_refused() -> None:
    empty = png_text.SIGNATURE + chunk(b"IEND", b"")
    with pytest.raises(PngError, match="no picture"):
        png_text.with_texts(empty, {"a": "x"})


def deep_picture() -> Image.Image:
    image = Image.new("I;16", (40, 30))
    image.putdata([value * 50 for value in range(1200)])
    return image


def interlaced() -> bytes:
    """An Adam7 file, which Pillow reads but does not write: 1 x 1, so one pass with one pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1)
    pixel = zlib.compress(b"\0\x10\x20\x30")
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixel), chunk(b"IEND", b""))
    return png_text.SIGNATURE + b"".join(parts)


def saved(image: Image.Image, **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **how)
    return out.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "8 bit": lambda: saved(Image.radial_gradient("L").convert("RGB")),
    "16 bit": lambda: saved(deep_picture()),
    "palette": lambda: saved(Image.radial_gradient("L").convert("P"), transparency=3),
    "1 bit": lambda: saved(Image.radial_gradient("L").convert("1")),
    "interlaced": interlaced,
    "animated": lambda: saved(
        Image.new("RGB", (9, 9), "red"),
        save_all=True,
        append_images=[Image.new("RGB", (9, 9), colour) for colour in ("green", "blue")],
        duration=40,
    ),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_texts_touch_nothing_but_texts(kind: str) -> None:
    before = PICTURES[kind]()
    after = png_text.with_texts(before, {"vulcan": "x", "XML": "\u4e2d"}, international=("XML",))
    others = [c for c in png_text.chunks(after) if c[0] not in png_text.TEXT_KINDS]
    assert others == list(png_text.chunks(before))
    kinds = [c[0] for c in png_text.chunks(after)]
    assert max(n for n, c in enumerate(kinds) if c in png_text.TEXT_KINDS) < kinds.index(b"IDAT")
    with Image.open(io.BytesIO(before)) as old, Image.open(io.BytesIO(after)) as new:
        assert (old.mode, old.size, old.info.get("transparency")) == (
            new.mode,
            new.size,
            new.info.get("transparency"),
        )
        for frame in range(getattr(old, "n_frames", 1)):
            old.seek(frame)
            new.seek(frame)
            assert old.tobytes() == new.tobytes()
