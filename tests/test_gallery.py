from pathlib import Path

import pytest

from core import gallery
from core.gallery import Picture
from models import store


def test_names_that_are_taken_are_stepped_around_together(tmp_path: Path) -> None:
    assert gallery.choose_paths(tmp_path, "a", [".png"]) == [tmp_path / "a.png"]
    (tmp_path / "a_2.png").touch()
    assert [path.name for path in gallery.choose_paths(tmp_path, "a", [".png", ".png"])] == [
        "a~2_1.png",
        "a~2_2.png",
    ]


def test_saving_again_changes_nothing_and_leaves_no_scraps(tmp_path: Path) -> None:
    paths = [tmp_path / "new" / "a.png"]
    gallery.save(paths, [Picture(b"x")])
    gallery.save(paths, [Picture(b"x")])
    assert [path.name for path in paths[0].parent.iterdir()] == ["a.png"]
    assert paths[0].read_bytes() == b"x"


def test_a_save_cut_off_before_its_rename_is_taken_over_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Stands in for kill -9: nothing that follows it runs."""

    def killed(*_: object) -> None:
        raise Killed

    path = tmp_path / "a.png"
    with monkeypatch.context() as patched:
        patched.setattr("models.store.publish", killed)
        with pytest.raises(Killed):
            gallery.save([path], [Picture(b"longer than the picture")])
    assert list(tmp_path.iterdir()) == [tmp_path / ".a.png.part"]
    gallery.save([path], [Picture(b"picture")])
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"picture"


def test_each_kind_of_file_has_its_ending_and_a_record_beside_it_counts_as_taken(
    tmp_path: Path,
) -> None:
    assert [path.name for path in gallery.choose_paths(tmp_path, "a", [".webp", ".png"])] == [
        "a_1.webp",
        "a_2.png",
    ]
    (tmp_path / "a.json").touch()
    assert gallery.choose_paths(tmp_path, "a", [".mp4"]) == [tmp_path / "a~2.mp4"]
    assert gallery.choose_paths(tmp_path, "a", [".png"]) == [tmp_path / "a.png"]


@pytest.mark.parametrize(
    ("batch", "folder"),
    [("", "."), ("a/b c", "a/b c"), ("../../etc", "etc"), ("/etc", "etc"), (".hidden/x", "x")],
)
def test_a_batch_is_a_sub_folder_and_never_leads_out(
    tmp_path: Path, batch: str, folder: str
) -> None:
    assert gallery.choose_paths(tmp_path, "a", [".png"], batch) == [tmp_path / folder / "a.png"]


def test_a_picture_never_stands_without_the_record_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = store.publish

    def publish(temp: Path, final: Path) -> None:
        seen.append(final.name)
        real(temp, final)

    monkeypatch.setattr("models.store.publish", publish)
    gallery.save([tmp_path / "a.webp"], [Picture(b"x", ".webp", b"{}")])
    assert seen == ["a.json", "a.webp"]
