"""What a prompt file wishes + what is ready + defaults -> requests. Pure.

The one place where the three meet. From here on a request is complete: nobody downstream asks
the settings, the pair or the prompt file again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.request import LoraChoice, Request
from core.prompt_file import LoraWish, Wish


@dataclass(frozen=True, slots=True)
class UsableLora:
    """A LoRA that was checked against the unet.

    Attributes:
        file: name as hosts list it.
        strength: used when a prompt file gives none.
        triggers: words that call it.
        sha256: of the file.
    """

    file: str
    strength: float
    triggers: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Native:
    """What suits a model when nobody says otherwise."""

    width: int
    height: int
    steps: int


@dataclass(frozen=True, slots=True)
class Ready:
    """What a director works with once everything is prepared.

    Attributes:
        unet: file name as hosts list it.
        unet_path: the file itself.
        unet_sha256: hash of it.
        text_encoders: CLIP-L and T5 file names.
        vae: file name.
        lora: the pair's LoRA, or none.
        native: size and steps that suit the unet.
    """

    unet: str
    unet_path: Path
    unet_sha256: str
    text_encoders: tuple[str, str]
    vae: str
    lora: UsableLora | None
    native: Native


@dataclass(frozen=True, slots=True)
class Usual:
    """The settings' defaults; 0 stands for the model's own."""

    workflow: str
    width: int
    height: int
    steps: int
    guidance: float
    cfg: float
    cfg_with_negative: float


FindLora = Callable[[str], UsableLora]
DrawSeed = Callable[[int], int]


def requests(
    wishes: Sequence[Wish], ready: Ready, usual: Usual, find_lora: FindLora, draw_seed: DrawSeed
) -> list[Request]:
    """Turn a file's wishes into requests, ``count`` of each, in the file's order.

    Args:
        wishes: what the file says.
        ready: unet, companions and pair.
        usual: what it leaves out.
        find_lora: returns a LoRA by name, checked; raises ModelError when it does not fit.
        draw_seed: seed for the image of this 1-based index, the same at every call.
    """
    made: list[Request] = []
    for wish in wishes:
        loras = _loras(wish.lora, ready.lora, find_lora)
        for number in range(wish.count):
            seed = draw_seed(len(made) + 1) if wish.seed is None else wish.seed + number
            made.append(_request(wish, ready, usual, loras, seed % 2**64))
    return made


def _loras(
    wished: tuple[LoraWish, ...] | None, usual: UsableLora | None, find: FindLora
) -> tuple[UsableLora, ...]:
    if wished is None:
        return (usual,) if usual else ()
    return tuple(_with_strength(find(wish.name), wish.strength) for wish in wished)


def _with_strength(lora: UsableLora, strength: float | None) -> UsableLora:
    if strength is None:
        return lora
    return UsableLora(lora.file, strength, lora.triggers, lora.sha256)


def _request(
    wish: Wish, ready: Ready, usual: Usual, loras: Sequence[UsableLora], seed: int
) -> Request:
    cfg = usual.cfg_with_negative if wish.negative and usual.cfg == 1 else usual.cfg
    return Request(
        prompt=_with_triggers(wish.prompt, loras),
        negative=wish.negative,
        width=wish.width or usual.width or ready.native.width,
        height=wish.height or usual.height or ready.native.height,
        steps=wish.steps or usual.steps or ready.native.steps,
        guidance=usual.guidance if wish.guidance is None else wish.guidance,
        cfg=wish.cfg or cfg,
        seed=seed,
        loras=tuple(LoraChoice(lora.file, lora.strength) for lora in loras),
        workflow=wish.workflow or usual.workflow,
        unet=ready.unet,
        text_encoders=ready.text_encoders,
        vae=ready.vae,
    )


def _with_triggers(prompt: str, loras: Sequence[UsableLora]) -> str:
    """Put each LoRA's first trigger word in front, unless the prompt holds one of them."""
    missing = [
        lora.triggers[0]
        for lora in loras
        if lora.triggers and not any(word.lower() in prompt.lower() for word in lora.triggers)
    ]
    return ", ".join([*missing, prompt])
