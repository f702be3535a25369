"""What the doctor says of a ComfyUI that answered: version, nodes, models, memory, clock. Pure.

The models are not guessed from the settings: the workflow is filled as for a job, and each of
its values that the host keeps a list for is looked up there. Which URL, and asking it, is the
caller's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bridge.answers import HostFacts
from bridge.catalogue import Catalogue
from bridge.discovery import TESTED, UNET_LOADER, is_tested, nearest
from bridge.doctor_candidates import GGUF_NODES
from bridge.finding import Finding, fine, note, problem, warning
from bridge.workflow import Workflow

GB = 1 << 30
SMALL_GPU = 8 * GB  # below, a quantised Flux is loaded in part
# Free graphics memory below which a 6 GB laptop swaps: ComfyUI keeps 0.6 GB on Windows, wants
# 0.8 GB to compute with, and Windows itself takes up to 1 GB of the 6 (comfyui.md 6).
WANTED_FREE = 4.5 * GB
SMALL_GPU_FLAGS = ("--lowvram", "--reserve-vram 0.6")
MOST_SKEW = 60.0  # seconds between our clock and the host's
# Folder below the host's models folder, by the input that names a file of it.
FOLDERS = {
    "unet_name": "unet",
    "lora_name": "loras",
    "vae_name": "vae",
    "ckpt_name": "checkpoints",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
}


@dataclass(frozen=True, slots=True)
class Need:
    """A value in the graph that the host keeps a list for.

    Attributes:
        class_type: of the node.
        name: of the input.
        value: as the graph has it.
        spelled: as the host spells it, ``None`` when it is not listed.
    """

    class_type: str
    name: str
    value: str
    spelled: str | None


def version(facts: HostFacts) -> Finding:
    """Compare the host's version with those that Vulcan was run against."""
    name, first, last = "host.version", *(".".join(map(str, one)) for one in TESTED)
    tested = first if first == last else f"{first} to {last}"
    if facts.embedded:
        return fine(name, f"Vulcan's embedded host, which follows ComfyUI {facts.version}")
    if is_tested(facts.version):
        return fine(name, f"ComfyUI {facts.version}, which Vulcan was tested with")
    return warning(
        name,
        f"ComfyUI {facts.version}; Vulcan was tested with {tested} only",
        "updates of ComfyUI have broken the GGUF nodes before (ComfyUI#12949, ComfyUI-GGUF#342)",
        f"none as long as pictures come; if not: git checkout v{last} in ComfyUI's folder",
    )


def graph(template: Workflow, catalogue: Catalogue, told: str = "") -> Iterator[Finding]:
    """Look up every node and every listed value of a filled workflow.

    Args:
        template: the graph as it would be posted.
        catalogue: what the host offers.
        told: a node type of which all is said already.
    """
    if told != UNET_LOADER:
        yield _gguf_nodes(catalogue)
    missing = sorted({kind for kind, _ in _nodes(template)} - set(catalogue.class_types))
    for kind in (kind for kind in missing if kind not in (UNET_LOADER, told)):
        yield problem(
            "host.nodes",
            f"the host has no node {kind}, which the workflow uses",
            "it refuses every job with this workflow",
            f"install {GGUF_NODES}" if "GGUF" in kind else "update ComfyUI, or change the workflow",
        )
    wanted = [need for need in needs(template, catalogue) if need.class_type != told]
    for need in wanted:
        if need.spelled is None:
            yield _not_listed(need, nearest(need.value, _listed(need, catalogue)))
        elif need.spelled != need.value:
            yield _spelled_otherwise(need)
    models = [need.value for need in wanted if need.spelled and need.name in FOLDERS]
    if models:
        yield fine("host.models", f"it lists {', '.join(models)}")


def needs(template: Workflow, catalogue: Catalogue) -> Iterator[Need]:
    """Yield the values that the host keeps a list for; links and uploads are none."""
    for class_type, inputs in _nodes(template):
        for declared in catalogue.inputs(class_type):
            value = inputs.get(declared.name)
            if declared.choices is None or declared.uploads or not isinstance(value, str):
                continue
            spelled = catalogue.spelled(class_type, declared.name, value)
            yield Need(class_type, declared.name, value, spelled)


