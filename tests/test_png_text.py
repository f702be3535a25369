import io

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


@given(st.dictionaries(st.sampled_from(["prompt", "vulcan", "workflow"]), st.text()))
def test_pillow_reads_what_was_written(texts: dict[str, str]) -> None:
    written = png_text.with_texts(picture(), texts)
    read = Image.open(io.BytesIO(written))
    read.load()
    assert read.text == texts  # type: ignore[attr-defined]
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
