"""Runs a Kaggle notebook as Kaggle does, headless, with its three folders somewhere else.

``python -m tests.notebook_kit NOTEBOOK INPUT WORKING TEMP`` is a process that a test, or the
stand-in for Kaggle, may end as a machine is taken away; it prints what the notebook prints.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).resolve().parents[1]


def start(notebook: Path, inputs: Path, working: Path) -> "subprocess.Popen[str]":
    """Begin to run a notebook; its output is what Kaggle's log would hold."""
    temp = working.with_name(f"{working.name}-temp")
    folders = [str(path) for path in (notebook, inputs, working, temp)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.notebook_kit", *folders],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def execute(notebook: Path, inputs: Path, working: Path, timeout: float = 300) -> tuple[int, str]:
    """Run a notebook to its end; its exit code and log."""
    process = start(notebook, inputs, working)
    log, _ = process.communicate(timeout=timeout)
    return process.returncode, log


def environment(inputs: Path, working: Path, temp: Path) -> dict[str, str]:
    """What a kernel is told; nothing of this repository, and no secret of this machine."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "HOME": str(temp),
        "IPYTHONDIR": str(temp / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(temp / "jupyter"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "VULCAN_KAGGLE_INPUT": str(inputs),
        "VULCAN_KAGGLE_WORKING": str(working),
        "VULCAN_KAGGLE_TEMP": str(temp),
    }


def main() -> int:
    """Run a notebook, and print what it prints."""
    path, inputs, working, temp = (Path(argument).resolve() for argument in sys.argv[1:])
    for folder in (inputs, working, temp):
        folder.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.reads(path.read_text(), as_version=4)  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=600,
        resources={"metadata": {"path": str(temp)}},
        on_cell_executed=lambda cell, **_: _show(cell),
    )
    try:
        client.execute(env=environment(inputs, working, temp))
    except nbclient.exceptions.CellExecutionError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


def _show(cell: nbformat.NotebookNode) -> None:
    for output in cell.get("outputs", ()):
        sys.stdout.write(output.get("text", ""))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
