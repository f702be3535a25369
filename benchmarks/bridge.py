"""What the director adds to a job, and what it costs while there is nothing to do.

    python -m benchmarks.bridge [--huge] [--idle SECONDS] [--only NAME ...]

Runs the real command against the fault host, each a process of its own, in a temporary folder,
and a hand-written client against the same host in turn with it. Every figure stands beside the
one aimed at. A noisy machine shows: read the ratios, run it again.
"""

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from benchmarks.raw_client import RawClient
from tests.torture.grounds import ROOT, UNET, Director, Site
from tests.torture.hosts import FaultHostProcess

ROUNDS, IN_A_ROW = 7, 40
NAMES = ("overhead", "throughput", "busy", "many", "idle", "drop")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridge")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds to watch it do nothing")
    parser.add_argument("--many", type=int, default=10_000, help="prompt files at once")
    parser.add_argument("--huge", action="store_true", help="50,000 prompt files too")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    given = parser.parse_args()
    for name in given.only:
        with tempfile.TemporaryDirectory(prefix="vulcan-bridge-") as folder:
            bench = Bench(Path(folder))
            try:
                getattr(bench, name)(given)
            finally:
                bench.close()
    if given.huge:
        with tempfile.TemporaryDirectory(prefix="vulcan-bridge-") as folder:
            bench = Bench(Path(folder))
            try:
                bench.journaled(50_000)
            finally:
                bench.close()
    return 0


def show(what: str, figure: str, target: str) -> None:
    """Print one figure beside what is aimed at."""
    print(f"{what:44} {figure:>12}   {target}", flush=True)


