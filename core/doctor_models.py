"""The doctor on model files: there, whole, and belonging together. Headers are read, no weights.

What is missing but will be made at the first run is no fault. Whether a host lists the files is
:mod:`bridge.doctor_host`'s.
"""

from collections.abc import Iterator
from pathlib import Path

from bridge.finding import Finding, fine, note, problem, warning
from configs.settings import MICRO, Settings
from core import prepare
from core.pair_state import Sight
from models import checkpoint, flux, gguf_file, lora, pairing, safetensors_file, store
from models.errors import ModelError
from models.gguf_file import GgufFile
from models.pair_shelf import PairShelf
from models.store import Folder

MB = 1 << 20
_AGAIN = "copy or download it again, and compare its size with the original's"


def findings(settings: Settings) -> Iterator[Finding]:
    """Look at the named pairs, the unet, its companions and its LoRA."""
    yield from _named_pairs(settings)
    micro = settings.model.source == MICRO
    if micro and not prepare.source_file(settings).is_file():
        yield note("models.unet", "the micro Flux is not there yet; the first run lays it out")
        return
    unet = prepare.unet_path(settings)
    header = None
    if unet.is_file():
        try:
            header = gguf_file.read_header(unet)
            yield _whole("models.unet", unet)
        except ModelError as error:
            yield _damaged("models.unet", error)
    else:
        yield _to_be_made(settings, unet)
    yield from _companions(settings)
    yield from _pair(settings, header)


def _named_pairs(settings: Settings) -> Iterator[Finding]:
    """Look whether the files of each pair lie where they were, in the size that they had."""
    shelf = PairShelf(settings.folders.models)
    sight = Sight(settings.folders.models, None)
    names = shelf.names()
    for name in dict.fromkeys([*names, *([settings.pair] if settings.pair else [])]):
        try:
            sight.checked(shelf.load(name))
            yield fine("models.pair", f"the pair {name} has all its files")
        except ModelError as error:
            told = problem if name == settings.pair else warning
            why = "prompt files that use it are refused"
            yield told("models.pair", str(error), why, error.fix or "name one that is there")


def wanted_memory(settings: Settings) -> int:
    """Return the bytes of the model files that a job uses, as far as they lie here."""
    return sum(path.stat().st_size for path in _files(settings) if path.is_file())


def _files(settings: Settings) -> Iterator[Path]:
    models = settings.folders.models
    yield prepare.unet_path(settings)
    yield from (models / Folder.TEXT_ENCODERS / name for name in prepare.text_encoders(settings))
    yield models / Folder.VAE / prepare.vae(settings)


def _whole(name: str, path: Path) -> Finding:
    return fine(name, f"{path.name} is there and whole, {path.stat().st_size / MB:,.0f} MB")


def _damaged(name: str, error: ModelError) -> Finding:
    return problem(name, str(error), "no host can load it", error.fix or _AGAIN)


def _to_be_made(settings: Settings, unet: Path) -> Finding:
    source = prepare.source_file(settings)
    if not source.exists():
        return problem(
            "models.unet",
            f"neither {unet} nor the Flux to make it from ({source}) is there",
            "there is nothing to render with",
            'set model.source to your Flux (.safetensors, its folder, or a .gguf), or to "micro"',
        )
    try:
        checkpoint.read(source)
    except ModelError as error:
        return _damaged("models.source", error)
    return note(
        "models.unet",
        f"{unet.name} is not there yet; the first run makes it of {source.name}",
        "that takes from half a minute to some minutes, by the speed of the disk",
        f"to do it now: python core/director.py quantize '{source}' '{unet}' "
        f"--type {settings.model.file_type}",
    )


def _companions(settings: Settings) -> Iterator[Finding]:
    models = settings.folders.models
    for name in prepare.text_encoders(settings):
        yield _companion(models / Folder.TEXT_ENCODERS, name, "models.text_encoders")
    yield _companion(models / Folder.VAE, prepare.vae(settings), "models.vae")


def _companion(folder: Path, file: str, name: str) -> Finding:
    path = folder / file
    if not path.is_file():
        return warning(
            name,
            f"{file} is not in {folder}",
            "the embedded host needs it there; a ComfyUI has a models folder of its own",
            f"copy it to {folder}, or set folders.models to the folder that has it",
        )
    try:
        if path.suffix == ".gguf":
            gguf_file.read_header(path)
        else:
            safetensors_file.read_header(path)
    except ModelError as error:
        return _damaged(name, error)
    return _whole(name, path)


def _pair(settings: Settings, unet: GgufFile | None) -> Iterator[Finding]:
    wanted = prepare.usual_lora(settings)
    if not wanted:
        yield note("models.lora", "no LoRA is set; prompts may still name one")
        return
    try:
        path = store.find(settings.folders.models / Folder.LORAS, _with_suffix(settings, wanted))
        if unet is None:
            safetensors_file.read_header(path)
            yield note("models.lora", f"{path.name} is there; it is checked once the unet is")
            return
        pairing.check(unet, lora.read(path, flux.detect(unet.shapes)))
        yield fine("models.lora", f"{path.name} fits {unet.path.name}: every key has its target")
    except ModelError as error:
        yield problem(
            "models.lora",
            str(error),
            "ComfyUI would apply what fits, say nothing, and draw other pictures",
            error.fix or "set lora.file to one that fits, or to none",
        )


def _with_suffix(settings: Settings, name: str) -> str:
    full = name if name.endswith(".safetensors") else f"{name}.safetensors"
    return full if (settings.folders.models / Folder.LORAS / full).exists() else name
