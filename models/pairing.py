"""The pair: one quantised unet, the LoRAs that go with it, and proof that they fit.

A LoRA that finds no target in its base changes nothing, and ComfyUI says nothing: the pictures
are simply those without it. So a pair is checked before any job uses it, and what was checked is
written down with its hashes in a manifest (JSON).

It compares headers; it loads no weights and does not know how a LoRA is applied.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from models import lora as lora_file
from models import store
from models.errors import ModelError
from models.gguf_file import GgufFile
from models.lora import LoraFile

_TOLD = 3  # findings in the sentence; PairingError.problems has them all


class PairingError(ModelError):
    """A LoRA and a unet do not belong together; `problems` has a sentence for each reason."""

    def __init__(self, unet: Path, lora: Path, problems: list[str]) -> None:
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        super().__init__(
            f"the LoRA does not fit the model {unet.name}",
            path=lora,
            why="; ".join(problems[:_TOLD]) + more,
            fix="Use the model it was trained on, or another LoRA",
        )
        self.unet = unet
        self.problems = problems


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA as the host lists it, and how strongly it is used unless a request says otherwise."""

    file: str
    strength: float
    sha256: str
    trigger_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Everything that a picture is drawn with; file names are as the host lists them."""

    name: str
    unet: str
    unet_sha256: str
    text_encoders: tuple[str, ...]
    vae: str
    loras: tuple[LoraUse, ...] = ()


def check(unet: GgufFile, lora: LoraFile) -> None:
    """Make sure that every key of the LoRA has its target in the unet, with the right shape.

    Raises:
        PairingError: it has not.
    """
    if problems := lora_file.problems(lora, unet.shapes):
        raise PairingError(unet.path, lora.path, problems)


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
            fix="Delete it; it is made again",
        ) from error


_MANIFEST = TypeAdapter(Pair)


def save(path: Path, pair: Pair) -> None:
    """Write the pair's manifest atomically."""
    store.atomic_write(path, to_json(pair).encode())


def load(path: Path) -> Pair:
    """Read a manifest.

    Raises:
        ModelError: it cannot be read, or is none.
    """
    try:
        return from_json(path.read_bytes())
    except OSError as error:
        raise ModelError("it cannot be read", path=path, why=error.strerror or "") from error
