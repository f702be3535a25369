"""Which kind of file system a path lies on, and which kinds are slow bridges to another system.

It reads the mount table and nothing else; what to do about a slow one is the caller's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Windows drives in WSL (/mnt/c), shared folders of virtual machines, network drives: each call
# goes through another system, at a tenth of the speed, and locks and events are missing.
REMOTE = frozenset(
    {"9p", "drvfs", "virtiofs", "vboxsf", "prl_fs", "fuse.vmhgfs-fuse"}
    | {"cifs", "smb3", "smbfs", "nfs", "nfs4", "afs", "ceph", "glusterfs", "lustre"}
    | {"fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuse.s3fs", "fuse.gvfsd-fuse"}
)
_TABLES = (Path("/proc/self/mountinfo"), Path("/proc/self/mounts"))
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table.

    Attributes:
        point: where it is mounted.
        kind: type of the file system, as the kernel calls it.
    """

    point: str
    kind: str


def file_system(path: Path, mounts: str | None = None) -> str:
    """Return the type of the file system that holds ``path``, "" when it cannot be told.

    Args:
        path: a path; links in it are followed.
        mounts: text in the format of /proc/self/mountinfo or /proc/self/mounts, read from there
            by default.
    """
    real = path.resolve()
    best = Mount("", "")
    for mount in parse(_read() if mounts is None else mounts):
        # Of two mounts at one point the later one covers the earlier.
        if len(mount.point) >= len(best.point) and real.is_relative_to(mount.point):
            best = mount
    return best.kind


def parse(text: str) -> Iterator[Mount]:
    """Yield the mounts of a table, in its order; lines that are none are passed over."""
    for line in text.splitlines():
        fields = line.split(" ")
        if fields[0].isdigit() and "-" in fields[6:]:  # mountinfo
            after = fields.index("-", 6) + 1
            if len(fields) > after:
                yield Mount(_plain(fields[4]), fields[after])
        elif len(fields) >= 3:
            yield Mount(_plain(fields[1]), fields[2])


def _plain(point: str) -> str:
    r"""Undo the kernel's escapes: it writes space, tab, newline and backslash as ``\040`` ..."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), point)


def _read() -> str:
    for table in _TABLES:
        try:
            return table.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            continue
    return ""
