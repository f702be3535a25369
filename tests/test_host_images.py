"""Pictures: names, PNG bytes and text chunks, staying inside the output folder."""

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from host.errors import RenderError
from host.folders import inside
from host.images import blank, expand, find_slot, save, text_chunks, to_bytes, to_png


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def test_pixels_survive_the_png(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((8, 5, 3), dtype=np.float32)
    picture = opened(to_png(pixels, {}))
    assert picture.size == (5, 8)
    assert np.array_equal(np.asarray(picture), to_bytes(pixels))


def test_pixels_are_rounded_down_as_comfyui_does_it_and_never_wrap() -> None:
    pixels = np.array([[[0.0, 0.999, 1.0], [-1.0, 2.0, np.nan]]], np.float32)
    assert to_bytes(pixels).tolist() == [[[0, 254, 255], [0, 255, 0]]]


def test_one_colour_is_that_colour() -> None:
    batch = blank(4, 3, 2, 0x9D4C64)
    assert batch.shape == (2, 3, 4, 3)
    assert to_bytes(batch[1])[2, 3].tolist() == [0x9D, 0x4C, 0x64]


def test_text_chunks_hold_the_graph_first_and_then_what_the_client_added() -> None:
    chunks = text_chunks({"1": {"x": "ü\ud800"}}, {"vulcan": {"job": 7}, "workflow": [1]})
    assert list(chunks) == ["prompt", "vulcan", "workflow"]
    picture = opened(to_png(blank(1, 1, 1, 0)[0], chunks))
    picture.load()
    assert isinstance(picture, Image.Image)
    text: dict[Any, Any] = picture.info
    assert json.loads(text["prompt"]) == {"1": {"x": "ü\ud800"}}
    assert json.loads(text["vulcan"]) == {"job": 7}


def test_equal_pictures_are_equal_bytes() -> None:
    pixels = np.random.default_rng(1).random((16, 16, 3), dtype=np.float32)
    assert to_png(pixels, {"prompt": "{}"}) == to_png(pixels.copy(), {"prompt": "{}"})


def names(root: Path, prefix: str, count: int = 1) -> list[str]:
    saved = save(root, prefix, blank(2, 2, count, 0), {}, when=0.0, level=1)
    return [path.relative_to(root).as_posix() for path, _ in saved]


def test_numbers_go_on_where_the_folder_stops(tmp_path: Path) -> None:
    assert names(tmp_path, "a") == ["a_00001_.png"]
    assert names(tmp_path, "a", 2) == ["a_00002_.png", "a_00003_.png"]
    assert names(tmp_path, "a_b") == ["a_b_00001_.png"]
    assert names(tmp_path, "sub/dir/a") == ["sub/dir/a_00001_.png"]
    (tmp_path / "a_00041_x.jpg").touch()
    (tmp_path / "a_notanumber_.png").touch()
    assert names(tmp_path, "a") == ["a_00042_.png"]


def test_no_unfinished_file_is_left_beside(tmp_path: Path) -> None:
    names(tmp_path, "a", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a_00001_.png",
        "a_00002_.png",
        "a_00003_.png",
    ]


def test_the_prefix_may_hold_sizes_and_dates() -> None:
    when = time.mktime((2026, 3, 4, 5, 6, 7, 0, 0, -1))
    prefix = "%date%_%width%x%height%_%year%-%month%-%day%_%hour%%minute%%second%_100%"
    assert expand(prefix, 64, 32, when) == "%date%_64x32_2026-03-04_050607_100%"


@pytest.mark.parametrize(
    "prefix", ["../../evil", "/etc/x", "a/../../b", "..", ".", "a/..", "a\0b", "\ud800"]
)
def test_a_prefix_that_leads_out_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(RenderError, match="outside the output folder"):
        save(tmp_path / "out", prefix, blank(1, 1, 1, 0), {}, when=0.0, level=1)
    assert not list(tmp_path.rglob("*.png"))


def test_a_full_disk_or_a_bad_name_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="could not be saved"):
        save(tmp_path, "n" * 300, blank(1, 1, 1, 0), {}, when=0.0, level=1)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
@settings(max_examples=200, deadline=None)
def test_whatever_the_prefix_nothing_leaves_the_root(prefix: str) -> None:
    root = Path("/srv/output")
    try:
        slot = find_slot(root, prefix)
    except RenderError:
        return
    path = slot.folder / slot.filename(0)
    assert inside(root, path.relative_to(root).as_posix()) == path


@pytest.mark.parametrize("key", ["", "\ud800", "名", "a\nb", "x" * 80])
def test_a_key_that_no_png_can_hold_is_refused_in_a_sentence(key: str) -> None:
    with pytest.raises(RenderError, match="text chunk"):
        text_chunks({}, {key: 1})


def test_a_key_of_latin_1_is_kept() -> None:
    png = to_png(np.zeros((2, 2, 3), np.float32), text_chunks({}, {"größe": 1}))
    assert opened(png).info["größe"] == "1"
