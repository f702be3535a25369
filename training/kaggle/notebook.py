"""Builds the Kaggle notebook of one training: the template, with the plan and the source put in.

The template (``notebook.ipynb``) is what a person reads; two of its cells are filled here. The
result needs nothing of this machine: a person may upload it by hand. Holds no secret.
"""

import base64
import json
from pathlib import Path
from pprint import pformat
from textwrap import wrap
from typing import Any

from models import store
from training.kaggle import known_files, model_file, source_archive
from training.kaggle.model_file import Files
from training.kaggle.preflight import Accelerator
from training.run_plan import Plan

TEMPLATE = Path(__file__).with_suffix(".ipynb")
MAX_RUNTIME = 11 * 3600.0
"""Seconds. Kaggle ends a session after 12 hours, and may keep nothing of one that it ended."""

_WIDTH = 120


def build(
    plan: Plan,
    *,
    max_runtime: float = MAX_RUNTIME,
    files: Files | None = None,
    accelerator: Accelerator | None = None,
    pictures: str = "",
) -> str:
    """Return the notebook's text; the same for the same arguments and source.

    Args:
        plan: what is trained.
        max_runtime: seconds after which the training pauses.
        files: the model files that will do; None: those that are known for the plan's base.
        accelerator: what it computes on; None: T4, and none for the micro Flux.
        pictures: their folder below ``/kaggle/input``; empty: the only one there.

    Raises:
        OSError: the template or the source cannot be read.
    """
    kind = accelerator or (Accelerator.NONE if known_files.is_micro(plan) else Accelerator.T4)
    filled = {
        "parameters": _parameters(plan, max_runtime, files or known_files.of(plan), kind, pictures),
        "source": _source(),
    }
    notebook = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        for tag in cell["metadata"].get("tags", ()):
            if tag in filled:
                cell["source"] = filled[tag].splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def write(path: Path, plan: Plan, **more: Any) -> None:
    """Write the notebook to a file; the arguments are those of :func:`build`.

    Raises:
        OSError: something cannot be read or written.
    """
    store.atomic_write(path, build(plan, **more).encode())


def _parameters(
    plan: Plan, max_runtime: float, files: Files, accelerator: Accelerator, pictures: str
) -> str:
    # Written as Python's own literals: whatever a trigger word holds, it stays a text.
    return "\n".join(
        (
            "# What is trained: run.json, as Vulcan wrote it.",
            f"PLAN = {_literal(plan.model_dump(mode='json'))}",
            "",
            "# The model files that will do, the preferred one first; hashes decide.",
            f"FILES = {_literal(model_file.as_table(files))}",
            "",
            f"MAX_RUNTIME = {max_runtime:g}  # seconds, then it pauses; less if less quota is left",
            f'ACCELERATOR = "{accelerator}"',
            f"PICTURES = {pictures!r}  # folder below /kaggle/input; empty: the only one",
        )
    )


def _literal(value: object) -> str:
    return pformat(value, width=100, sort_dicts=False)


def _source() -> str:
    made = source_archive.make()
    lines = "\n".join(wrap(base64.b64encode(made.content).decode(), _WIDTH))
    return "\n".join(
        (
            f"# {len(made.files)} files, {len(made.content) / 1000:.0f} kB as a zip.",
            f'SOURCE_SHA256 = "{made.sha256}"',
            f'SOURCE = """\n{lines}\n"""',
        )
    )
