"""What is measured of a picture, on pictures whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests import dataset_kit
from tests.dataset_kit import NoFaces, scene
from training.dataset import faces, measurement
from training.dataset.faces import Box, Haar, YuNet
from training.errors import TrainingError


def test_blurring_takes_sharpness_whatever_the_size() -> None:
    for size in (300, 900):
        image = scene(1, size, size)
        blurred = image.filter(ImageFilter.GaussianBlur(size / 60))
        assert measurement.sharpness(blurred) < 0.15 * measurement.sharpness(image)


def test_a_faint_picture_with_crisp_edges_is_as_sharp_as_a_strong_one() -> None:
    image = scene(1, 300, 300)
    faint = image.point(lambda level: 100 + level // 5)
    assert measurement.sharpness(faint) == pytest.approx(measurement.sharpness(image), rel=0.15)


def test_a_smaller_brighter_copy_has_nearly_the_same_hash_and_another_picture_has_not() -> None:
    image = scene(1, 400, 300)
    again = image.resize((200, 150)).point(lambda level: min(255, level + 12))
    alike = measurement.likeness(image) ^ measurement.likeness(again)
    other = measurement.likeness(image) ^ measurement.likeness(scene(2, 400, 300))
    assert alike.bit_count() <= 6 < other.bit_count()


@pytest.mark.parametrize("colour", ["black", "white"])
def test_bars_are_found_on_the_sides_where_they_are(colour: str) -> None:
    image = Image.new("RGB", (400, 400), colour)
    image.paste(scene(1, 400, 300).filter(ImageFilter.GaussianBlur(1)), (0, 50))
    found = measurement.borders(image)
    assert found.across == pytest.approx(0.25, abs=0.02)
    assert found.along == 0
    turned = measurement.borders(image.transpose(Image.Transpose.ROTATE_90))
    assert turned.across == 0
    assert turned.along == pytest.approx(found.across, abs=0.02)


def test_a_plain_background_and_a_plain_picture_are_no_bars() -> None:
    studio = Image.new("RGB", (400, 400), "white")
    outline = Image.new("L", (300, 300))
    ImageDraw.Draw(outline).ellipse((0, 0, 299, 299), fill=255)
    studio.paste(scene(1, 300, 300), (50, 50), outline)
    for image in (studio, Image.new("RGB", (50, 50), "red"), Image.new("RGB", (1, 1))):
        assert measurement.borders(image) == measurement.Borders(0, 0)


def test_faces_are_told_in_pixels_of_the_whole_picture(tmp_path: Path) -> None:
    dataset_kit.face(300, 0.5).resize((2400, 2400)).save(tmp_path / "a.jpg")
    one = measurement.measure(tmp_path, tmp_path / "a.jpg", Haar())
    (face,) = one.faces
    assert face.left < 1200 < face.left + face.width
    assert 0.4 < face.height / 2400 < 0.8
    assert len(one.thumbnail) < 40_000


def test_a_picture_of_one_pixel_is_measured(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    one = measurement.measure(tmp_path, tmp_path / "a.png", Haar())
    assert (one.look.width, one.look.height, one.faces) == (1, 1, ())


def test_a_picture_far_wider_than_high_is_measured(tmp_path: Path) -> None:
    Image.new("RGB", (20_000, 3)).save(tmp_path / "a.png")
    assert measurement.measure(tmp_path, tmp_path / "a.png", Haar()).look.width == 20_000


def test_the_haar_cascade_sees_no_face_in_mere_shapes() -> None:
    assert Haar().find(np.asarray(scene(1, 300, 300))) == ()


def test_the_largest_face_comes_first() -> None:
    small, large = Box(0, 0, 10, 10), Box(50, 50, 20, 20)
    assert faces.largest_first([small, large]) == (large, small)


def test_what_is_no_yunet_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such file"):
        YuNet(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(TrainingError, match="is no YuNet network"):
        YuNet(tmp_path / "text.onnx")


def test_measuring_a_large_picture_waits_for_nobody_when_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.dataset.pixels.LARGE", 100)
    scene(1).save(tmp_path / "a.png")
    for _ in range(2):  # the lock is let go
        assert measurement.measure(tmp_path, tmp_path / "a.png", NoFaces()).look.width == 96
