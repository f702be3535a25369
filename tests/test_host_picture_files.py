"""Pictures that come from outside: what is read of them, and what is said of those that are bad."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from host.errors import RenderError
from host.nodes import TABLE
from host.picture_files import load, load_channel
from host.resizing import resized
from tests.host_kit import folders_below
from tests.recorded_nodes import PICTURES


def pixels(height: int, width: int) -> Any:
    return np.random.default_rng(2).random((1, height, width, 3), dtype=np.float32)


def saved(path: Path, *frames: Image.Image, **options: Any) -> Path:
    frames[0].save(path, save_all=len(frames) > 1, append_images=frames[1:], **options)
    return path


def test_transparency_becomes_the_mask_and_its_lack_an_empty_one(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (5, 3), (10, 20, 30, 51))
    _, mask = load(saved(tmp_path / "a.png", clear))
    assert mask.shape == (1, 3, 5)
    assert np.allclose(mask, 1 - 51 / 255)
    _, mask = load(saved(tmp_path / "b.png", clear.convert("RGB")))
    assert mask.shape == (1, 64, 64)
    assert not mask.any()


def test_frames_without_transparency_beside_others_have_an_empty_mask(tmp_path: Path) -> None:
    # ComfyUI fails here: its empty mask has another size than the others.
    opaque, clear = Image.new("RGB", (4, 4)), Image.new("RGBA", (4, 4), (9, 9, 9, 0))
    found, mask = load(saved(tmp_path / "a.tif", opaque, clear))
    assert found.shape == (2, 4, 4, 3)
    assert mask.shape == (2, 4, 4)
    assert not mask[0].any()
    assert (mask[1] == 1).all()


def test_a_cut_file_gives_what_is_there_and_leaves_pillow_as_it_was() -> None:
    found, _ = load(PICTURES / "cut.png")
    assert found.shape == (1, 32, 32, 3)
    assert found[0, 0].any()
    assert not found[0, -1].any()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def bad_files() -> dict[str, bytes]:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    whole = buffer.getvalue()
    size = whole.index(b"IHDR") + 4
    return {
        "text.png": b"this is no picture",
        "empty.png": b"",
        "head.png": whole[:20],
        "no-size.png": whole[:size] + bytes(8) + whole[size + 8 :],
        "huge.png": whole[:size] + b"\x7f\xff\xff\xff" * 2 + whole[size + 8 :],
    }


@pytest.mark.parametrize("name", sorted(bad_files()))
def test_what_is_no_picture_is_a_sentence_that_names_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(bad_files()[name])
    for read in (load, lambda path: load_channel(path, "alpha")):
        with pytest.raises(RenderError, match=f"{name}: the picture cannot be read") as caught:
            read(path)
        assert "Upload it again" in str(caught.value)


def test_a_folder_or_nothing_is_a_sentence_too(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.png"):
        with pytest.raises(RenderError, match="cannot be read"):
            load(path)


# --- sizes and channels that there are not ---


def run(node: str, **inputs: Any) -> Any:
    context: Any = type("Place", (), {"folders": folders_below(Path("/nowhere"))})
    return TABLE[node].run(context, **inputs)


def test_a_size_of_nothing_is_a_sentence() -> None:
    with pytest.raises(RenderError, match="0 x 1 would have no size"):
        run("ImageScaleBy", image=pixels(60, 10), upscale_method="area", scale_by=0.02)


def test_a_cut_that_leaves_nothing_is_a_sentence() -> None:
    with pytest.raises(RenderError, match="nothing is left of 1 x 400"):
        resized(pixels(400, 1), 400, 1, "bilinear", "center")


def test_a_method_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(RenderError, match="no upscale method 'cubist'"):
        run("ImageScaleToTotalPixels", image=pixels(4, 4), upscale_method="cubist", megapixels=0.01)


def test_a_channel_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(RenderError, match="no channel alpha"):
        run("ImageToMask", image=pixels(4, 4), channel="alpha")


def test_other_numbers_of_masks_than_pictures_are_a_sentence() -> None:
    from host.inpainting import prepare

    with pytest.raises(RenderError, match="3 masks for 2 pictures"):
        prepare(np.repeat(pixels(8, 8), 2, axis=0), np.ones((3, 8, 8), np.float32), 0, 8)


def test_a_picture_is_never_read_from_outside_the_folders() -> None:
    for name in ("../x.png", "/etc/passwd", "a/../../x.png [output]"):
        with pytest.raises(RenderError, match="There is no picture"):
            run("LoadImage", image=name)
