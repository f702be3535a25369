"""Workflows on disk: a folder of graphs as ComfyUI exports them, asked for by name.

``NAME.json`` is the graph; ``NAME.toml`` beside it may name slots (:mod:`bridge.named_slots`).
Whatever a file holds, the answer is a graph that can be walked and sent, or a sentence that says
what is wrong with it. What this file refuses to know: what is in a graph beyond its shape.
"""

import difflib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bridge.errors import WorkflowError
from bridge.graph import Workflow, inputs, is_node
from bridge.named_slots import mark

LARGEST = 10_000_000  # bytes; the largest graphs that people share are a tenth of it
SHOWN = 20  # names of other workflows in one complaint
SUFFIX = ".json"


def names(folder: Path) -> tuple[str, ...]:
    """Return the names of a folder's workflows, sub-folders included, sorted."""
    try:
        found = [path for path in folder.rglob(f"*{SUFFIX}") if path.is_file()]
    except OSError:
        return ()
    return tuple(sorted(path.relative_to(folder).with_suffix("").as_posix() for path in found))


def named(folder: Path, name: str) -> Workflow:
    """Read the workflow of this name.

    Args:
        folder: of workflows.
        name: without suffix, sub-folders with forward slashes: ``portraits/two_stage``.

    Raises:
        WorkflowError: a name that leads out of the folder, or nothing there (what is there, and
            the nearest), or a file that is no workflow.
    """
    inside = PurePosixPath(name.replace("\\", "/").removesuffix(SUFFIX))
    if inside.is_absolute() or ".." in inside.parts or ":" in name or not inside.name:
        raise WorkflowError(
            name, f"names no workflow in {folder}; write a name below that folder, without .."
        )
    return load(folder / f"{inside}{SUFFIX}", folder, str(inside))


def load(path: Path, folder: Path | None = None, name: str = "") -> Workflow:
    """Read a workflow file and the slots that a file beside it names.

    Links whose node id is a number are repaired: ComfyUI takes only text there.

    Args:
        path: of the JSON file.
        folder: where others are looked for when this one is not there; its own if left out.
        name: for complaints; the file's stem if left out.

    Raises:
        WorkflowError: not there, too large, not JSON, saved in the editor's format, empty, or
            something that is no node; or a bad file of slots.
    """
    name = name or path.stem
    graph = _graph(_json(_content(path, folder or path.parent, name), name), path, name)
    mark(graph, _slots(path.with_suffix(".toml"), name), name)
    return graph


def _content(path: Path, folder: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise WorkflowError(name, _not_there(path, folder, name, error)) from error
    if len(content) > LARGEST:
        raise WorkflowError(
            name,
            f"{path} is larger than {LARGEST // 1_000_000} MB, so it is no workflow; "
            "name the API-format file that ComfyUI exported",
        )
    return content


def _not_there(path: Path, folder: Path, name: str, error: Exception) -> str:
    why = getattr(error, "strerror", None) or str(error)
    known = names(folder)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"{path} cannot be read ({why}); did you mean {near[0]}? There are: {_list(known)}"
    there = f"; there are: {_list(known)}" if known else ""
    return (
        f"{path} cannot be read ({why}){there}; put a workflow there that ComfyUI exported with "
        "Workflow > Export (API)"
    )


def _list(known: Sequence[str]) -> str:
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more


def _json(content: bytes, name: str) -> Any:
    try:
        graph = json.loads(content.decode("utf-8-sig"))
        # What is sent is JSON again, which knows neither NaN and Infinity nor half a character.
        json.dumps(graph, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise WorkflowError(name, f"{name}{SUFFIX} is not JSON that can be sent: {why}") from error
    return graph


def _graph(graph: Any, path: Path, name: str) -> Workflow:
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        raise WorkflowError(
            name,
            f"{path} is in the editor's format, which only the editor can run; open it in ComfyUI "
            "and use Workflow > Export (API)",
        )
    if not isinstance(graph, dict):
        raise WorkflowError(name, f"{path} is no API-format graph: it holds no object of nodes")
    if not graph:
        raise WorkflowError(name, f"{path} is no API-format graph: it is empty")
    for node, entry in graph.items():
        if not is_node(entry):
            raise WorkflowError(
                name,
                f"{path} is no API-format graph: {node!r} is no node with class_type and inputs; "
                "use Workflow > Export (API) in ComfyUI",
            )
    return _repaired(Workflow(graph))


def _repaired(graph: Workflow) -> Workflow:
    for node in graph:
        for value in inputs(graph, node).values():
            if isinstance(value, list) and len(value) == 2 and type(value[0]) is int:
                value[0] = str(value[0])
        if not isinstance(graph[node].get("_meta", {}), dict):
            del graph[node]["_meta"]
    return graph


def _slots(path: Path, name: str) -> dict[str, Any]:
    """Read the ``[slots]`` of the file beside a workflow; without a file there are none."""
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WorkflowError(name, f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise WorkflowError(name, f"{path} is not TOML: {error}") from error
    slots = read.pop("slots", {})
    if read or not isinstance(slots, dict):
        raise WorkflowError(
            name, f'{path} may hold one table only: [slots], with lines like seed = "25.noise_seed"'
        )
    return slots
