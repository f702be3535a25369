"""What the doctor says of a ComfyUI that answered: version, nodes, models, memory, clock. Pure.

The models are not guessed from the settings: the workflow is filled as for a job, and checked as
one is before it is submitted (:mod:`bridge.check`). Which URL, and asking it, is the caller's.
"""

from collections.abc import Iterator

from bridge.answers import HostFacts
from bridge.catalogue import Catalogue
from bridge.check import check, respelled
from bridge.discovery import TESTED, UNET_LOADER, is_tested
from bridge.finding import Finding, fine, note, problem, warning
from bridge.graph_problem import GGUF_SOURCE, Kind, Problem, is_file
from bridge.workflow import Workflow

GB = 1 << 30
SMALL_GPU = 8 * GB  # below, a quantised Flux is loaded in part
# Free graphics memory below which a 6 GB laptop swaps: ComfyUI keeps 0.6 GB on Windows, wants
# 0.8 GB to compute with, and Windows itself takes up to 1 GB of the 6 (comfyui.md 6).
WANTED_FREE = 4.5 * GB
# Leaves others more room. Not --lowvram: it splits no more than ComfyUI does anyway (docs/vram.md).
SMALL_GPU_FLAGS = ("--reserve-vram 1.0",)
MOST_SKEW = 60.0  # seconds between our clock and the host's


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
    """Say what the host would refuse about a filled workflow, and which models it has.

    Args:
        template: the graph as it would be posted.
        catalogue: what the host offers.
        told: a node type of which all is said already.
    """
    if told != UNET_LOADER:
        yield _gguf_nodes(catalogue)
    for refused in check(respelled(template, catalogue), catalogue):
        lacks_unet_loader = refused.class_type == UNET_LOADER and refused.kind is Kind.NODE
        if refused.class_type != told and not lacks_unet_loader:
            yield _refused(refused)
    yield from _listed(template, catalogue)


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


def _gguf_nodes(catalogue: Catalogue) -> Finding:
    if UNET_LOADER in catalogue:
        return fine("host.gguf", "it has the GGUF nodes")
    return problem(
        "host.gguf",
        f"it has no GGUF nodes ({UNET_LOADER} is missing)",
        "without them a ComfyUI cannot load a quantised Flux",
        f"in its custom_nodes folder: git clone {GGUF_SOURCE} && "
        "pip install -r ComfyUI-GGUF/requirements.txt, then restart it",
    )


def _refused(refused: Problem) -> Finding:
    what = f"the host would refuse node {refused.node} ({refused.class_type}): {refused.what}"
    why = "every job with this workflow fails"
    return problem(f"host.{refused.kind}", what, why, refused.fix)


def _listed(template: Workflow, catalogue: Catalogue) -> Iterator[Finding]:
    """Name the model files that the host has, and those that it spells in its own way."""
    listed = list(_files(template, catalogue))
    for value, spelled in listed:
        if value != spelled:
            yield note(
                "host.spelling",
                f"{value} is listed as {spelled}",
                "this host writes folders with backslashes and compares letter by letter",
                "none: jobs are sent with the host's own spelling",
            )
    if listed:
        yield fine("host.models", f"it lists {', '.join(value for value, _ in listed)}")


def _files(template: Workflow, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Yield the model files that the host lists, as we write them and as it does."""
    for entry in template.values():
        for name, value in entry["inputs"].items():
            if is_file(value) and (own := catalogue.spelled(entry["class_type"], name, value)):
                yield value, own


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB"
