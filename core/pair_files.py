"""From the files that a user names for a pair to what is known of them: found, checked, hashed.

A file is named by a path, or as hosts list it below a models folder. Nothing is written here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.settings import Settings
from core import prepare
from models import flux, gguf_file, lora, pairing, safetensors_file, store
from models.errors import ModelError
from models.gguf_file import GgufFile
from models.lora import LoraFile
from models.publishing import Source
from models.safe_copy import Report
from models.store import Folder


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pair as it was asked for; a file is a path, or a name in a models folder.

    Attributes:
        name: the pair's.
        unet: GGUF; empty for the settings' own.
        loras: files and strengths, in the order they are applied.
        trigger: a word for the whole pair; empty for those that the LoRAs name.
        text_encoders: CLIP-L and T5; empty for the settings' own.
        vae: likewise.
        targets: models folders of hosts to publish to.
    """

    name: str
    unet: str = ""
    loras: tuple[tuple[str, float], ...] = ()
    trigger: str = ""
    text_encoders: tuple[str, str] = ("", "")
    vae: str = ""
    targets: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundLora:
    """A LoRA that fits the pair's unet.

    Attributes:
        source: its file.
        strength: as it was asked for.
        read: its header.
    """

    source: Source
    strength: float
    read: LoraFile


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a pair, which belong together. One without a hash is the host's own."""

    unet: Source
    text_encoders: tuple[Source, Source]
    vae: Source
    loras: tuple[FoundLora, ...]

    def sources(self) -> list[Source]:
        """Return all of them."""
        return [self.unet, *self.text_encoders, self.vae, *(one.source for one in self.loras)]


class PairFiles:
    """Finds files.

    Args:
        settings: whose models folders and usual companions.
        report: told what is being read.
    """

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings, self._report = settings, report
        own, hosts = settings.folders.models, settings.host.models
        self._models = (own, *([hosts] if hosts else []))

    def find(self, wanted: Wanted) -> Found:
        """Find and check everything that a pair was asked to be made of.

        Raises:
            ModelError: a file is not there, damaged, or does not fit the unet.
        """
        models = tuple(dict.fromkeys([*self._models, *wanted.targets]))
        unet, header = self._unet(wanted.unet, models)
        if wanted.trigger and not wanted.loras:
            raise ModelError("a trigger word calls a LoRA, and the pair has none")
        read = [
            (self._lora(name, header, models), strength) for name, strength in wanted.loras
        ]  # all checked before gigabytes are hashed
        given, usual = wanted.text_encoders, prepare.text_encoders(self._settings)
        first, second = (a or b for a, b in zip(given, usual, strict=True))
        return Found(
            unet=self._source(Folder.UNET, unet, models),
            text_encoders=(
                self._companion(Folder.TEXT_ENCODERS, first, models),
                self._companion(Folder.TEXT_ENCODERS, second, models),
            ),
            vae=self._companion(Folder.VAE, wanted.vae or prepare.vae(self._settings), models),
            loras=tuple(
                FoundLora(self._source(Folder.LORAS, one.path, models), strength, one)
                for one, strength in read
            ),
        )

    def _unet(self, name: str, models: Sequence[Path]) -> tuple[Path, GgufFile]:
        path = _found(Folder.UNET, name, models) if name else prepare.unet_path(self._settings)
        if path.suffix.lower() != ".gguf":
            fix = f"Quantise it first: python core/director.py quantize '{path}'"
            raise ModelError("a pair's unet is a quantised Flux (.gguf)", path=path, fix=fix)
        if not path.is_file():
            fix = "Run the director once, which makes it, or name another with --unet"
            raise ModelError("the settings' unet is not there yet", path=path, fix=fix)
        header = gguf_file.read_header(path)
        flux.detect(header.shapes)
        return path, header

    def _lora(self, name: str, unet: GgufFile, models: Sequence[Path]) -> LoraFile:
        path = _found(Folder.LORAS, name, models)
        self._report(f"checking {path.name}", 0.0)
        read = lora.read(path, flux.detect(unet.shapes))
        pairing.check(unet, read)
        return read

    def _companion(self, folder: Folder, name: str, models: Sequence[Path]) -> Source:
        path = _lookup(folder, name, models)
        if path is None and (Path(name).is_absolute() or name.startswith((".", "~"))):
            raise ModelError("there is no such file", path=Path(name))
        if path is None:  # a name: the host has it, and we need not
            return Source(folder, Path(), name, "", 0)
        if path.suffix.lower() == ".gguf":
            gguf_file.read_header(path)
        else:
            safetensors_file.read_header(path)
        return self._source(folder, path, models)

    def _source(self, folder: Folder, path: Path, models: Sequence[Path]) -> Source:
        self._report(f"hashing {path.name}", 0.0)
        digest = store.cached_sha256(path, self._settings.state / prepare.HASHES)
        name = listed(folder, path, models)
        try:
            name.encode()
        except UnicodeEncodeError as error:
            fix = "Give it a name in UTF-8: jobs could not hold this one"
            raise ModelError("its name is no text", path=path, fix=fix) from error
        return Source(folder, path, name, digest, path.stat().st_size)


def listed(folder: Folder, path: Path, models: Sequence[Path]) -> str:
    """Return a file's name as the models folder that it lies in lists it, else its own."""
    for place in _places(folder, models):
        if path.is_relative_to(place):
            return path.relative_to(place).as_posix()
    return path.name


def _found(folder: Folder, name: str, models: Sequence[Path]) -> Path:
    path = _lookup(folder, name, models)
    if path is None and (Path(name).is_absolute() or name.startswith((".", "~"))):
        raise ModelError("there is no such file", path=Path(name))
    return path or store.find(list(_places(folder, models)), name)  # which says what is there


def _lookup(folder: Folder, name: str, models: Sequence[Path]) -> Path | None:
    """Return the file of a name in the models folders, or of a path; ``None`` if there is none."""
    given = Path(name).expanduser()
    listed_there = [] if given.is_absolute() else [at / name for at in _places(folder, models)]
    without_suffix = [path.with_name(f"{path.name}.safetensors") for path in listed_there]
    for path in (given, *listed_there, *without_suffix):
        if path.is_file():
            return path.absolute()
    return None


def _places(folder: Folder, models: Sequence[Path]) -> Iterator[Path]:
    for one in models:
        yield from store.places(one, folder)
