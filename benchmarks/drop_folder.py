"""What the drop folder costs: idle, from drop to claim, scans, and bursts of files.

    python -m benchmarks.drop_folder [--burst FILES] [--idle SECONDS] [--peers]

Runs the real class on real files in a temporary folder (set TMPDIR to choose the disk) and prints
each figure beside its target. ``--peers`` runs the same idle and burst with watchdog's observers
and with watchfiles, as far as they are installed; they only tell of files, and claim nothing.
A noisy machine shows: CPU seconds are sturdier than wall time.
"""

import argparse
import importlib
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from core.claim import DONE
from core.drop_folder import DropFolder
from core.drop_scan import listings
from core.notices import Notices
from core.settling import WITH_EVENTS

TEN_THOUSAND = 10_000
PROCESS = psutil.Process()


class Watched:
    """A drop folder and a thread that empties it."""

    def __init__(self, inbox: Path) -> None:
        self.folder = DropFolder(inbox, time.monotonic, time.time_ns)
        self.claimed, self.last, self.longest = 0, 0.0, 0
        self.came = threading.Event()
        self._thread = threading.Thread(target=self._empty)
        self._thread.start()

    def _empty(self) -> None:
        for claims in self.folder.batches():
            self.claimed += len(claims)
            self.last = time.monotonic()
            self.longest = max(self.longest, len(claims))
            self.came.set()

    def close(self) -> None:
        """Stop."""
        self.folder.close()
        self._thread.join()


@contextmanager
def watched() -> Iterator[tuple[Watched, Path]]:
    """Watch a new folder; yield it and its place."""
    with tempfile.TemporaryDirectory() as place:
        folder = Watched(Path(place) / "inbox")
        try:
            yield folder, Path(place) / "inbox"
        finally:
            folder.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drop_folder")
    parser.add_argument("--burst", type=int, default=50_000, help="files in the largest burst")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to watch it do nothing")
    parser.add_argument("--peers", action="store_true", help="compare with other watchers")
    chosen = parser.parse_args()
    measure_idle(chosen.idle)
    measure_latency()
    measure_scan()
    for files in (TEN_THOUSAND, chosen.burst):
        measure_waiting(files)
        for how in DROPPERS:
            measure_burst(files, how)
    if chosen.peers:
        for name, peer in PEERS.items():
            measure_peer(name, peer, chosen)


def measure_idle(seconds: float) -> None:
    """Watch it do nothing beside ten thousand finished files."""
    with watched() as (_, inbox):
        fill(inbox / DONE, TEN_THOUSAND)
        time.sleep(2)
        share, switches = resting(seconds)
        print(f"idle CPU             {share:8.3%}      under 0.1 %   ({switches:.1f} wake-ups/s)")


def measure_latency(times: int = 50) -> None:
    """Write and close a file; wait for its claim."""
    taken = []
    with watched() as (folder, inbox):
        for number in range(times):
            time.sleep(0.1)
            folder.came.clear()
            (inbox / f"{number}.txt").write_text("a fox")
            closed = time.monotonic()
            folder.came.wait(10)
            taken.append((folder.last - closed) * 1000)
    taken.sort()
    p95 = taken[int(times * 0.95)]
    print(f"drop to claim        {statistics.median(taken):8.1f} ms    under 25 (p95 {p95:.1f})")


def measure_scan(times: int = 7) -> None:
    """Scan ten thousand files, and stat each."""
    taken = []
    with tempfile.TemporaryDirectory() as place:
        fill(Path(place), TEN_THOUSAND)
        for _ in range(times):
            started = time.perf_counter()
            for listing in listings(place, lambda path: None, Notices(time.monotonic)):
                for entry in listing.prompts:
                    entry.stat()
            taken.append((time.perf_counter() - started) * 1000)
    print(f"scan of 10,000       {statistics.median(taken):8.1f} ms    under 100")


def measure_burst(files: int, how: str) -> None:
    """Let another process drop many files at once; measure until the last is claimed."""
    with watched() as (folder, inbox):
        fill(inbox.parent / "beside", files if how == "renamed" else 0)
        rss, cpu = PROCESS.memory_info().rss, cpu_seconds()
        dropper = subprocess.Popen([sys.executable, "-c", DROPPERS[how], str(inbox), str(files)])
        started = time.monotonic()
        dropper.wait()
        dropped = time.monotonic()
        while folder.claimed < files and time.monotonic() - started < 300:
            time.sleep(0.05)
        after = max(0.0, folder.last - dropped)
        used, grown = cpu_seconds() - cpu, (PROCESS.memory_info().rss - rss) / 1e6
    print(
        f"{files:6} {how:8}      {folder.last - started:8.2f} s     of which {after:.2f} s after "
        f"the last was dropped; {folder.claimed} claimed, CPU {used:.2f} s, RSS +{grown:.0f} MB"
    )


