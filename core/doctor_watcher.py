"""The doctor on the drop folder: does the kernel tell of a file that is put there?

Tried with a hidden file, which a director that watches the folder leaves alone. On drives of
another system events never come (microsoft/WSL#4739) and the folder is polled instead, which is
no fault. How the director watches is :mod:`core.drop_folder`'s.
"""

import errno
from collections.abc import Iterator
from pathlib import Path

from bridge.finding import Finding, fine, note, warning
from core import drop_hints
from models.file_system import REMOTE, file_system

WAIT = 1.5  # seconds for an event; it takes some milliseconds
FEWEST_WATCHES = 8192
WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
_RAISE = (
    "sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288 "
    "(and a line of each in /etc/sysctl.d/ to keep it)"
)


def findings(inbox: Path) -> Iterator[Finding]:
    """Try the watcher on the inbox."""
    name = "inbox.watcher"
    if not inbox.is_dir():
        yield note(name, f"{inbox} is not there yet, so watching it was not tried")
        return
    kind = file_system(inbox)
    if kind in REMOTE:
        yield note(
            name,
            f"{inbox} lies on {kind}: it is looked through regularly, as no events come there",
            "a prompt file is taken about two seconds later than on a Linux disk",
            "for quick pick-up set folders.inbox to a folder on a Linux disk",
        )
        return
    yield _tried(name, inbox)
    yield from _watches()


def _tried(name: str, inbox: Path) -> Finding:
    try:
        heard = drop_hints.events_come(inbox, WAIT)
    except OSError as error:
        return _no_watch(name, inbox, error)
    if heard:
        return fine(name, f"{inbox}: a new file is told of at once")
    return warning(
        name,
        f"{inbox}: no event came for a new file",
        "prompt files are found only when the folder is looked through, every few seconds",
        "set folders.inbox to a folder on a local Linux disk",
    )


def _no_watch(name: str, inbox: Path, error: OSError) -> Finding:
    used_up = error.errno in (errno.ENOSPC, errno.EMFILE)
    return warning(
        name,
        f"{inbox} cannot be watched ({error.strerror})",
        "the kernel's watches are used up" if used_up else "new prompt files are not told of",
        _RAISE if used_up else "see what is said of the folder above",
    )


def _watches() -> Iterator[Finding]:
    try:
        watches = int(WATCHES.read_text())
    except (OSError, ValueError):
        return
    if watches < FEWEST_WATCHES:
        yield note(
            "inbox.watches",
            f"this user may watch {watches} folders at most",
            "each sub-folder of the inbox takes one, and so do editors",
            _RAISE,
        )
