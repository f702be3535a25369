"""Kills the director, its host and the wires between them at random, and counts what is lost.

    python -m benchmarks.torture [--jobs 2000] [--kills 200] [--seed N]
    python -m benchmarks.torture --host comfyui --comfyui DIR --jobs 300 --kills 60

Runs the real command as a process against the fault host (or the real ComfyUI) as another, with
a proxy between, all in a temporary folder. At the end everything is judged from outside. Exit
code 1 when anything was lost, filed twice, paired wrongly or left behind, or came back too late.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from tests.chaos_proxy import proxied
from tests.torture.grounds import Site
from tests.torture.hosts import ComfyProcess, FaultHostProcess
from tests.torture.run import Outcome, Plan, Torture
from tests.torture.verdict import shows_colour, shows_hash

RESUMED_WITHIN = 10.0  # seconds
EXAMPLES = 5  # of each fault that are printed
WORKFLOW = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
        "_meta": {"title": "vulcan:seed=color"},
    },
    "2": {
        "class_type": "PrimitiveStringMultiline",
        "inputs": {"value": ""},
        "_meta": {"title": "vulcan:prompt"},
    },
    "9": {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "vulcan"},
        "_meta": {"title": "Save"},
    },
}


def main() -> int:
    """Torture, print, judge."""
    given = _arguments()
    plan = Plan(given.jobs, given.kills, given.seed)
    with tempfile.TemporaryDirectory(prefix="vulcan-torture-") as folder:
        outcome = (comfyui if given.host == "comfyui" else fault)(plan, Path(folder), given)
        good = report(outcome)
        if not good and given.keep:
            _keep(Path(folder), given.keep)
    return 0 if good else 1


def fault(plan: Plan, folder: Path, given: argparse.Namespace) -> Outcome:
    """Torture against the fault host, whose jobs take about 40 ms."""
    host = FaultHostProcess(folder / "host", step_time=0.012)
    host.start()
    try:
        with proxied(host.port) as proxy:
            site = Site(folder / "site", proxy.url)
            try:
                return Torture(plan, site, host, proxy, shows_hash).run()
            finally:
                site.close()
    finally:
        host.kill()


def comfyui(plan: Plan, folder: Path, given: argparse.Namespace) -> Outcome:
    """Torture against the real ComfyUI: pictures of one colour, which is the seed."""
    workflows = folder / "workflows"
    workflows.mkdir()
    (workflows / "torture.json").write_text(json.dumps(WORKFLOW))
    host = ComfyProcess(given.comfyui.resolve(), folder / "host")
    host.start()
    try:
        with proxied(host.port) as proxy:
            settings = {
                "folders": f'workflows = "{workflows}"\n',
                "defaults": 'workflow = "torture"\n',
            }
            site = Site(folder / "site", proxy.url, settings)
            try:
                return Torture(plan, site, host, proxy, shows_colour, seeds_told=True).run()
            finally:
                site.close()
    finally:
        host.kill()


def report(outcome: Outcome) -> bool:
    """Print what came of it; tell whether all is well."""
    verdict = outcome.verdict
    print(f"{outcome.jobs} jobs, {sum(outcome.strikes.values())} strikes, {outcome.seconds:.0f} s")
    for kind, count in outcome.strikes.most_common():
        times = outcome.resumed.get(kind, [])
        print(f"  {kind:24} {count:4}   {_resumed(times)}")
    for name in ("lost", "twice", "wrong", "journal", "files", "scraps"):
        found = getattr(verdict, name)
        print(f"{name:12} {len(found):5}   " + "; ".join(found[:EXAMPLES]))
    if outcome.saves is not None:
        print(f"renders per job {outcome.saves / max(1, outcome.jobs):.3f}")
    print(f"directors that ended by themselves {outcome.ended_alone}")
    print(f"slowest to resume {outcome.slowest():.2f} s   at most {RESUMED_WITHIN:.0f}")
    if outcome.stuck:
        print("given up: no picture came any more")
    return verdict.good() and not outcome.stuck and outcome.slowest() <= RESUMED_WITHIN


def _resumed(times: list[float]) -> str:
    if not times:
        return ""
    return f"resumed after {statistics.median(times):5.2f} s, at most {max(times):5.2f} s"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--host", choices=("fault", "comfyui"), default="fault")
    parser.add_argument("--comfyui", type=Path, help="folder of a ComfyUI with its own .venv")
    parser.add_argument("--keep", type=Path, help="where logs and journal go when it fails")
    given = parser.parse_args()
    if given.host == "comfyui" and not given.comfyui:
        parser.error("--host comfyui needs --comfyui DIR")
    return given


def _keep(folder: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in (folder / "site").rglob("*.log"):
        (target / path.name).write_bytes(path.read_bytes())
    for path in (folder / "host").glob("*.log"):
        (target / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
