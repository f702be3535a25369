"""What a comparison draws and with what beside the unet, all of it found before a file is made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.request import Request
from configs import settings as configs
from configs.settings import Settings
from core import native, prompt_file, report_pictures, resolve
from core.prepare import PrepareError
from core.resolve import Ready, UsableLora, Usual
from core.wildcards import Wildcards
from core.wish import PromptError, Wish
from models import store
from models.micro import micro_set
from models.micro import spec as micro
from models.store import Folder

EACH = 8  # prompts of either kind that the micro Flux is asked, where no file says others
_SEEDS = 2**64


@dataclass(frozen=True, slots=True)
class Extent:
    """What the command line says of it.

    Attributes:
        prompts: the prompt file; None for the micro Flux's own.
        seeds: for each prompt.
        own: whether the unet is the user's, not the micro Flux.
    """

    prompts: Path | None
    seeds: int
    own: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What is drawn in every way.

    Attributes:
        requests: without unet and LoRAs, which are the ways' own.
        companions: files that draw beside the unet, by "FOLDER/NAME" in a models folder.
        own: whether the unet is the user's.
    """

    requests: Sequence[Request]
    companions: Mapping[str, Path]
    own: bool


def read(settings: Settings, extent: Extent, shapes: Mapping[str, tuple[int, ...]]) -> Asked:
    """Find out.

    Args:
        settings: whose sizes, companions and wildcards are used.
        extent: what the user asks.
        shapes: of the unet's tensors, in the reference names.

    Raises:
        PrepareError: the prompt file cannot be used, or asks for what has no place here.
        ModelError: the settings name a companion that is not there.
    """
    models, encoders, vae = _names(settings, own=extent.own)
    ready = Ready(
        unet="",
        unet_path=Path(),
        unet_sha256="",
        text_encoders=encoders,
        vae=vae,
        loras=(),
        native=native.of(shapes),
    )
    wishes = _wishes(extent.prompts) if extent.prompts else _own_wishes()
    found = _requests(settings, wishes, ready)
    seeded = [
        replace(one, seed=(one.seed + number) % _SEEDS, batch=1)
        for one in found
        for number in range(extent.seeds)
    ]
    return Asked(seeded, dict(_companions(models, encoders, vae)), extent.own)


def _names(settings: Settings, *, own: bool) -> tuple[Path, tuple[str, str], str]:
    """The models folder and names in it: the shipped for the shipped unet, else the settings'."""
    if own and settings.model.source != configs.MICRO:
        return settings.folders.models, settings.model.text_encoders, settings.model.vae
    return micro_set.SHIPPED, (micro.CLIP_FILE, micro.T5_FILE), micro.VAE_FILE


def _companions(models: Path, encoders: tuple[str, str], vae: str) -> Iterator[tuple[str, Path]]:
    kinds = {**dict.fromkeys(encoders, Folder.TEXT_ENCODERS), vae: Folder.VAE}
    for name, kind in kinds.items():
        yield f"{kind}/{name}", store.find(store.places(models, kind), name)
    if (models / "tokenizers").is_dir():
        yield "tokenizers", models / "tokenizers"


def _own_wishes() -> list[Wish]:
    return [Wish(prompt=prompt, lora=()) for prompt in report_pictures.micro_prompts(EACH)]


def _wishes(path: Path) -> list[Wish]:
    try:
        with path.open("rb") as file:
            wishes = prompt_file.parse(path.name, file.read(prompt_file.MAX_BYTES + 1))
    except PromptError as error:
        raise PrepareError(str(error)) from error
    if any(wish.image for wish in wishes):
        raise PrepareError(f"{path.name}: image: the comparison draws from text only")
    return [wish.model_copy(update={"lora": (), "pair": None}) for wish in wishes]


def _requests(settings: Settings, wishes: Sequence[Wish], ready: Ready) -> Sequence[Request]:
    usual = replace(Usual(**settings.defaults.model_dump()), workflow="txt2img")
    wildcards = Wildcards(settings.folders.wildcards)
    try:
        return resolve.requests(wishes, ready, usual, _no_lora, lambda index: index, wildcards)
    except PromptError as error:
        raise PrepareError(str(error)) from error


def _no_lora(name: str) -> UsableLora:
    raise PrepareError(f"the LoRA {name} is named with --lora, not in the prompt file")
