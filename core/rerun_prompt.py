"""A request that was made once -> the prompt file that asks for the same again.

Everything is said explicitly, so that changed defaults change nothing, except what the workflow
has no place for: a prompt file that asks for such a thing is refused. Keys at their default are
left out. An input picture lies beside the file under the same stem.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge import workflow
from bridge.errors import WorkflowError
from bridge.request import Request
from bridge.workflow import Workflow
from models import store

ENDING = ".rerun"
_NUMBERS = ("width", "height", "steps", "guidance", "cfg", "seed")
_PROGRAM_SIGNS = ("{", "__")  # without one of them a prompt is taken as it stands


def content(request: Request, template: Workflow, pair: str = "") -> bytes:
    """Return the prompt file's JSON.

    Args:
        request: what is to be made again.
        template: the workflow it names, as it is now.
        pair: the pair to use; empty for the usual one.
    """
    keys = {
        "prompt": request.prompt,
        **({"negative": request.negative} if request.negative else {}),
        **{name: getattr(request, name) for name in _taken(request, template)},
        "lora": [{"name": lora.file, "strength": lora.strength} for lora in request.loras]
        or "none",
        "workflow": request.workflow,
        **({"pair": pair} if pair else {}),
        **dict(_unusual(request)),
    }
    return (json.dumps(keys, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def drop(
    inbox: Path, stem: str, text: bytes, image: Path | None, taken: Callable[[str], bool]
) -> str:
    """Put the file into the inbox, whole or not at all, and return the name it got.

    Args:
        inbox: drop folder.
        stem: of the picture's name.
        text: the file's content.
        image: input picture to lie beside it.
        taken: tells whether a file of this name was ever seen.
    """
    number, name = 1, f"{stem}{ENDING}.json"
    while taken(name):
        number += 1
        name = f"{stem}{ENDING}-{number}.json"
    if image:  # first, so that it is there when the prompt file is claimed
        store.atomic_write(inbox / Path(name).with_suffix(image.suffix), image.read_bytes())
    store.atomic_write(inbox / name, text)
    return name


def _taken(request: Request, template: Workflow) -> Iterator[str]:
    """Yield the numbers that change the graph when they change: those the workflow takes."""
    plain = replace(request, asked=())
    for name in _NUMBERS:
        other: Any = getattr(request, name) + 16
        if name in request.asked or _differ(template, plain, replace(plain, **{name: other})):
            yield name


def _differ(template: Workflow, one: Request, other: Request) -> bool:
    try:
        return workflow.build(template, one, "x") != workflow.build(template, other, "x")
    except WorkflowError:
        return True  # the director will say what is wrong with the workflow


def _unusual(request: Request) -> Iterator[tuple[str, Any]]:
    if request.sampler:
        yield "sampler", request.sampler
    if request.scheduler:
        yield "scheduler", request.scheduler
    if request.denoise is not None:
        yield "denoise", request.denoise
    if request.batch != 1:
        yield "batch", request.batch
    if request.slots:
        yield "slots", dict(request.slots)
    if any(sign in request.prompt for sign in _PROGRAM_SIGNS):
        yield "expand", "off"
