"""Runs a notebook as Kaggle does: all cells, in order, what they print on standard output.

``python -m tests.kaggle_stand_in.execute NOTEBOOK WORKING`` ends with 1 where a cell fails.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.kaggle_stand_in.kaggle_site import Runner

ROOT = Path(__file__).resolve().parents[2]


def notebook_runner(environment: Mapping[str, str] | None = None) -> Runner:
    """Return what executes pushed notebooks in processes of their own.

    Args:
        environment: given to the notebook beside the places of its input and output.
    """

    def run(notebook: Path, inputs: Path, working: Path) -> "subprocess.Popen[str]":
        places = {
            "VULCAN_KAGGLE_INPUT": str(inputs),
            "VULCAN_KAGGLE_WORKING": str(working),
            "VULCAN_KAGGLE_TEMP": str(working.parent / "temp"),
            "IPYTHONDIR": str(working.parent / "ipython"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tests.kaggle_stand_in.execute", str(notebook), str(working)],
            cwd=ROOT,
            env={**os.environ, **places, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def main(notebook: Path, working: Path) -> int:
    """Execute a notebook; return the exit code."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    class Loud(NotebookClient):
        """Prints what cells print, as it comes."""

        def output(self, outs: Any, msg: Any, display_id: Any, cell_index: Any) -> Any:
            made = super().output(outs, msg, display_id, cell_index)
            if msg["msg_type"] == "stream":
                sys.stdout.write(msg["content"]["text"])
                sys.stdout.flush()
            return made

    book = nbformat.read(notebook, as_version=4)
    client = Loud(
        book, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(working)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    finally:
        nbformat.write(book, notebook.with_name("executed.ipynb"))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
