"""Makes everything ready that a job needs: micro set, quantised unet, checked pair, manifest.

The heavy part (numpy, the quantiser) runs in a child of its own, so that the director stays small
and a crash there is an error message here. What already lies there is kept, unless it is of a micro
set that another version of Vulcan came with.
"""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from configs.settings import MICRO, ROOT, Settings
from core import native, parentage
from core.provenance import Hashes
from core.resolve import Ready, UsableLora
from models import flux, gguf_file, lora, lora_fit, lora_metadata, pairing, store
from models.errors import ModelError
from models.gguf_file import GgufFile
from models.micro import micro_set
from models.micro import spec as micro
from models.pairing import OWN, LoraUse, Pair, PairedFile
from models.store import Folder

logger = logging.getLogger(__name__)

HASHES = "sha256.json"  # in the state folder: hashes of unchanged files
MANIFESTS = "manifests"  # likewise: of what the settings, not a named pair, say
AUTO_LORA = "auto"
NO_LORA = ("", "none")
# Suffixes that name a source's precision; the target names its own.
PRECISION = re.compile(
    r"[-_.](f16|fp16|bf16|f32|fp32|fp8(_e[45]m[23](fn)?)?(_scaled)?)$", re.IGNORECASE
)
_CUT_UP = re.compile(r"(-[0-9]+-of-[0-9]+)?\.safetensors(\.index\.json)?$")

Report = Callable[[str, float], None]
NoteChild = Callable[["subprocess.Popen[str]"], None]


class PrepareError(Exception):
    """Something a job needs could not be made; the message says what and why."""


class Loras:
    """LoRAs by name, each checked against the unet once before any job uses it.

    Args:
        folders: where LoRAs lie, such as models/loras.
        unet: header of the unet's file.
        settings: the pair's LoRA, its strength and trigger word.
        sha256_of: hashes a file, or remembers having done so.
    """

    def __init__(
        self,
        folders: Path | Sequence[Path],
        unet: GgufFile,
        settings: Settings,
        sha256_of: Callable[[Path], str],
    ) -> None:
        self._folders = [folders] if isinstance(folders, Path) else list(folders)
        self._unet, self._settings = unet, settings
        self._sha256_of = sha256_of
        self._checked: dict[str, UsableLora] = {}

    def find(self, name: str) -> UsableLora:
        """Return a LoRA that fits.

        Raises:
            ModelError: no such file, no LoRA, or some of it would not apply (unless the settings
                allow that; then it is none that applies at all).
        """
        if name not in self._checked:
            self._checked[name] = self._check(self._listed(name))
        return self._checked[name]

    def usual(self) -> UsableLora | None:
        """Return the pair's LoRA, if one is set."""
        name = usual_lora(self._settings)
        return self.find(name) if name else None

    def _listed(self, name: str) -> str:
        """Complete a name given without its suffix."""
        full = name if name.endswith(".safetensors") else f"{name}.safetensors"
        return full if any((folder / full).exists() for folder in self._folders) else name

    def _check(self, name: str) -> UsableLora:
        path = store.find(self._folders, name)
        read = lora.read(path, flux.detect(self._unet.shapes))
        fit = pairing.check(self._unet, read, allow_partial=self._settings.lora.allow_partial)
        if fit.findings:
            logger.warning("%s applies in part, %s: %s", path.name, fit.told, fit.texts[0])
        for text in lora_fit.warnings(read):
            logger.warning("%s: %s", path.name, text)
        own = self._settings.lora.trigger
        return UsableLora(
            file=name,
            strength=self._settings.lora.strength,
            triggers=(own,) if own else read.trigger_words,
            sha256=self._sha256_of(path),
            in_front=bool(own) or lora_metadata.goes_in_front(read.metadata),
            applied=fit.told if fit.findings else "",
        )


