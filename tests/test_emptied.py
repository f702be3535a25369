import os
from pathlib import Path

import pytest

from core.emptied import MOMENT, Emptied


class Used:
    """A batch folder that we took a file from."""

    def __init__(self, path: Path) -> None:
        self.path, self.now = path, 0.0
        self.emptied = Emptied(lambda: self.now)
        path.mkdir(parents=True)
        self.emptied.note(str(path))

    def look(self, after: float) -> bool:
        self.now += after
        return self.emptied.look(str(self.path), not list(self.path.iterdir()))


@pytest.fixture
def used(tmp_path: Path) -> Used:
    return Used(tmp_path / "night" / "deep")


def test_an_emptied_folder_goes_after_a_moment_and_then_the_one_above(used: Used) -> None:
    assert not used.look(0)
    assert not used.look(MOMENT - 1)
    assert used.look(1)
    used.path = used.path.parent
    assert not used.look(0)
    assert used.look(MOMENT)
    assert not used.path.exists()


def test_a_folder_that_is_used_again_is_left_alone(used: Used) -> None:
    used.look(0)
    (used.path / "new.doc").touch()
    assert not used.look(MOMENT)
    (used.path / "new.doc").unlink()
    assert not used.look(MOMENT)
    assert not used.look(MOMENT)
    assert used.path.exists()


def test_a_folder_touched_between_two_looks_is_given_another_moment(used: Used) -> None:
    used.look(0)
    os.utime(used.path)
    assert not used.look(MOMENT)
    used.path.rmdir()
    used.path.mkdir()
    assert not used.look(MOMENT - 1)


def test_a_folder_we_took_nothing_from_is_never_removed(used: Used, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    for _ in range(3):
        used.now += MOMENT
        assert not used.emptied.look(str(new), True)
    used.emptied.forget_the_rest({str(new)})
    assert not used.look(0)
    assert not used.look(2 * MOMENT)
