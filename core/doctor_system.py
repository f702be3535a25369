"""The doctor on the process's own ground: Python, packages, limits, clock, another director.

Looks only; nothing is locked or changed, so a director at work does not notice.
"""

import re
import resource
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from bridge.finding import Finding, fine, note, problem, warning

OLDEST_PYTHON = (3, 11)
FEWEST_FILES = 1024
LOCK = "director.lock"  # the journal's, in the state folder; holds the director's process id
DAY = 86400.0
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)")


def python(version: tuple[int, ...]) -> Finding:
    """Judge the interpreter's version."""
    told, oldest = (".".join(map(str, one)) for one in (version[:3], OLDEST_PYTHON))
    if version[:2] >= OLDEST_PYTHON:
        return fine("system.python", f"Python {told}")
    return problem(
        "system.python",
        f"Python {told}; {oldest} or newer is needed",
        "the director uses what older ones do not have",
        "sudo apt install python3.11 python3.11-venv, then make a new .venv with it",
    )


def packages(
    requirements: Path, version: Callable[[str], str] = metadata.version
) -> Iterator[Finding]:
    """Compare what is installed with the pins.

    Args:
        requirements: the file of pins.
        version: returns a package's installed version, or raises PackageNotFoundError.
    """
    pins = _pins(requirements)
    installed = {name: _installed(name, version) for name in pins}
    missing = [name for name, found in installed.items() if found is None]
    other = [
        f"{name} {found} instead of {pins[name]}"
        for name, found in installed.items()
        if found is not None and _public(found) != pins[name]
    ]
    fix = f"'{sys.executable}' -m pip install -r '{requirements}'"
    if missing:
        what = f"not installed: {', '.join(missing)}"
        yield problem("system.packages", what, "parts of Vulcan cannot start without them", fix)
    if other:
        what = f"other versions than tested: {', '.join(other)}"
        yield warning("system.packages", what, "nobody has tried these together", fix)
    if not missing and not other:
        yield fine("system.packages", f"all {len(pins)} packages have the pinned versions")


def open_files(limits: tuple[int, int]) -> Finding:
    """Judge how many files may be open at once, soft and hard limit."""
    soft, hard = limits
    if soft == resource.RLIM_INFINITY or soft >= FEWEST_FILES:
        return fine(
            "system.open-files", f"{'any number of' if soft < 0 else soft} files may be open"
        )
    return warning(
        "system.open-files",
        f"only {soft} files may be open at once",
        "a burst of prompt files with several hosts needs some hundreds",
        f"ulimit -n {min(4096, hard) if hard > 0 else 4096}, in the shell that starts the director",
    )


def clock(now: float, written: float) -> Finding:
    """Judge our clock by a file of ours, which cannot be from the future.

    Args:
        now: seconds since the epoch.
        written: when that file was written.
    """
    if now >= written - DAY:
        return fine("system.clock", "the clock is not behind our own files")
    return warning(
        "system.clock",
        f"the clock is {(written - now) / DAY:.0f} days behind our own files",
        "pictures are named by day, and waiting times go wrong",
        "in WSL: sudo hwclock -s; elsewhere: timedatectl set-ntp true",
    )


def other_director(state: Path, locks: str) -> Iterator[Finding]:
    """Tell whether a director works on this state folder.

    The table of locks is read instead of trying the lock, which a director that starts at this
    moment could take for another director.

    Args:
        state: the state folder.
        locks: text of /proc/locks.
    """
    path = state / LOCK
    try:
        inode, holder = path.stat().st_ino, path.read_text(errors="replace").strip()
    except OSError:
        return
    if not any(_locks(line, inode) for line in locks.splitlines()):
        return
    pid = holder if holder.isdigit() else "unknown"
    yield note(
        "system.director",
        f"a director (process {pid}) works with {state}",
        "a second one on the same state folder refuses to start",
        f"to stop it: kill -INT {pid}; to run a second one: set VULCAN_STATE to another folder",
    )


def _locks(line: str, inode: int) -> bool:
    """``1: FLOCK  ADVISORY  WRITE 7693 fe:00:2146507 0 EOF``; waiting ones begin with ``1: ->``."""
    fields = line.split()
    return len(fields) > 5 and fields[1] == "FLOCK" and fields[5].endswith(f":{inode}")


def _pins(requirements: Path) -> dict[str, str]:
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return {found[1]: found[2] for line in lines if (found := _PIN.match(line.strip()))}


def _installed(name: str, version: Callable[[str], str]) -> str | None:
    try:
        return version(name)
    except metadata.PackageNotFoundError:
        return None


def _public(version: str) -> str:
    """Return a version without its local part: 2.13.0+cpu is a build of 2.13.0."""
    return version.split("+", 1)[0]