def prepare(settings: Settings, report: Report, note: NoteChild) -> tuple[Ready, Loras]:
    """Make and check everything.

    Args:
        settings: whose model, LoRA and folders.
        report: told what is being done and the share done, 0 to 1.
        note: given each child as it starts, so that it can be ended with us.

    Raises:
        ModelError: a file is missing, damaged, or the pair does not fit.
        PrepareError: a child failed.
        OSError: the micro set cannot be laid out.
    """
    models = settings.folders.models
    if settings.model.source == MICRO:
        report("laying out the micro Flux", 0.0)
        micro_set.lay_out(models)
    unet = _unet(settings, report, note)
    header = gguf_file.read_header(unet)
    cache = settings.state / HASHES
    report("checking the pair", 0.0)
    loras = Loras(
        models / Folder.LORAS, header, settings, lambda path: store.cached_sha256(path, cache)
    )
    ready = Ready(
        unet=listed_name(unet, models / Folder.UNET),
        unet_path=unet,
        unet_sha256=store.cached_sha256(unet, cache),
        text_encoders=text_encoders(settings),
        vae=vae(settings),
        loras=(usual,) if (usual := loras.usual()) else (),
        native=native.of(header.shapes),
    )
    report("hashing the text encoders, once", 0.0)
    ready = replace(ready, hashes=_hashes(ready, settings))
    write_manifest(settings.state / MANIFESTS, as_pair(ready, settings))
    return ready, loras


def _hashes(ready: Ready, settings: Settings) -> Hashes:
    """Hash what every picture is made with; files that are not in our folders are left out."""

    def known(folder: Folder, names: Sequence[str]) -> dict[str, str]:
        found = {name: hash_of(settings, folder, name) for name in names}
        return {name: digest for name, digest in found.items() if digest}

    return Hashes(
        unet=ready.unet_sha256,
        text_encoders=known(Folder.TEXT_ENCODERS, ready.text_encoders),
        vae=known(Folder.VAE, [ready.vae]),
    )


def hash_of(settings: Settings, folder: Folder, name: str) -> str:
    """Return the SHA-256 of a model file by the name hosts list it under; empty if it is not here.

    Only the first call reads a file (a T5 in F16 has 9.8 GB), later ones go by size and time.
    """
    models = (settings.folders.models, *([settings.host.models] if settings.host.models else []))
    places = [place for one in models for place in store.places(one, folder)]
    try:
        path = store.find(places, name.replace("\\", "/"))
        return store.cached_sha256(path, settings.state / HASHES)
    except ModelError:
        return ""


def _unet(settings: Settings, report: Report, note: NoteChild) -> Path:
    """Return the GGUF to render with, quantising the source if it is not there yet."""
    source, target = source_file(settings), unet_path(settings)
    if target == source or _is_made(settings, source, target):
        return target
    if not source.exists():
        raise ModelError(
            "the Flux to quantise is not there",
            path=source,
            fix='Set model.source to your Flux (.safetensors, or its folder), or to "micro"',
        )
    logger.info("quantising %s to %s", source, target)
    _quantise(source, target, settings.model.file_type, report, note)
    return target


def _is_made(settings: Settings, source: Path, target: Path) -> bool:
    """Tell whether the GGUF is there, and the micro Flux's is of the set that is there now."""
    if not target.is_file():
        return False
    if settings.model.source != MICRO or parentage.made_of(target, source):
        return True
    logger.info("%s is of another micro Flux and is made anew", target.name)
    return False


def source_file(settings: Settings) -> Path:
    """Return the Flux that is quantised, or the GGUF that needs no quantising."""
    if settings.model.source == MICRO:
        return settings.folders.models / Folder.UNET / micro.UNET_FILE
    return Path(settings.model.source)


def unet_path(settings: Settings) -> Path:
    """Return the GGUF to render with, whether it is there already or not."""
    source = source_file(settings)
    if source.suffix == ".gguf":
        return source
    return settings.folders.models / Folder.UNET / target_name(source, settings.model.file_type)


