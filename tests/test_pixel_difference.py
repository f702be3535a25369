import io
import math
from typing import Any

import pytest
from PIL import Image

from core import png_text
from core.pixel_difference import compare


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


GREY = Image.new("RGB", (10, 10), (100, 100, 100))


def changed(step: int, pixels: int = 1) -> Image.Image:
    image = GREY.copy()
    for x in range(pixels):
        image.putpixel((x, 0), (100, 100 + step, 100))
    return image


def test_texts_times_and_packing_do_not_count() -> None:
    other = png_text.with_texts(saved(GREY), {"vulcan": "x"})
    assert compare(saved(GREY), other).identical
    assert compare(saved(GREY, compress_level=0), saved(GREY, compress_level=9)).identical
    assert compare(saved(GREY), saved(GREY, "WEBP", lossless=True)).identical


def test_the_figures_are_those_of_their_definitions() -> None:
    found = compare(saved(GREY), saved(changed(20, pixels=5)))
    assert not found.identical
    assert found.largest == 20
    assert found.share == pytest.approx(0.05)
    mean_square = 5 * 20**2 / (10 * 10 * 3)
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / mean_square))
    assert "5.00%" in str(found)


def test_transparency_counts() -> None:
    clear = GREY.convert("RGBA")
    clear.putpixel((0, 0), (100, 100, 100, 0))
    assert compare(saved(GREY), saved(clear)).largest == 255


def test_a_difference_in_any_frame_of_an_animation_is_found() -> None:
    def animated(last: Image.Image) -> bytes:
        frames = [changed(1), last]
        return saved(GREY, "WEBP", save_all=True, append_images=frames, lossless=True)

    assert compare(animated(changed(9)), animated(changed(9))).identical
    assert compare(animated(changed(9)), animated(changed(11))).largest == 2
    assert "frames" in compare(animated(changed(9)), saved(GREY, "WEBP")).note


def test_sixteen_bits_are_never_called_identical_on_the_word_of_eight() -> None:
    def deep(value: int) -> bytes:
        return saved(Image.new("I;16", (4, 4), value))

    assert compare(deep(1000), deep(1000)).identical
    close = compare(deep(1000), deep(1001))
    assert not close.identical
    assert "8 bits" in str(close)
    assert compare(deep(1000), deep(60_000)).largest > 200


def test_sizes_damage_and_other_files_are_said() -> None:
    assert "10x10 and 5x5" in compare(saved(GREY), saved(GREY.resize((5, 5)))).note
    assert "damaged" in compare(saved(GREY), saved(GREY)[:50]).note
    assert "no pictures" in compare(b"....ftypmp42 one", b"....ftypmp42 two").note
    assert compare(b"....ftypmp42", b"....ftypmp42").identical


def test_a_picture_that_would_fill_the_memory_is_not_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    assert "too large" in compare(saved(GREY), saved(changed(1))).note
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert "too large" in compare(saved(GREY), saved(changed(1))).note
