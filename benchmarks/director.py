"""What the director costs: start-up, memory, idle CPU, and the way from a drop to a POST.

    python -m benchmarks.director [--idle SECONDS]

Runs the real command with the embedded host and the micro set in a temporary folder, and prints
medians beside the figures aimed at. A noisy machine shows: read the ratios, run it again.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
DIRECTOR = [sys.executable, str(ROOT / "core" / "director.py")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.director")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to watch it do nothing")
    idle = parser.parse_args().idle
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        bare = median_seconds([sys.executable, "-c", "pass"])
        helped = median_seconds([*DIRECTOR, "--help"])
        told = f"under 500 (bare Python {bare * 1000:.0f})"
        print(f"--help               {helped * 1000:6.0f} ms   {told}")
        run_once(site)
        watching = statistics.median(seconds_to_watching(site) for _ in range(5))
        print(f'"watching" after     {watching * 1000:6.0f} ms   under 1500')
        measure_running(site, idle)


def measure_running(site: Path, idle: float) -> None:
    """Start a director, wait until its host is warm, and look at it."""
    with start(site) as director:
        wait_for(director, "watching")
        (site / "inbox" / "warm.txt").write_text("a fox\n")
        until(lambda: list((site / "outbox").glob("*warm*")))
        drops = sorted(seconds_to_post(site, number) for number in range(20))
        time.sleep(2)
        process = psutil.Process(director.pid)
        before, started = sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(idle)
        share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - started)
        rss = process.memory_info().rss
        print(f"RSS                  {rss / 1e6:6.1f} MB   under 100")
        print(f"idle CPU             {share:6.2%}      under 1 %")
        median = statistics.median(drops)
        print(f"drop to picture      {median * 1000:6.0f} ms   (median of {len(drops)})")
        director.terminate()


def seconds_to_post(site: Path, number: int) -> float:
    """Drop one small prompt file and wait for its picture."""
    name = f"n{number}"
    started = time.monotonic()
    text = f"prompt: fox {number}\nwidth: 64\nheight: 64\nsteps: 1\n"
    (site / "inbox" / f"{name}.yaml").write_text(text)
    until(lambda: list((site / "outbox").glob(f"*_{name}_*.png")))
    return time.monotonic() - started


def median_seconds(command: list[str], times: int = 7) -> float:
    """Run a command several times; return the median of its wall times."""
    taken = []
    for _ in range(times):
        started = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.monotonic() - started)
    return statistics.median(taken)


def seconds_to_watching(site: Path) -> float:
    """Start a director; return the time until it watches."""
    started = time.monotonic()
    with start(site) as director:
        wait_for(director, "watching")
        taken = time.monotonic() - started
        director.kill()
    return taken


def run_once(site: Path) -> None:
    """Make models and host ready, so that later starts show the director alone."""
    with start(site, "--once") as director:
        director.communicate()


def start(site: Path, *more: str) -> "subprocess.Popen[str]":
    """Start a director in a folder of its own."""
    folders = [f"--{name}={site / name}" for name in ("inbox", "outbox", "models")]
    return subprocess.Popen(
        [*DIRECTOR, "--host=embedded", *folders, *more],
        env={**os.environ, "VULCAN_STATE": str(site / "state")},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(director: "subprocess.Popen[str]", word: str) -> None:
    """Read the log until a line holds a word."""
    assert director.stderr is not None
    for line in director.stderr:
        if word in line:
            return
    raise SystemExit("the director ended")


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"nothing after {seconds} s")
        time.sleep(0.002)


if __name__ == "__main__":
    main()