def graphics_memory(facts: HostFacts) -> Finding:
    """Say whether the graphics card has room."""
    name, free, total = "host.vram", facts.vram_free, facts.vram_total
    if not facts.on_gpu or not total:
        return note(
            name,
            f"it renders on the processor ({facts.device})",
            "a picture of the full Flux takes many minutes there",
            "start ComfyUI on the machine with the GPU, without --cpu",
        )
    told = f"{_gb(free)} of {_gb(total)} of graphics memory are free on {facts.device}"
    if total > SMALL_GPU or free >= WANTED_FREE:
        return fine(name, told)
    return warning(
        name,
        told,
        "a Q4 Flux has 6.8 GB and is loaded in part on such a card; with little room left the "
        "driver moves memory to and fro and a step takes many times as long",
        "close browsers, games and other ComfyUIs (nvidia-smi lists them)" + _flags(facts),
    )


def _flags(facts: HostFacts) -> str:
    """Name the launch flags for a small card that ComfyUI was not started with."""
    wanted = [flag for flag in SMALL_GPU_FLAGS if flag.split()[0] not in facts.flags]
    return f"; start ComfyUI with {' '.join(wanted)}" if wanted else ""


def memory(facts: HostFacts, wanted: int) -> Iterator[Finding]:
    """Say whether the host's memory holds the models beside what is there.

    Args:
        facts: of the host.
        wanted: bytes of the model files that a job uses; 0 when they are not known.
    """
    if not facts.ram_total:
        return
    told = f"{_gb(facts.ram_free)} of {_gb(facts.ram_total)} of the host's memory are free"
    if facts.ram_free >= wanted:
        yield fine("host.ram", told)
        return
    yield warning(
        "host.ram",
        f"{told}; the models have {_gb(wanted)}",
        "what does not fit is read from the disk again for each picture",
        "close other programs, or use a smaller text encoder (a GGUF T5: director.py quantize)",
    )


def clock(date: float | None, now: float) -> Iterator[Finding]:
    """Compare the host's clock with ours; WSL's stands still while Windows sleeps.

    Args:
        date: the host's, seconds since the epoch; ``None`` when it did not say.
        now: ours at the same moment.
    """
    if date is None:
        return
    if abs(now - date) <= MOST_SKEW:
        yield fine("host.clock", "its clock and ours agree")
        return
    yield warning(
        "host.clock",
        f"its clock and ours differ by {abs(now - date):.0f} s",
        "pictures are named after our day, and times of jobs are wrong",
        "in WSL: sudo hwclock -s (its clock stands still while Windows sleeps)",
    )


def _nodes(template: Workflow) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((entry["class_type"], entry["inputs"]) for entry in template.values())


def _gguf_nodes(catalogue: Catalogue) -> Finding:
    if UNET_LOADER in catalogue:
        return fine("host.gguf", "it has the GGUF nodes")
    return problem(
        "host.gguf",
        f"it has no GGUF nodes ({UNET_LOADER} is missing)",
        "without them a ComfyUI cannot load a quantised Flux",
        f"in its custom_nodes folder: git clone {GGUF_NODES} && "
        "pip install -r ComfyUI-GGUF/requirements.txt, then restart it",
    )


def _spelled_otherwise(need: Need) -> Finding:
    return note(
        "host.spelling",
        f"{need.value} is listed as {need.spelled}",
        "this host writes folders with backslashes and compares letter by letter",
        "none: jobs are sent with the host's own spelling",
    )


def _listed(need: Need, catalogue: Catalogue) -> tuple[str, ...]:
    return catalogue.choices(need.class_type, need.name) or ()


def _not_listed(need: Need, near: str) -> Finding:
    folder = FOLDERS.get(need.name)
    name = "host.models" if folder else "host.values"
    fix = (
        f"copy {need.value} to the host's models/{folder} folder, or set another one ({near})"
        if folder
        else f"choose another value in the workflow ({near})"
    )
    what = f"the host does not list {need.value} for {need.class_type}.{need.name}"
    return problem(name, what, "it refuses every job that uses it", fix)


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB"
