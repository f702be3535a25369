import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.file_system import REMOTE, Mount, file_system, parse

# As WSL2 writes it: Windows' drive, a drive with a space, and the Linux disk.
WSL = """\
56 66 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard,errors=remount-ro,data=ordered
81 56 0:62 / /usr/lib/wsl/drivers ro,relatime shared:1 - 9p drivers ro,dirsync,aname=drivers
99 56 0:70 / /mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\;uid=1000
103 56 0:73 / /mnt/my\\040drive rw,noatime master:3 propagate_from:2 - virtiofs drvfsa1 rw
"""


def test_the_file_system_is_that_of_the_longest_mount(tmp_path: Path) -> None:
    mounts = f"/dev/a / ext4 rw 0 0\nC:\\134 /mnt/c 9p rw 0 0\nx {tmp_path} drvfs rw 0 0\n"
    assert file_system(tmp_path / "sub", mounts) == "drvfs"
    assert file_system(tmp_path.parent, mounts) == "ext4"
    assert file_system(Path(os.sep), "") == ""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/inbox", "ext4"),
        ("/mnt/c/Users/me", "9p"),
        ("/mnt/cc", "ext4"),
        ("/mnt/my drive/inbox", "virtiofs"),
    ],
)
def test_wsls_table_is_understood(path: str, kind: str) -> None:
    assert file_system(Path(path), WSL) == kind


def test_a_link_is_followed_to_where_its_files_lie(tmp_path: Path) -> None:
    (tmp_path / "windows").mkdir()
    (tmp_path / "inbox").symlink_to("windows")
    table = f"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path}/windows rw - 9p b rw\n"
    assert file_system(tmp_path / "inbox" / "sub", table) == "9p"


def test_of_two_mounts_at_one_point_the_later_counts() -> None:
    table = "1 0 0:1 / /m rw - ext4 a rw\n2 1 0:2 / /m rw - cifs b rw\n"
    assert file_system(Path("/m/x"), table) == "cifs"


def test_escapes_are_undone() -> None:
    line = "1 0 0:1 / /a\\040b\\011c\\012d\\134e rw shared:1 - nfs4 host:/x rw\n"
    assert list(parse(line)) == [Mount("/a b\tc\nd\\e", "nfs4")]


@given(st.text() | st.lists(st.sampled_from(["1", "-", "/", "ext4", " ", "\n"])).map("".join))
def test_no_table_is_too_odd(text: str) -> None:
    assert file_system(Path("/"), text) in {mount.kind for mount in parse(text)} | {""}


def test_this_systems_own_table_is_read() -> None:
    assert file_system(Path("/proc")) == "proc"
    assert "proc" not in REMOTE
