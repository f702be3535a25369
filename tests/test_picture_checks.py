"""Which pictures are found fault with, and which are not."""

from tests.dataset_kit import measurement
from training import recipe
from training.dataset import picture_checks
from training.dataset.finding import Severity
from training.recipe import Preset

RECIPE = recipe.load(Preset.CHARACTER, {})  # 512 pixels
SEVERAL = recipe.load(Preset.CONCEPT, {})  # 512 and 768


def codes(size: tuple[int, int], **how: object) -> list[str]:
    one = measurement("a.png", size, **how)  # type: ignore[arg-type] # as measurement has them
    return [found.code for found in picture_checks.check([one], RECIPE)]


def test_a_sound_picture_has_no_finding() -> None:
    for size in ((512, 512), (4000, 3000), (640, 384), (700, 490)):
        assert codes(size) == []


def test_below_half_the_resolution_is_an_error_and_below_the_bucket_a_warning() -> None:
    (found,) = picture_checks.check([measurement("a.png", (255, 600))], RECIPE)
    assert (found.code, found.severity) == ("too-small", Severity.ERROR)
    assert "255x600" in found.text
    (found,) = picture_checks.check([measurement("a.png", (400, 400))], RECIPE)
    assert (found.code, found.severity) == ("enlarged", Severity.WARNING)
    assert "512x512" in found.text


def test_a_few_missing_pixels_are_no_finding() -> None:
    assert codes((500, 500)) == []


def test_the_largest_resolution_is_what_a_picture_has_to_reach() -> None:
    (found,) = picture_checks.check([measurement("a.png", (600, 600))], SEVERAL)
    assert "768x768" in found.text


def test_a_shape_beyond_three_to_one_is_told() -> None:
    assert codes((1536, 512)) == []
    assert "extreme-shape" in codes((1600, 512))
    assert "extreme-shape" in codes((512, 1600))


def test_bars_are_told_when_the_crop_would_leave_them() -> None:
    assert codes((512, 512), borders=(0.03, 0.0)) == []
    assert codes((512, 512), borders=(0.05, 0.0)) == ["bars"]


def test_what_reading_changes_is_one_note() -> None:
    one = measurement("a.png", turned=True, transparent=True, mode="I;16", profile="Display P3")
    (found,) = picture_checks.check([one], RECIPE)
    assert found.severity == Severity.NOTE
    for told in ("upright", "white", "8 bits", "sRGB from Display P3"):
        assert told in found.text


def test_an_animated_picture_is_a_warning() -> None:
    (found,) = picture_checks.check([measurement("a.webp", animated=True)], RECIPE)
    assert (found.code, found.severity) == ("animated", Severity.WARNING)


def test_blur_is_judged_against_the_others_and_only_if_there_are_some() -> None:
    sharp = [measurement(f"{index}.png", sharpness=100.0 + index) for index in range(6)]
    blurred = measurement("blurred.png", sharpness=10.0)
    found = list(picture_checks.blurred([*sharp, blurred]))
    assert [one.files for one in found] == [("blurred.png",)]
    assert list(picture_checks.blurred([*sharp[:3], blurred])) == []
    assert (
        list(picture_checks.blurred([measurement(str(i), sharpness=0.0) for i in range(6)])) == []
    )
