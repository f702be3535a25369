import os
from pathlib import Path

import pytest

from core.free_name import free_stem


def test_the_first_free_number_is_taken(tmp_path: Path) -> None:
    for expected in ("a", *(f"a-{number}" for number in range(2, 40))):
        assert free_stem(tmp_path, "a", [".txt"]) == expected
        (tmp_path / f"{expected}.txt").touch()


def test_a_name_must_be_free_under_every_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "a-2.txt").symlink_to("dangling")
    assert free_stem(tmp_path, "a", [".txt", ".png"]) == "a-3"


def test_a_free_name_is_found_whatever_was_removed(tmp_path: Path) -> None:
    for number in (2, 3, 5, 9, 17):
        (tmp_path / f"a-{number}.txt").touch()
    (tmp_path / "a.txt").touch()
    assert not (tmp_path / (free_stem(tmp_path, "a", [".txt"]) + ".txt")).exists()


def test_thousands_of_one_name_take_few_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {f"{tmp_path}/a.txt", *(f"{tmp_path}/a-{number}.txt" for number in range(2, 10_001))}
    looks: list[str] = []

    def look(path: str) -> bool:
        looks.append(path)
        return path in taken

    monkeypatch.setattr(os.path, "lexists", look)
    assert free_stem(tmp_path, "a", [".txt"]) == "a-10001"
    assert len(looks) < 40