class Bench:
    """A host, a director and a raw client in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._host = FaultHostProcess(folder / "host")
        self._host.start()
        self._site = Site(folder / "site", self._host.url, disk_megabytes=None)
        self._directors: list[Director] = []
        self._dropped = 0

    def close(self) -> None:
        """End everything."""
        for director in self._directors:
            if director.alive():
                director.kill()
        self._host.kill()
        self._site.close()

    # The figures

    def overhead(self, _: argparse.Namespace) -> None:
        """Time per job in a row, and from POST to picture of one alone, against the raw client."""
        self._director()
        rows, alone, raw_rows, raw_alone = [], [], [], []
        with self._raw() as raw:
            for _round in range(ROUNDS):
                raw_rows.append(timed(lambda: raw.one_after_the_other(IN_A_ROW)) / IN_A_ROW)
                rows.append(self._span(self._drop_and_wait(IN_A_ROW)) / IN_A_ROW)
                for _one in range(5):
                    raw_alone.append(timed(lambda: raw.one_after_the_other(1)))
                    alone.append(self._span(self._drop_and_wait(1)))
        for what, ours, theirs in (
            ("per job, in a row", rows, raw_rows),
            ("per job, POST to picture, one alone", alone, raw_alone),
        ):
            added = statistics.median(a - b for a, b in zip(ours, theirs, strict=True))
            raw_ms = statistics.median(theirs) * 1000
            show(what, f"{added * 1000:+.1f} ms", f"over raw's {raw_ms:.1f} ms; under 5")

    def throughput(self, _: argparse.Namespace) -> None:
        """Jobs per second with 100 queued, as a share of the raw client's."""
        self._director()
        ours, theirs = [], []
        with self._raw() as raw:
            for _round in range(ROUNDS):
                theirs.append(100 / timed(lambda: raw.all_up_front(100)))
                ours.append(100 / self._span(self._drop_and_wait(100)))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        rate = statistics.median(ours)
        show("throughput, 100 queued", f"{ratio:.2f} x", f"({rate:.0f} jobs/s) at least 0.9")

    def busy(self, _: argparse.Namespace) -> None:
        """Share of the wall time in which the host works, 200 jobs of about 100 ms."""
        self._director()
        self._drop_and_wait(3)
        self._host.set(step_time=0.0333, busy=0.0, first=0.0)
        self._drop_and_wait(200)
        state = self._host.state()
        share = state["busy"] / (state["last"] - state["first"])
        show("host busy, 200 jobs of 100 ms", f"{share:.1%}", "at least 97 %")

    def drop(self, _: argparse.Namespace) -> None:
        """From a file written and closed to the POST at the host."""
        self._director()
        self._drop_and_wait(1)
        taken = []
        for _one in range(40):
            posts = len(self._deeds("post"))
            self._drop(1)
            closed = time.monotonic()
            until(lambda posts=posts: len(self._deeds("post")) > posts)  # type: ignore[misc] # bound now
            taken.append(self._deeds("post")[posts][0] - closed)
            time.sleep(0.2)
        p50, p95 = statistics.median(taken) * 1000, sorted(taken)[-3] * 1000
        show("drop to POST, p50", f"{p50:.0f} ms", f"(p95 {p95:.0f}) under 50")

    def idle(self, given: argparse.Namespace) -> None:
        """Processor, wake-ups and memory of a director that has nothing to do."""
        director = self._director()
        self._drop_and_wait(1)
        time.sleep(3)
        process = psutil.Process(director.process.pid)
        before, woken, since = sum(process.cpu_times()[:2]), switches(process.pid), time.monotonic()
        time.sleep(given.idle)
        seconds = time.monotonic() - since
        share = (sum(process.cpu_times()[:2]) - before) / seconds
        show("idle CPU", f"{share:.2%}", "under 0.3 %")
        show("idle wake-ups", f"{(switches(process.pid) - woken) / seconds:.1f} /s", "no storm")
        show("idle RSS", f"{process.memory_info().rss / 1e6:.0f} MB", "under 80")

    def many(self, given: argparse.Namespace) -> None:
        """Many prompt files at once, and a restart with all of them open."""
        director = self.journaled(given.many)
        self._host.set(paused=False, step_time=0.05)
        director.kill()
        posts, since = len(self._deeds("post")), time.monotonic()
        again = self._director(wait=False)
        until(lambda: self._watching() > 1)
        show(
            "restart with these open, until watching",
            f"{time.monotonic() - since:.2f} s",
            "under 2",
        )
        until(lambda: len(self._deeds("post")) > posts)
        first = self._deeds("post")[posts][0] - since
        show("  until the first POST", f"{first:.2f} s", "")
        show("  RSS", f"{rss(again):.0f} MB", "under 150")

    def journaled(self, count: int) -> Director:
        """Drop so many files at once and wait until all are in the journal."""
        director = self._director()
        self._host.set(paused=True)
        since = time.monotonic()
        for number in range(count):
            (self._site.inbox / f"m{number:06}.txt").write_text(f"a fox, number {number}\n")
        dropped = time.monotonic() - since
        until(lambda: self._jobs() >= count, 600)
        taken = time.monotonic() - since
        show(f"{count} files at once, all journaled", f"{taken:.1f} s", f"({dropped:.1f} to write)")
        show("  highest RSS", f"{peak(director):.0f} MB", "under 150")
        show("  lost", f"{count - self._jobs()}", "0")
        return director

    # Doing

    def _director(self, wait: bool = True) -> Director:
        before = self._watching()
        self._directors.append(self._site.director())
        if wait:
            until(lambda: self._watching() > before)
            time.sleep(1.0)
        return self._directors[-1]

    def _watching(self) -> int:
        log = self._site.log
        return log.read_text().count("watching") if log.exists() else 0

    @contextmanager
    def _raw(self) -> Iterator[RawClient]:
        graph = json.loads((ROOT / "configs" / "workflows" / "txt2img.json").read_text())
        graph["1"]["inputs"]["unet_name"] = UNET
        folder = self._folder / "raw"
        folder.mkdir()
        with closing(RawClient(self._host.port, graph, "11", ("8", "seed"), folder)) as raw:
            yield raw

    def _drop(self, count: int) -> str:
        self._dropped += 1
        stem = f"d{self._dropped:04}"
        text = f"prompt: a fox, {stem}\nseed: {self._dropped * 1000}\ncount: {count}\n"
        (self._site.inbox / f"{stem}.yaml").write_text(text)
        return stem

    def _drop_and_wait(self, count: int) -> tuple[float, list[Path]]:
        """Drop a file; return when its first POST came, and its pictures."""
        posts, before = len(self._deeds("post")), self._site.made()
        stem = self._drop(count)
        until(lambda: self._site.made() >= before + count)
        time.sleep(0.1)
        pictures = [path for path in self._site.pictures() if stem in path.name]
        return self._deeds("post")[posts][0], pictures

    def _span(self, made: tuple[float, list[Path]]) -> float:
        """Return seconds from the first POST to the last picture's naming (its ctime)."""
        first, pictures = made
        named = max(path.stat().st_ctime_ns for path in pictures) / 1e9
        return named - (time.time() - time.monotonic()) - first

    def _deeds(self, what: str) -> list[tuple[float, str]]:
        lines = [line.split() for line in self._host.deeds.read_text().splitlines()]
        return [(float(at), job) for at, kind, job in lines if kind == what]

    def _jobs(self) -> int:
        with closing(sqlite3.connect(self._site.state / "journal.sqlite", timeout=30)) as db:
            return int(db.execute("SELECT count(*) FROM jobs").fetchone()[0])


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    since = time.monotonic()
    work()
    return time.monotonic() - since


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"nothing after {seconds} s")
        time.sleep(0.02)


def switches(pid: int) -> int:
    """Return how often the threads of a process were woken."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = (task / "status").read_text()
        total += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return total


def rss(director: Director) -> float:
    """Return a director's memory in megabytes."""
    return float(psutil.Process(director.process.pid).memory_info().rss / 1e6)


def peak(director: Director) -> float:
    """Return the highest memory of a director so far, in megabytes."""
    status = Path(f"/proc/{director.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


if __name__ == "__main__":
    sys.exit(main())