def usual_lora(settings: Settings) -> str:
    """Return the name of the pair's LoRA; empty for none."""
    name = settings.lora.file
    if name == AUTO_LORA:
        return micro.LORA_FILE if settings.model.source == MICRO else ""
    return "" if name in NO_LORA else name


def listed_name(path: Path, folder: Path) -> str:
    """Return a file's name as hosts list it: with its sub-folders below the models folder."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def target_name(source: Path, file_type: str) -> str:
    """Return the file name of a quantised source: its own, with the new precision.

    A sharded model is named as a whole, a folder with a model by its own name.
    """
    name = source.resolve().name if source.is_dir() else _CUT_UP.sub("", source.name)
    return f"{PRECISION.sub('', name)}-{file_type}.gguf"


def _quantise(source: Path, target: Path, file_type: str, report: Report, note: NoteChild) -> None:
    what = f"quantising {source.name} to {file_type}"
    report(what, 0.0)

    def follow(event: dict[str, object]) -> None:
        if event.get("event") == "progress":
            report(what, float(str(event["share"])))

    command = ["core/director.py", "quantize", str(source), str(target)]
    _child([*command, f"--type={file_type}", "--force", "--json"], note, follow)


def _child(
    arguments: Sequence[str],
    note: NoteChild,
    follow: Callable[[dict[str, object]], None] | None = None,
) -> None:
    """Run one of our own modules to its end, handing on the JSON lines it prints."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        note(child)
        assert child.stdout is not None  # noqa: S101 - a pipe was asked for
        assert child.stderr is not None  # noqa: S101 - a pipe was asked for
        for line in child.stdout:
            if follow and line.startswith("{"):
                follow(json.loads(line))
        complaint = child.stderr.read().strip()
    if child.returncode:
        raise PrepareError(complaint or f"{' '.join(arguments)} ended with {child.returncode}")


def text_encoders(settings: Settings) -> tuple[str, str]:
    """Return the names of CLIP-L and T5, as hosts list them."""
    if settings.model.source == MICRO:
        return micro.CLIP_FILE, micro.T5_FILE
    return settings.model.text_encoders


def vae(settings: Settings) -> str:
    """Return the name of the autoencoder, as hosts list it."""
    return micro.VAE_FILE if settings.model.source == MICRO else settings.model.vae


def write_manifest(folder: Path, pair: Pair) -> None:
    """Write what was checked against what, by hash."""
    store.atomic_write(folder / f"{pair.name}.json", pairing.to_json(pair).encode())


def as_pair(ready: Ready, settings: Settings) -> Pair:
    """Return what is ready as a pair that is named after its unet.

    Files that are not here are taken for the host's own.
    """
    hashes = ready.hashes or Hashes(ready.unet_sha256)
    pair = Pair(
        name=ready.unet_path.stem,
        unet=ready.unet,
        unet_sha256=ready.unet_sha256,
        text_encoders=ready.text_encoders,
        vae=ready.vae,
        loras=tuple(
            LoraUse(lora.file, lora.strength, lora.sha256, lora.triggers, lora.in_front)
            for lora in ready.loras
        ),
    )
    known = {(Folder.UNET, ready.unet): ready.unet_sha256}
    known |= {(Folder.TEXT_ENCODERS, name): one for name, one in hashes.text_encoders.items()}
    known |= {(Folder.VAE, name): one for name, one in hashes.vae.items()}
    known |= {(Folder.LORAS, lora.file): lora.sha256 for lora in ready.loras}
    return replace(
        pair, files=tuple(_paired(settings, *one, known.get(one, "")) for one in pair.names())
    )


def _paired(settings: Settings, folder: Folder, name: str, sha256: str) -> PairedFile:
    models = settings.folders.models
    path, own = models / folder / name, True
    if folder is Folder.UNET and not path.is_file():
        path, own = unet_path(settings), False  # a GGUF that lies elsewhere
    if not sha256 or not path.is_file():
        return PairedFile(folder, name)
    return PairedFile(folder, name, sha256, path.stat().st_size, str(path), (OWN,) if own else ())
