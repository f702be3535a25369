"""The embedded host under fire: ``python -m benchmarks.host_fuzz [--shots 5000] [--seed 1]``.

Starts a real host and sends it what no client would send (:mod:`tests.fuzz_kit`). Says how the
shots were answered, and ends with 1 if one was answered 5xx or not at all, if the host is gone or
has written outside its folders, or if its log has a traceback.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.host_load import memory, post
from tests.fuzz_kit import Shot, fire, graph, outside, shots

ROOT = Path(__file__).resolve().parents[1]
NOT_UTF_8 = "UnicodeDecodeError"
"""uvicorn logs a text frame that is not UTF-8 with a traceback, and closes properly (1007)."""


@contextmanager
def host(root: Path, log: Path) -> Iterator[tuple[int, int]]:
    """Run a host; give its port and process id."""
    folders = [f"--{name}={root / name}" for name in ("models", "output", "input", "temp")]
    command = [sys.executable, "-m", "host", "--port=0", "--die-with-stdin", *folders]
    with (
        log.open("w") as said,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        line = json.loads(child.stdout.readline())
        try:
            yield int(line["url"].rpartition(":")[2]), child.pid
        finally:
            child.stdin.close()


def is_bad(answer: int | str | None) -> bool:
    """Return whether an answer is none that a host may give."""
    return isinstance(answer, str) or (answer is not None and answer >= 500)


def answer_to(port: int, shot: Shot) -> int | str | None:
    """Return the status that a shot gets, None for a closed connection, else what went wrong."""
    try:
        return fire(port, shot)
    except OSError as error:
        return repr(error)


def still_works(port: int) -> bool:
    """Return whether a job goes through."""
    post(port, "/queue", {"clear": True, "delete": []}, empty=True)
    job = post(port, "/prompt", {"prompt": graph(random.Random(0))})["prompt_id"]
    end = time.monotonic() + 30
    while time.monotonic() < end:
        entry = post(port, f"/history/{job}", None).get(job)
        if entry:
            return bool(entry["status"]["completed"])
        time.sleep(0.05)
    return False


def tracebacks(log: str) -> list[str]:
    """Return the last lines of the tracebacks in a log, but for the known one."""
    found = []
    for part in log.split("Traceback (most recent call last):")[1:]:
        lines = [line for line in part.splitlines() if line and not line.startswith(" ")]
        found.append(lines[0] if lines else "?")
    return [line for line in found if NOT_UTF_8 not in line]


def main(argv: list[str]) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.host_fuzz")
    parser.add_argument("--shots", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(argv)
    counts: Counter[str] = Counter()
    bad: list[str] = []
    with tempfile.TemporaryDirectory() as top:
        root, log = Path(top) / "a" / "b", Path(top) / "log"
        root.mkdir(parents=True)
        begun, slowest = time.monotonic(), 0.0
        with host(root, log) as (port, pid):
            for shot in shots(chosen.seed, chosen.shots):
                start = time.monotonic()
                answer = answer_to(port, shot)
                slowest = max(slowest, time.monotonic() - start)
                counts[str(answer)] += 1
                if is_bad(answer):
                    bad.append(f"{shot.name}: {answer}: {shot.payload[:200]!r}")
            took, size, works = time.monotonic() - begun, memory(pid), still_works(port)
        strange = {path for path in outside(root) if path.is_file()}
        strange |= set(Path(top).iterdir()) - {root.parent, log}
        strange |= set(root.parent.iterdir()) - {root}
        found = tracebacks(log.read_text(errors="replace"))
    print(f"{chosen.shots} shots in {took:.1f} s, the slowest {slowest:.2f} s; {dict(counts)}")
    print(f"works afterwards: {works}; {size:.0f} MiB; files outside: {sorted(map(str, strange))}")
    print(f"tracebacks: {dict(Counter(found))}")
    for line in bad[:20]:
        print(line)
    return int(bool(bad or strange or found or not works))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
