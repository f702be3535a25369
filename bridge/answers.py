"""The host's HTTP answers, checked once at the edge and turned into our own values.

Only what the bridge uses is described; everything else in an answer is ignored, because hosts
differ by version and add keys. A shape that does not fit raises pydantic's ``ValidationError``,
which :mod:`bridge.client` turns into a :class:`~bridge.errors.HostError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field


class Verdict(StrEnum):
    """How a job ended on its host."""

    SUCCESS = "success"
    ERROR = "error"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A file that the host holds; ``subfolder`` is handed back exactly as it came."""

    filename: str
    subfolder: str
    type: str

    def query(self) -> dict[str, str]:
        """Return the query of ``GET /view``."""
        return {"filename": self.filename, "subfolder": self.subfolder, "type": self.type}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job.

    Attributes:
        verdict: success, error or interrupted.
        images: files of type ``output``, in the order of their nodes.
        why: the host's own sentence about an error, else empty.
    """

    verdict: Verdict
    images: tuple[ImageRef, ...]
    why: str


@dataclass(frozen=True, slots=True)
class HostQueue:
    """Ids in the host's queue."""

    running: frozenset[str]
    pending: frozenset[str]


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host says of itself.

    Attributes:
        version: ComfyUI's version (the embedded host names the one it follows).
        windows: model names and subfolders use backslashes there.
        device: name of the device that renders.
        vram_free: bytes, 0 where there is none.
        os: as the host names it ("nt", "posix", "win32"), empty where it does not.
        python: version, likewise.
        torch: version, likewise.
        embedded: it is Vulcan's own host, which only speaks ComfyUI's API.
        vram_total: likewise.
        on_gpu: whether the device has memory of its own; a processor reports the machine's.
        ram_total: bytes of the machine's memory, 0 where the host does not say.
        ram_free: likewise.
        flags: the command line that it was started with.
        cuda: the device is one whose memory torch.cuda tells truly (DirectML names any number).
        torch_held: bytes of the card that the host's own models and results take now.
    """

    version: str
    windows: bool
    device: str
    vram_free: int
    os: str = ""
    python: str = ""
    torch: str = ""
    embedded: bool = False
    vram_total: int = 0
    on_gpu: bool = False
    ram_total: int = 0
    ram_free: int = 0
    flags: tuple[str, ...] = ()
    cuda: bool = False
    torch_held: int = 0


class _Image(BaseModel):
    filename: str
    subfolder: str = ""
    type: str = "output"


def _only_files(entries: Any) -> Any:
    """Leave out what is no file: any custom node may use these keys, for anything."""
    listed = entries if isinstance(entries, list) else []
    return [entry for entry in listed if isinstance(entry, dict) and "filename" in entry]


_Files = Annotated[list[_Image], BeforeValidator(_only_files)]


class _NodeOutput(BaseModel):
    """What a node shows; animations, videos and sounds come under keys of their own."""

    images: _Files = Field(default_factory=list)
    gifs: _Files = Field(default_factory=list)
    video: _Files = Field(default_factory=list)
    audio: _Files = Field(default_factory=list)

    def files(self) -> list[_Image]:
        return [*self.images, *self.gifs, *self.video, *self.audio]


class _HistoryStatus(BaseModel):
    status_str: str
    messages: list[tuple[str, dict[str, Any]]] = Field(default_factory=list)


class _HistoryEntry(BaseModel):
    outputs: dict[str, _NodeOutput] = Field(default_factory=dict)
    status: _HistoryStatus


class _System(BaseModel):
    os: str = ""
    comfyui_version: str = "unknown"
    python_version: str = ""
    pytorch_version: str = ""
    ram_total: int = 0
    ram_free: int = 0
    embedded_host: str = ""  # Vulcan's own addition: ComfyUI does not have it
    argv: list[str] = Field(default_factory=list)


class _Device(BaseModel):
    name: str = "unknown"
    type: str = ""
    vram_free: int = 0
    vram_total: int = 0
    torch_vram_total: int = 0
    torch_vram_free: int = 0


class _SystemStats(BaseModel):
    system: _System
    devices: list[_Device] = Field(default_factory=list)


class _Queue(BaseModel):
    queue_running: list[list[Any]]
    queue_pending: list[list[Any]]


def outcome(entry: Any) -> Outcome:
    """Read one history entry.

    "error" and "interrupted" share a status and differ only in their last message.
    """
    read = _HistoryEntry.model_validate(entry)
    images = tuple(
        ImageRef(image.filename, image.subfolder, image.type)
        for output in read.outputs.values()
        for image in output.files()
        if image.type == "output"
    )
    if read.status.status_str == "success":
        return Outcome(Verdict.SUCCESS, images, "")
    last = dict(read.status.messages)
    if "execution_interrupted" in last:
        return Outcome(Verdict.INTERRUPTED, images, "interrupted on the host")
    return Outcome(Verdict.ERROR, images, _complaint(last.get("execution_error", {})))


def _complaint(message: Mapping[str, Any]) -> str:
    what = str(message.get("exception_message", "the host gave no reason")).strip()
    kind = message.get("exception_type")
    node = f"node {message.get('node_id')} ({message.get('node_type')})"
    return f"{node}: {kind}: {what}" if kind else what


def queue(answer: Any) -> HostQueue:
    """Read ``GET /queue``; an entry is ``[number, prompt_id, ...]``."""
    read = _Queue.model_validate(answer)
    return HostQueue(
        running=frozenset(str(entry[1]) for entry in read.queue_running),
        pending=frozenset(str(entry[1]) for entry in read.queue_pending),
    )


def facts(answer: Any) -> HostFacts:
    """Read ``GET /system_stats``."""
    read = _SystemStats.model_validate(answer)
    device = read.devices[0] if read.devices else _Device()
    return HostFacts(
        version=read.system.comfyui_version,
        windows=read.system.os == "nt",
        device=device.name,
        vram_free=device.vram_free,
        os=read.system.os,
        python=read.system.python_version.partition(" ")[0],  # the build and compiler follow
        torch=read.system.pytorch_version,
        embedded=bool(read.system.embedded_host),
        vram_total=device.vram_total,
        on_gpu=device.type not in ("", "cpu"),
        ram_total=read.system.ram_total,
        ram_free=read.system.ram_free,
        flags=tuple(read.system.argv[1:]),
        cuda=device.type == "cuda",
        torch_held=max(0, device.torch_vram_total - device.torch_vram_free),
    )


def refusal(body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Read a 400 of ``POST /prompt``: one sentence, and the findings by node."""
    error = body.get("error")
    error = error if isinstance(error, Mapping) else {"message": str(error)}
    node_errors = body.get("node_errors") or {}
    parts = [
        f"node {node} ({finding.get('class_type')}): {problem.get('message')}: "
        f"{problem.get('details')}"
        for node, finding in node_errors.items()
        for problem in finding.get("errors", [])
    ]
    summary = ": ".join(str(error[key]) for key in ("message", "details") if error.get(key))
    return "; ".join(parts) or summary or "no reason given", node_errors
