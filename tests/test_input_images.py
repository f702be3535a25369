from pathlib import Path

import pytest

from core.input_images import ImageError, InputImages, name_on_host
from tests.fake_host import png


def test_a_picture_is_kept_once_by_its_content(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(1))
    images = InputImages(tmp_path / "kept")
    first, second = images.keep(tmp_path / "a.png"), images.keep(tmp_path / "b.png")
    assert first.path == second.path
    assert (first.name, second.name) == ("a.png", "b.png")
    assert Path(first.path).read_bytes() == png(1)


def test_the_content_tells_the_type_and_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(png(1))
    assert InputImages(tmp_path / "kept").keep(tmp_path / "a.jpg").path.endswith(".png")


@pytest.mark.parametrize("content", [b"", b"hello", b"GIF89a"])
def test_what_no_host_can_load_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pose.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"pose\.png is no PNG"):
        InputImages(tmp_path / "kept").keep(tmp_path / "pose.png")


def test_a_half_written_copy_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    images = InputImages(tmp_path / "kept")
    kept = Path(images.keep(tmp_path / "a.png").path)
    kept.write_bytes(b"half")
    images.keep(tmp_path / "a.png")
    assert kept.read_bytes() == png(1)


def test_pruning_deletes_what_is_not_needed_and_nothing_of_others(tmp_path: Path) -> None:
    images = InputImages(tmp_path / "kept")
    assert images.prune(set()) == 0
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    needed, other = (images.keep(tmp_path / f"{number}.png") for number in (1, 2))
    (tmp_path / "kept" / "mine.png").write_bytes(b"x")
    assert images.prune({needed.sha256}) == 1
    assert Path(needed.path).exists()
    assert not Path(other.path).exists()
    assert (tmp_path / "kept" / "mine.png").exists()


def test_hosts_are_given_the_same_picture_under_the_same_name(tmp_path: Path) -> None:
    images = InputImages(tmp_path / "kept")
    for name in ("0179-000001-pose.png", "0180-000002-pose.png"):
        (tmp_path / name).write_bytes(png(1))
    first, second = (
        images.keep(tmp_path / name, "pose.png")
        for name in ("0179-000001-pose.png", "0180-000002-pose.png")
    )
    assert first == second
    assert first.name == "pose.png"
    assert name_on_host(first) == f"vulcan-{first.sha256[:16]}.png"
