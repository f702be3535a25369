"""The stand-in really runs notebooks: their cells, their input and output, and their end."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kaggle_kit import a_package, kaggle
from tests.kaggle_stand_in.execute import notebook_runner
from tests.kaggle_stand_in.process_tree import kill_tree
from training.kaggle import cloud_run
from training.kaggle.cloud_log import log
from training.kaggle.cloud_output import fetch
from training.kaggle.dataset_upload import upload
from training.kaggle.values import CloudState, Want


def notebook(*cells: str) -> str:
    made = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "source": cell,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for number, cell in enumerate(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


TWO_CELLS = notebook(
    """
import os, pathlib, subprocess, sys
source = pathlib.Path(os.environ["VULCAN_KAGGLE_INPUT"])
working = pathlib.Path(os.environ["VULCAN_KAGGLE_WORKING"])
(data,) = source.glob("*-data")
print("pictures:", len(list(data.glob("*.png"))))
""",
    """
(working / "run" / "samples").mkdir(parents=True)
earlier = len(list(source.glob("*/run/samples/*.png")))
(working / "run" / "samples" / f"step-00000{earlier}-1.png").write_bytes(b"PNG")
print("earlier:", earlier)
assert earlier < 1, "this has run before"
""",
)


def test_cells_run_in_order_with_input_and_output_of_the_run_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path, notebook_runner()) as (stand_in, account):
        run, made = a_package(tmp_path, TWO_CELLS)
        upload(account, made)
        cloud_run.push(account, made, resume=False, timeout_s=60)
        stand_in.site.wait_over(made.slug)
        assert log(account, made.slug)[-2:] == ["pictures: 3", "earlier: 0"]
        assert cloud_run.status(account, made.slug).state is CloudState.COMPLETE
        files = fetch(account, made.slug, run, Want.PROGRESS).files
        assert files == ("samples/step-000000-1.png",)
        cloud_run.push(account, made, resume=True, timeout_s=60)
        stand_in.site.wait_over(made.slug)
        assert cloud_run.status(account, made.slug).state is CloudState.ERROR
        lines = log(account, made.slug)
        assert "earlier: 1" in lines
        assert any("this has run before" in line for line in lines)


SLEEPERS = notebook(
    """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
pathlib.Path(os.environ["VULCAN_KAGGLE_WORKING"], "pids").write_text(f"{os.getpid()} {child.pid}")
print("asleep", flush=True)
time.sleep(60)
"""
)


def test_a_machine_that_is_taken_away_takes_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    with kaggle(monkeypatch, tmp_path, notebook_runner()) as (stand_in, account):
        _, made = a_package(tmp_path, SLEEPERS)
        upload(account, made)
        cloud_run.push(account, made, resume=False, timeout_s=60)
        version = stand_in.site.kernels[made.slug].versions[0]
        eventually(lambda: "asleep\n" in version.log, 30)
        stand_in.site.preempt(made.slug)
        stand_in.site.wait_over(made.slug)
        assert version.state == "ERROR"
        pids = (version.working / "pids").read_text().split()
        assert len(pids) == 2
        for pid in pids:
            assert not _lives(int(pid))


def _lives(pid: int) -> bool:
    """Tell whether a process is there and is no corpse that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_that_is_gone_is_no_error_to_kill() -> None:
    child = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(child, 0)
    kill_tree(child)
