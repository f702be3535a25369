"""Template + request -> the graph that is posted. Pure: JSON in, JSON out.

A template is any API-format graph that ComfyUI saves; :mod:`bridge.slots` finds the places to
fill, so a user may rename, renumber or add nodes without touching Python. What the request does
not speak of stays as the user saved it. Files go only where they can be loaded:

* the request's unet goes into a loader of its kind (``.gguf`` into a GGUF loader, others into
  others); a template with a loader of the other kind, or with a checkpoint, keeps its own model,
  and with it its own text encoders and VAE, which belong together;
* a slot that the user named is filled in any case.

What this file refuses to know: which files exist, what a host supports (:mod:`bridge.check`),
and anything about time or place.
"""

from copy import deepcopy
from typing import Any

from bridge.errors import WorkflowError
from bridge.graph import Place, Workflow, copied, free_id, holder, inputs, reference
from bridge.lora_place import place_loras
from bridge.named_slots import INPUTS, STANDARD, TEXT_INPUTS, Slot
from bridge.request import Request, Scalar
from bridge.slots import Slots, find_slots
from bridge.workflow_files import load, named, names

__all__ = ["Slot", "Slots", "Workflow", "build", "find_slots", "load", "named", "names"]

SAVE_IMAGE = "SaveImage"


def build(
    template: Workflow,
    request: Request,
    prefix: str,
    image_name: str = "",
    slots: Slots | None = None,
) -> Workflow:
    """Fill the template's slots; the template itself is left as it was.

    Args:
        template: an API-format graph.
        request: the image.
        prefix: ``filename_prefix`` of the output; with a job id in it an identical graph still
            gets a file of its own (ComfyUI caches nodes whose inputs did not change). Further
            outputs get ``prefix-2``, ``prefix-3`` ...
        image_name: the request's picture as the host knows it (:meth:`HostClient.upload`).
        slots: :func:`find_slots` of the template, for callers that build many of one.

    Raises:
        WorkflowError: the template has no place for something that the request asks for.
    """
    graph = copied(template)
    slots = slots or find_slots(graph, request.workflow)
    own = _own_places(graph, slots, request)
    for slot, value in _values(request, image_name).items():
        _write(graph, slots[slot], value)
    for name, value in request.slots:
        _write(graph, own[name], value)
    _fill_files(graph, slots, request)
    _spread_steps(template, graph, slots)
    _fill_prefixes(graph, slots, prefix)
    missing = _missing(slots, request, image_name)
    if not _place_negative(graph, slots, request):
        missing.append(Slot.NEGATIVE)
    keep = {place.node for places in own.values() for place in places} | _named_nodes(slots)
    asked = Slot.LORA in request.asked
    if not place_loras(graph, slots, request.loras, asked, keep) and asked:
        missing.append(Slot.LORA)
    if missing:
        raise WorkflowError(request.workflow, _no_place(missing))
    return graph


def output_prefixes(template: Workflow, prefix: str) -> tuple[str, ...]:
    """Return the prefix of each output of :func:`build`; empty where its files' names are not sure.

    ``SaveImage`` writes ``PREFIX_00001_.png`` and on; other nodes have rules of their own.
    """
    outputs = find_slots(template).outputs
    if any(template[node]["class_type"] != SAVE_IMAGE for node in outputs):
        return ()
    return tuple(_prefix(prefix, number) for number in range(1, len(outputs) + 1))


def _prefix(prefix: str, output: int) -> str:
    return prefix if output == 1 else f"{prefix}-{output}"


def _values(request: Request, image_name: str) -> dict[Slot, Scalar]:
    """Return what the request says, by slot; what it leaves to the workflow is not there."""
    values: dict[Slot, Scalar] = {
        Slot.PROMPT: request.prompt,
        Slot.SEED: request.seed,
        Slot.WIDTH: request.width,
        Slot.HEIGHT: request.height,
        Slot.BATCH: request.batch,
        Slot.STEPS: request.steps,
        Slot.GUIDANCE: request.guidance,
        Slot.CFG: request.cfg,
    }
    if request.denoise is not None:
        values[Slot.DENOISE] = request.denoise
    texts = {
        Slot.SAMPLER: request.sampler,
        Slot.SCHEDULER: request.scheduler,
        Slot.IMAGE: image_name,
    }
    return values | {slot: text for slot, text in texts.items() if text}


def _write(graph: Workflow, places: tuple[Place, ...], value: Scalar) -> None:
    for place in places:
        inputs(graph, place.node)[place.input] = value


def _own_places(graph: Workflow, slots: Slots, request: Request) -> dict[str, tuple[Place, ...]]:
    """Return the places of the workflow's own slots that the request sets."""
    found: dict[str, tuple[Place, ...]] = {}
    for name, _ in request.slots:
        place = reference(graph, name)
        found[name] = slots[name] or ((place,) if place else ())
        if not found[name]:
            raise WorkflowError(
                request.workflow,
                f"has no slot {name}{_offered(slots)}; title the node that should take it "
                f"vulcan:{name} in ComfyUI and export the workflow again, or write node.input",
            )
    return found


