"""The pair: a named set of unet, LoRAs and companions, and proof that they belong together.

A LoRA that finds no target in its base changes nothing, and ComfyUI says nothing: the pictures
are simply those without it. So a pair is checked before any job uses it, and what was checked is
written down with its hashes in a manifest (JSON). Values only: manifests lie on
:mod:`models.pair_shelf`, files reach hosts through :mod:`models.publishing`.

It compares headers; it loads no weights and does not know how a LoRA is applied.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from models import lora_fit
from models.errors import ModelError
from models.gguf_file import GgufFile
from models.lora import LoraFile
from models.lora_fit import Fit
from models.store import Folder

OWN = "."  # as one of a file's models folders: the one that the manifest lies in
_TOLD = 3  # findings in the sentence; PairingError.problems has them all
MAX_NAME = 100  # bytes; file systems take 255
# What Windows takes in no file name, and what would make a name that no folder lists.
_BAD_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]|^[ .-]|[ .]$')


class PairingError(ModelError):
    """A LoRA and a unet do not belong together; `problems` has a sentence for each reason."""

    def __init__(self, unet: Path, lora: Path, problems: list[str], fix: str) -> None:
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        super().__init__(
            f"the LoRA does not fit the model {unet.name}",
            path=lora,
            why="; ".join(problems[:_TOLD]) + more,
            fix=fix,
        )
        self.unet = unet
        self.problems = problems


@dataclass(frozen=True, slots=True)
class PairedFile:
    """One file of a pair.

    Attributes:
        folder: its kind.
        file: name as hosts list it, with slashes.
        sha256: of its content; empty for one that only the host has, which nobody here has seen.
        size: bytes; 0 for the host's own.
        source: where it lay when it was paired; empty for the host's own.
        models: the models folders that hold it under this name, absolute; :data:`OWN`
            for the one that the manifest itself lies in, which may move.
    """

    folder: Folder
    file: str
    sha256: str = ""
    size: int = 0
    source: str = ""
    models: tuple[str, ...] = ()

    @property
    def is_hosts_own(self) -> bool:
        """Whether only the host has it."""
        return not self.sha256


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA as the host lists it, and how strongly it is used unless a request says otherwise.

    Attributes:
        file: name as hosts list it.
        strength: factor on its change.
        sha256: of the file.
        trigger_words: words that call what it learned.
        in_front: whether prompts that hold none of them get the first one.
    """

    file: str
    strength: float
    sha256: str
    trigger_words: tuple[str, ...] = ()
    in_front: bool = True


@dataclass(frozen=True, slots=True)
class Pair:
    """Everything that a picture is drawn with; file names are as the host lists them.

    Attributes:
        name: what prompt files call it.
        unet: diffusion model file.
        unet_sha256: its hash.
        text_encoders: CLIP-L and T5 files.
        vae: autoencoder file.
        loras: applied in this order.
        files: all of the above once more, with hash, size and place; empty in the manifests of
            earlier versions.
        trigger: a word given for the whole pair, which stands for those of its LoRAs.
        targets: the models folders it was to be published to.
    """

    name: str
    unet: str
    unet_sha256: str
    text_encoders: tuple[str, ...]
    vae: str
    loras: tuple[LoraUse, ...] = ()
    files: tuple[PairedFile, ...] = ()
    trigger: str = ""
    targets: tuple[str, ...] = ()

    def names(self) -> Iterator[tuple[Folder, str]]:
        """Yield kind and name of every file."""
        yield Folder.UNET, self.unet
        yield from ((Folder.TEXT_ENCODERS, name) for name in self.text_encoders)
        yield Folder.VAE, self.vae
        yield from ((Folder.LORAS, lora.file) for lora in self.loras)

    def sha256(self, folder: Folder, file: str) -> str:
        """The hash of one of its files; empty where it is not known or the pair has no such."""
        found = (one.sha256 for one in self.files if (one.folder, one.file) == (folder, file))
        return next(found, "")


def check(unet: GgufFile, lora: LoraFile, *, allow_partial: bool = False) -> Fit:
    """Make sure that ComfyUI applies every layer of the LoRA to the unet, as the file means it.

    Args:
        unet: header of the unet's file.
        lora: resolved against that unet.
        allow_partial: let it through if some of it applies.

    Raises:
        PairingError: it does not apply.
    """
    fit = lora_fit.judge(lora, unet.shapes)
    if fit.findings and not (allow_partial and fit.usable_in_part):
        raise PairingError(unet.path, lora.path, fit.texts, _cure(lora, fit))
    return fit


def _cure(lora: LoraFile, fit: Fit) -> str:
    if fit.converting_helps:
        return f"Convert it: director.py lora convert {shlex.quote(str(lora.path))} OUT.safetensors"
    if fit.usable_in_part:
        return (
            "Use the model it was trained on, or another LoRA; or let pass what applies "
            f"({fit.told}) with lora.allow_partial"
        )
    return "Use the model it was trained on, or another LoRA"


def check_name(name: str) -> str:
    """Return a pair's name if it can be a file's, on Windows too, and a word in a prompt file.

    Raises:
        ModelError: it cannot.
    """
    if not name or _BAD_IN_NAMES.search(name) or len(name.encode()) > MAX_NAME:
        raise ModelError(
            f"{name!r} cannot be a pair's name",
            why=f"it is a file's name, too: 1 to {MAX_NAME} bytes, no slash, colon, quote, *, ?, "
            "<, > or |, no dot, space or dash in front and no dot or space at the end",
            fix="Choose another, such as portrait-v2",
        )
    return name


def to_json(pair: Pair) -> str:
    """The manifest of a pair."""
    return _MANIFEST.dump_json(pair, indent=2).decode() + "\n"


def from_json(text: str | bytes) -> Pair:
    """The pair of a manifest.

    Raises:
        ModelError: it is no manifest.
    """
    try:
        return _MANIFEST.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ModelError(
            "the pair's manifest is not readable",
            why=f"{place}: {first['msg']}",
            fix="Delete it and make the pair again",
        ) from error


_MANIFEST = TypeAdapter(Pair)
