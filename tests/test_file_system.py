import os
from pathlib import Path

from models.file_system import file_system


def test_the_file_system_is_that_of_the_longest_mount(tmp_path: Path) -> None:
    mounts = f"/dev/a / ext4 rw 0 0\nC:\\134 /mnt/c 9p rw 0 0\nx {tmp_path} drvfs rw 0 0\n"
    assert file_system(tmp_path / "sub", mounts) == "drvfs"
    assert file_system(tmp_path.parent, mounts) == "ext4"
    assert file_system(Path(os.sep), "") == ""
