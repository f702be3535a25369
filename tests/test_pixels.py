"""Pictures as training sees them: every kind of file, upright, sRGB, or one sentence why not."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.dataset_kit import scene
from training.dataset import pixels
from training.errors import TrainingError

RED = (250, 10, 20)


def saved(path: Path, image: Image.Image, **how: object) -> Path:
    image.save(path, **how)  # type: ignore[arg-type] # as Pillow takes them
    return path


def test_a_picture_is_turned_as_its_exif_data_say(tmp_path: Path) -> None:
    image = scene(1, 60, 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", image, exif=exif.tobytes())
    seen, look = pixels.look(path)
    assert seen.size == (40, 60) == (look.width, look.height)
    assert look.turned
    assert seen.tobytes() == image.transpose(Image.Transpose.ROTATE_270).tobytes()


def test_a_mirrored_picture_of_equal_sides_counts_as_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 2
    path = saved(tmp_path / "a.png", scene(1), exif=exif.tobytes())
    assert pixels.look(path)[1].turned


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_put_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    if mode == "P":
        flat = Image.new("P", (8, 8), 0)
        path = saved(tmp_path / "a.png", flat, transparency=0)
    else:
        path = saved(tmp_path / "a.png", image.convert(mode))
    seen, look = pixels.look(path)
    assert look.transparent
    assert seen.getpixel((3, 3)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    grey = np.full((4, 4), 0x8000, dtype=np.uint16)
    path = saved(tmp_path / "a.png", Image.fromarray(grey))
    assert pixels.read(path).getpixel((0, 0)) == (128, 128, 128)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", Image.new("F", (4, 4), 0.5))
    with pytest.raises(TrainingError, match="floating point"):
        pixels.read(path)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (32, 32), RED).convert("CMYK"), quality=95)
    seen, look = pixels.look(path)
    assert look.mode == "CMYK"
    found = seen.getpixel((5, 5))
    assert isinstance(found, tuple)
    assert all(abs(a - b) < 8 for a, b in zip(found, RED, strict=True))


def linear_profile() -> bytes:
    """An ICC profile of sRGB's primaries, but linear (ICC.1:2001-04, matrix/TRC)."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    name = b"linear RGB\0"
    curve = b"curv" + bytes(8)  # no entries: the identity
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(79),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = bytearray(128)
    struct.pack_into(">I", header, 0, start + len(data))
    header[8:12] = b"\x02\x10\0\0"
    header[12:24] = b"mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = xyz(0.9642, 1.0, 0.8249)[8:]
    return bytes(header) + struct.pack(">I", len(tags)) + table + data


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_other_than_srgb_is_brought_to_srgb(tmp_path: Path, mode: str) -> None:
    grey = Image.new("RGB", (16, 16), (128, 128, 128))
    image = grey.quantize(2) if mode == "P" else grey.convert(mode)
    path = saved(tmp_path / "a.png", image, icc_profile=linear_profile())
    seen, look = pixels.look(path)
    assert look.profile == "linear RGB"
    found = seen.getpixel((0, 0))
    assert isinstance(found, tuple)
    assert all(abs(level - 188) <= 1 for level in found), "half of the light is level 188 in sRGB"
    assert "icc_profile" not in seen.info, "nobody converts it a second time"


def test_srgb_and_a_profile_that_does_not_fit_change_nothing(tmp_path: Path) -> None:
    for kind in ("sRGB", "XYZ"):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()
        image = Image.new("RGB", (16, 16), (128, 128, 128))
        seen, look = pixels.look(saved(tmp_path / "a.png", image, icc_profile=profile))
        assert seen.getpixel((0, 0)) == (128, 128, 128)
        assert look.profile == ""


def test_a_damaged_colour_profile_is_passed_over(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (8, 8), RED), icc_profile=b"nonsense" * 40)
    assert pixels.read(path).getpixel((0, 0)) == RED


def test_heic_is_read(tmp_path: Path) -> None:
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), RED)).save(tmp_path / "a.heic", quality=90)
    seen, look = pixels.look(tmp_path / "a.heic")
    assert (look.width, look.height, seen.mode) == (64, 48, "RGB")


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_of_an_animated_picture_the_first_frame_counts(tmp_path: Path, suffix: str) -> None:
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), "blue")
    path = tmp_path / f"a{suffix}"
    first.save(path, save_all=True, append_images=[second], lossless=True)
    seen, look = pixels.look(path)
    assert look.animated
    assert seen.getpixel((0, 0)) == RED


def test_a_jpeg_is_decoded_smaller_but_told_at_its_own_size(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", scene(1, 800, 400))
    seen, look = pixels.look(path, 100)
    assert seen.size == (200, 100)
    assert (look.width, look.height) == (800, 400)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 9_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_unread(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    with pytest.raises(TrainingError, match=r"too large: it has more than 89 million pixels"):
        pixels.read(path)


def test_a_very_wide_picture_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (20_000, 40), RED))
    assert pixels.read(path).size == (20_000, 40)


def test_what_is_no_picture_is_refused_in_one_sentence(tmp_path: Path) -> None:
    whole = io.BytesIO()
    scene(1).save(whole, "JPEG")
    contents = {
        "empty": (b"", "it is empty"),
        "text": (b"hello\n" * 50, "no picture of a known kind"),
        "cut": (whole.getvalue()[:-700], "truncated"),
        "header": (whole.getvalue()[:30], "cannot be read"),
    }
    for name, (content, why) in contents.items():
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(content)
        with pytest.raises(TrainingError, match=why) as caught:
            pixels.read(path)
        assert "\n" not in str(caught.value)


def test_a_folder_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    for name in ("x.png", "none.png"):
        with pytest.raises(TrainingError):
            pixels.read(tmp_path / name)


def pictures() -> list[bytes]:
    made = []
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
        target = io.BytesIO()
        scene(3, 24, 24).save(target, kind)
        made.append(target.getvalue())
    return made


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as pixels has it outside of pytest
@given(
    whole=st.sampled_from(pictures()),
    cut=st.integers(0, 400),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
)
def test_damage_gives_a_picture_or_a_training_error(
    tmp_path_factory: pytest.TempPathFactory,
    whole: bytes,
    cut: int,
    changes: list[tuple[int, int]],
) -> None:
    content = bytearray(whole[: len(whole) - cut])
    for place, value in changes:
        if place < len(content):
            content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(content)
    try:
        assert pixels.read(path).mode == "RGB"
    except TrainingError as error:
        assert error.path == path  # noqa: PT017 # either is right
