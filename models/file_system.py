"""Which kind of file system a path lies on, and which kinds are slow bridges to another system.

It reads the mount table and nothing else; what to do about a slow one is the caller's.
"""

from pathlib import Path

# Windows drives in WSL (/mnt/c), shared folders of virtual machines, network drives: each call
# goes through another system, at a tenth of the speed, and locks and events are missing.
REMOTE = frozenset({"9p", "drvfs", "virtiofs", "cifs", "smb3", "nfs", "nfs4", "fuse.sshfs"})


def file_system(path: Path, mounts: str | None = None) -> str:
    """Return the type of the file system that holds ``path``, "" when it cannot be told.

    Args:
        path: an existing path.
        mounts: text in the format of /proc/self/mounts, read from there by default.
    """
    if mounts is None:
        table = Path("/proc/self/mounts")
        mounts = table.read_text() if table.exists() else ""
    real = path.resolve()
    best = ("", "")
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if real.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