def _offered(slots: Slots) -> str:
    own = sorted(slots.named - STANDARD)
    return f" (its own are: {', '.join(own)})" if own else ""


def _missing(slots: Slots, request: Request, image_name: str) -> list[str]:
    """Return the slots that the prompt file set and that the graph does not have."""
    own = (name for name, _ in request.slots)
    special = {Slot.PROMPT, Slot.NEGATIVE, Slot.LORA, Slot.UNET, *own}
    wanted = dict.fromkeys([*request.asked, *([Slot.IMAGE] if image_name else [])])
    return [str(slot) for slot in wanted if slot not in special and not slots[slot]]


def _no_place(missing: list[str]) -> str:
    lines = []
    for slot in missing:
        looked = " or ".join(INPUTS[Slot(slot)]) if slot in STANDARD else slot
        lines.append(
            f"cannot take {slot}: nothing on the way from its output has an input {looked} that "
            f"holds a value; leave {slot} out of the prompt file, or title the node that should "
            f"take it vulcan:{slot} in ComfyUI and export the workflow again"
        )
    return "; ".join(lines)


def _keeps_its_own(request: Request) -> str:
    return (
        f"loads a model of its own and has no loader for {request.unet} of the pair "
        f"{request.pair}; leave pair out of the prompt file, or use a workflow with "
        "Unet Loader (GGUF)"
    )


def _named_nodes(slots: Slots) -> set[str]:
    return {place.node for slot in slots.named if slot != Slot.LORA for place in slots[slot]}


# --- files ---


def _fill_files(graph: Workflow, slots: Slots, request: Request) -> None:
    unets = _loadable(graph, slots, Slot.UNET, request.unet)
    if Slot.UNET in request.asked and not unets:
        raise WorkflowError(request.workflow, _keeps_its_own(request))
    _write(graph, unets, request.unet)
    first, second = request.text_encoders
    companions = ((Slot.CLIP_L, first), (Slot.T5, second), (Slot.VAE, request.vae))
    for slot, file in companions:
        if unets or slot in slots.named:
            _write(graph, _loadable(graph, slots, slot, file), file)


def _loadable(graph: Workflow, slots: Slots, slot: Slot, file: str) -> tuple[Place, ...]:
    """Return the places whose node can load this file: GGUF nodes take GGUF files.

    ComfyUI-GGUF's unet loaders take nothing else; its text encoder loaders take both kinds.
    """
    if slot in slots.named:
        return slots[slot]
    packed = file.lower().endswith(".gguf")
    loaders = [(place, graph[place.node]["class_type"].lower()) for place in slots[slot]]
    return tuple(
        place
        for place, kind in loaders
        if ("gguf" in kind if packed else slot is not Slot.UNET or "gguf" not in kind)
    )


# --- more than one input at once ---


def _fill_prefixes(graph: Workflow, slots: Slots, prefix: str) -> None:
    """Give each output a prefix of its own, so that a file found by name is the right one."""
    chosen = {p.node: p.input for p in slots[Slot.PREFIX] if Slot.PREFIX in slots.named}
    for number, node in enumerate(slots.outputs, start=1):
        inputs(graph, node)[chosen.get(node, "filename_prefix")] = _prefix(prefix, number)


def _spread_steps(template: Workflow, graph: Workflow, slots: Slots) -> None:
    """Keep the shares of samplers that divide one schedule between them (KSamplerAdvanced)."""
    for sampler in slots.samplers:
        steps = Place(sampler, "steps")
        old, new = _number(template, steps), _number(graph, steps)
        for name in ("start_at_step", "end_at_step"):
            where = holder(template, Place(sampler, name), int)
            at = _number(template, where) if where else None
            if where and old and new and at and at < old:
                _write(graph, (where,), (2 * at * new + old) // (2 * old))  # rounded


def _number(graph: Workflow, place: Place) -> int | None:
    where = holder(graph, place, int)
    value: Any = inputs(graph, where.node)[where.input] if where else None
    return value if isinstance(value, int) else None


def _place_negative(graph: Workflow, slots: Slots, request: Request) -> bool:
    """Fill the negative prompt, adding an encoder where the template zeroes it out.

    Without one in the request, the words that the user saved stay. Returns whether a negative
    that was asked for has found its place.
    """
    asked = Slot.NEGATIVE in request.asked
    if not request.negative and not asked:
        return True
    _write(graph, slots[Slot.NEGATIVE], request.negative)
    if slots[Slot.NEGATIVE] or not request.negative:
        return True
    if not slots.negatives or not slots.texts:
        return not asked
    encoder = deepcopy(graph[slots.texts[0]])
    words = {name: request.negative for name in TEXT_INPUTS if name in encoder["inputs"]}
    encoder["inputs"] |= words
    encoder["_meta"] = {"title": "Negative prompt"}
    node = free_id(graph)
    graph[node] = encoder
    for place in slots.negatives:
        inputs(graph, place.node)[place.input] = [node, 0]
    return True
