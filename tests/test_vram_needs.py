"""What computing takes: ComfyUI's reckoning, and the bytes counted in its own forward passes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import vram_models
from models import vram_needs
from models.flux import FLUX_DEV
from models.tensor_types import FileType
from models.vram_card import GIB
from models.vram_needs import Picture
from tests.test_vram_comfyui import record

sides = st.integers(4, 64).map(lambda n: 64 * n)
pictures = st.builds(Picture, sides, sides, st.integers(1, 16))


def passes(what: str) -> list[Any]:
    return [
        pytest.param(one, id="-".join(map(str, (one.get("unet"), *one["size"], one.get("lora")))))
        for one in record()["passes"]
        if one["what"] == what
    ]


@pytest.mark.parametrize("counted", passes("sample"))
def test_a_pass_takes_what_was_counted_in_comfyui(counted: Any) -> None:
    weights = vram_models.flux_dev(FileType[counted["unet"]])
    ours = vram_needs.pass_bytes(
        Picture(*counted["size"]), weights, FLUX_DEV, lora=bool(counted["lora"])
    )
    assert ours == pytest.approx(counted["bytes"], rel=0.02)


@pytest.mark.parametrize("counted", passes("sample"))
def test_the_floor_is_below_what_was_counted(counted: Any) -> None:
    picture = Picture(*counted["size"])
    assert vram_needs.attention_bytes(picture, FLUX_DEV) <= counted["bytes"]
    assert vram_needs.floor(picture) - vram_needs.CONTEXT < counted["bytes"]


@pytest.mark.parametrize("counted", passes("decode"))
def test_decoding_takes_what_was_counted_in_comfyui(counted: Any) -> None:
    width, height, batch = counted["size"]
    ours = vram_needs.decoded_bytes(Picture(width, height)) * batch
    assert ours == pytest.approx(counted["bytes"], rel=0.02)


def test_a_megapixel_is_reckoned_with_a_gibibyte() -> None:
    assert vram_needs.sampling(Picture(1024, 1024)) == pytest.approx(1015.8 * (1 << 20), rel=1e-4)
    assert vram_needs.decoding(Picture(1024, 1024)) == 2178 * 128 * 128 * 64 * 2


@given(pictures, st.integers(1, 64))
def test_a_bigger_picture_never_needs_less(picture: Picture, more: int) -> None:
    wider = Picture(picture.width + 64 * more, picture.height, picture.batch)
    fuller = Picture(picture.width, picture.height, picture.batch + more)
    for bigger in (wider, fuller):
        assert vram_needs.floor(bigger) >= vram_needs.floor(picture)
        assert vram_needs.sampling(bigger) >= vram_needs.sampling(picture)


@given(pictures, st.integers(1 << 28, 48 << 30))
def test_the_nearest_fits_and_is_smaller(picture: Picture, total: int) -> None:
    for one in vram_needs.nearest(picture, FLUX_DEV, total):
        assert vram_needs.runs(one, FLUX_DEV, total)
        assert vram_needs.floor(one) <= total
        assert one.width * one.height * one.batch <= picture.width * picture.height * picture.batch
        assert one.batch in (picture.batch, *range(1, picture.batch))


def test_the_nearest_batch_is_the_largest_that_fits() -> None:
    fewer, *_ = vram_needs.nearest(Picture(1024, 1024, 64), FLUX_DEV, 8 * GIB)
    assert vram_needs.runs(fewer, FLUX_DEV, 8 * GIB)
    assert not vram_needs.runs(Picture(1024, 1024, fewer.batch + 1), FLUX_DEV, 8 * GIB)


def test_a_card_that_can_hold_nothing_has_no_nearest() -> None:
    assert list(vram_needs.nearest(Picture(1024, 1024, 4), FLUX_DEV, 100 << 20)) == []