def measure_waiting(files: int) -> None:
    """Start beside files that wait; measure until the last is claimed."""
    with tempfile.TemporaryDirectory() as place:
        inbox = Path(place) / "inbox"
        fill(inbox, files)
        started, cpu = time.monotonic(), cpu_seconds()
        folder = Watched(inbox)
        while folder.claimed < files and time.monotonic() - started < 300:
            time.sleep(0.05)
        folder.close()
    took, used = folder.last - started, cpu_seconds() - cpu
    target = 2 if files <= TEN_THOUSAND else 10
    settle = WITH_EVENTS.settle
    print(
        f"{files:6} waiting       {took - settle:8.2f} s     under {target} "
        f"(beside {settle} s to settle; CPU {used:.2f} s)"
    )


DROPPERS = {
    "written": """
import sys
for number in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/{number}.txt", "w") as file:
        file.write("a fox")
""",
    "renamed": """
import os, sys
for number in range(int(sys.argv[2])):
    os.rename(f"{sys.argv[1]}/../beside/{number}.txt", f"{sys.argv[1]}/{number}.txt")
""",
}


def fill(folder: Path, files: int) -> None:
    """Write so many small prompt files."""
    folder.mkdir(exist_ok=True)
    for number in range(files):
        (folder / f"{number}.txt").write_text("a fox")


def cpu_seconds() -> float:
    """Return the CPU time of this process; a dropper is another."""
    times = PROCESS.cpu_times()
    return float(times.user + times.system)


def resting(seconds: float) -> tuple[float, float]:
    """Do nothing; return the share of a CPU used, and voluntary context switches a second."""
    switched = PROCESS.num_ctx_switches().voluntary
    before, started = cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - started
    share = (cpu_seconds() - before) / passed
    return share, (PROCESS.num_ctx_switches().voluntary - switched) / passed


# Peers


class Seen:
    """Names that a peer told of."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.stop = threading.Event()

    def dispatch(self, event: Any) -> None:
        """Hear watchdog."""
        self.names.add(str(event.dest_path or event.src_path))


@contextmanager
def watchdog_inotify(folder: Path) -> Iterator[Seen]:
    """Watchdog as one would use it."""
    peer: Any = importlib.import_module("watchdog.observers")
    with _watchdog(peer.Observer(), folder) as seen:
        yield seen


@contextmanager
def watchdog_polling(folder: Path) -> Iterator[Seen]:
    """Watchdog where no events come."""
    peer: Any = importlib.import_module("watchdog.observers.polling")
    with _watchdog(peer.PollingObserver(timeout=0.75), folder) as seen:
        yield seen


@contextmanager
def _watchdog(observer: Any, folder: Path) -> Iterator[Seen]:
    seen = Seen()
    observer.schedule(seen, str(folder), recursive=True)
    observer.start()
    try:
        yield seen
    finally:
        observer.stop()
        observer.join()


@contextmanager
def watchfiles(folder: Path) -> Iterator[Seen]:
    """Watchfiles as one would use it."""
    peer: Any = importlib.import_module("watchfiles")
    seen = Seen()

    def collect() -> None:
        for changes in peer.watch(folder, stop_event=seen.stop, rust_timeout=500):
            seen.names.update(path for _, path in changes)

    thread = threading.Thread(target=collect)
    thread.start()
    time.sleep(0.5)
    try:
        yield seen
    finally:
        seen.stop.set()
        thread.join()


PEERS = {
    "watchdog": watchdog_inotify,
    "watchdog polling": watchdog_polling,
    "watchfiles": watchfiles,
}


def measure_peer(name: str, peer: Any, chosen: argparse.Namespace) -> None:
    """Let a peer rest beside finished files, then tell of a burst renamed in."""
    if importlib.util.find_spec(name.split()[0]) is None:
        print(f"{name}: not installed, skipped")
        return
    with tempfile.TemporaryDirectory() as place:
        inbox = Path(place) / "inbox"
        fill(inbox, 0)
        fill(inbox / DONE, TEN_THOUSAND)
        with peer(inbox) as seen:
            time.sleep(2)
            share, _ = resting(chosen.idle)
            fill(inbox.parent / "beside", chosen.burst)
            rss, cpu = PROCESS.memory_info().rss, cpu_seconds()
            drop = [sys.executable, "-c", DROPPERS["renamed"], str(inbox), str(chosen.burst)]
            subprocess.run(drop, check=True)
            time.sleep(5)
            used = cpu_seconds() - cpu
            grown = (PROCESS.memory_info().rss - rss) / 1e6
            told = sum(Path(path).parent == inbox for path in list(seen.names))
    print(
        f"{name:18} idle {share:.3%}, told of {told} of {chosen.burst} renamed in, "
        f"CPU {used:.2f} s, RSS +{grown:.0f} MB"
    )


if __name__ == "__main__":
    main()
