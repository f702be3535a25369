"""What a prompt file wishes + what is ready + defaults -> requests. Pure but for wildcard files.

The one place where the three meet. From here on a request is complete: nobody downstream asks
the settings, the pair or the prompt file again. Variants are drawn and grids are laid out here;
the same wishes, seeds and wildcard files always give the same requests.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.request import InputImage, LoraChoice, Request
from core import axes, prompt_syntax
from core.axes import Cell
from core.native import Native
from core.prompt_syntax import ProgramError
from core.provenance import Hashes
from core.wildcards import Wildcards
from core.wish import MAX_IMAGES, Expand, PromptError, Wish
from models.errors import ModelError

if TYPE_CHECKING:
    from core.prompt_program import Programs

MOST_TEXT = 50_000_000  # characters in all prompts of one file


@dataclass(frozen=True, slots=True)
class UsableLora:
    """A LoRA that was checked against the unet.

    Attributes:
        file: name as hosts list it.
        strength: used when a prompt file gives none.
        triggers: words that call it.
        sha256: of the file.
        in_front: whether prompts that hold none of these words get the first one.
        applied: how much of it applies, such as "34 of 38 layers"; empty if it all does.
    """

    file: str
    strength: float
    triggers: tuple[str, ...]
    sha256: str
    in_front: bool = True
    applied: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """What a director works with once everything is prepared.

    Attributes:
        unet: file name as hosts list it.
        unet_path: the file itself.
        unet_sha256: hash of it.
        text_encoders: CLIP-L and T5 file names.
        vae: file name.
        loras: the pair's.
        native: size and steps that suit the unet.
        hashes: of unet, text encoders and VAE, for the pictures' records.
        pair: name of the pair; empty where settings, not a named pair, say what to use.
    """

    unet: str
    unet_path: Path
    unet_sha256: str
    text_encoders: tuple[str, str]
    vae: str
    loras: tuple[UsableLora, ...]
    native: Native
    hashes: Hashes | None = None
    pair: str = ""


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
    pair: str = ""  # name; empty for what the settings say


FindLora = Callable[[str], UsableLora]


@dataclass(frozen=True, slots=True)
class Paired:
    """A pair that jobs can be made with.

    Attributes:
        ready: what it is made of.
        find_lora: returns a LoRA by name, checked against the pair's unet.
    """

    ready: Ready
    find_lora: FindLora


FindPair = Callable[[str], Paired]
FindImage = Callable[[str], InputImage]
DrawSeed = Callable[[int], int]
# Keys of a prompt file that are slots of a workflow, by the same names.
SLOTS = (
    *("negative", "width", "height", "steps", "guidance", "cfg", "seed"),
    *("sampler", "scheduler", "denoise", "batch", "image", "lora"),
)
_SAYS_NOTHING = {"negative": "", "batch": 1, "lora": ()}


def requests(
    wishes: Sequence[Wish],
    ready: Ready,
    usual: Usual,
    find_lora: FindLora,
    draw_seed: DrawSeed,
    wildcards: Wildcards | None = None,
    image: InputImage | None = None,
    find_image: FindImage | None = None,
    find_pair: FindPair | None = None,
) -> list[Request]:
    """Turn a file's wishes into requests, in the file's order.

    Of each wish: its combinations, of each ``count`` images, of each the cells of its grid. The
    cells of one grid share seed and drawn prompt, unless these are axes of it.

    Args:
        wishes: what the file says.
        ready: unet, companions and pair.
        usual: what it leaves out.
        find_lora: returns a LoRA by name, checked; raises ModelError when it does not fit.
        draw_seed: seed for the image of this 1-based index, the same at every call.
        wildcards: what ``__name__`` stands for.
        image: the picture that came with the file, for wishes that name none.
        find_image: returns a picture that a wish names; raises what the caller expects.
        find_pair: returns a named pair; raises ModelError when it cannot be used.

    Raises:
        PromptError: a prompt cannot be expanded, or the file asks for too much.
    """
    if wildcards:
        wildcards.refresh()
    pairs = _Pairs(Paired(ready, find_lora), usual.pair, find_pair)
    maker = _Maker(pairs, usual, draw_seed, _Expander(wildcards), image, find_image)
    for wish in wishes:
        try:
            maker.add(wish)
        except ProgramError as error:
            raise PromptError(*wish.where, f"prompt: {error}") from error
    return maker.made


class _Expander:
    """Draws prompts; brings in the library with the first that needs it."""

    def __init__(self, wildcards: Wildcards | None) -> None:
        self._wildcards = wildcards
        self._programs: Programs | None = None
        self._plain: dict[str, bool] = {}

    def is_plain(self, wish: Wish) -> bool:
        if wish.expand is Expand.OFF:
            return True
        if wish.prompt not in self._plain:
            self._plain[wish.prompt] = prompt_syntax.marked(wish.prompt) is None
        return self._plain[wish.prompt]

    @property
    def programs(self) -> "Programs":
        if self._programs is None:
            from core.prompt_parts import Parts  # both bring pyparsing: 11 MB
            from core.prompt_program import Programs

            self._programs = Programs(Parts(self._wildcards))
        return self._programs

    def combinations(self, wish: Wish, seed: int, at_most: int) -> Sequence[str | None]:
        """Return the wish's prompts where all are wanted, else one ``None``: to be drawn."""
        if wish.expand is not Expand.COMBINATORIAL or self.is_plain(wish):
            return [None]
        return self.programs.combinations(wish.prompt, seed, {}, at_most)

    def draw(self, cell: Cell, seed: int, turn: int) -> str:
        if self.is_plain(cell.wish):
            return cell.wish.prompt
        return self.programs.draw(cell.wish.prompt, seed, turn, cell.variables)


@dataclass(slots=True)
class _Pairs:
    """The pairs of one file's wishes, each looked for once."""

    default: Paired
    usual: str
    find: FindPair | None
    found: dict[str, Paired] = field(default_factory=dict)

    def of(self, wish: Wish) -> Paired:
        name = wish.pair or self.usual
        if not name or (self.find is None and wish.pair is None):
            return self.default
        if name not in self.found:
            self.found[name] = self._look_for(wish, name)
        return self.found[name]

    def _look_for(self, wish: Wish, name: str) -> Paired:
        if self.find is None:
            raise PromptError(*wish.where, f"pair: there is nowhere to look for {name}")
        try:
            return self.find(name)
        except ModelError as error:
            raise PromptError(*wish.where_of("pair", name), f"pair: {error}") from error


@dataclass(slots=True)
class _Maker:
    """Makes requests, one wish after the other."""

    pairs: _Pairs
    usual: Usual
    draw_seed: DrawSeed
    expander: _Expander
    image: InputImage | None
    find_image: FindImage | None
    made: list[Request] = field(default_factory=list)
    text: int = 0

    def add(self, wish: Wish) -> None:
        cells = list(axes.cells(wish))
        room = (MAX_IMAGES - len(self.made)) // max(1, wish.count * wish.batch * len(cells))
        combinations = self.expander.combinations(wish, self._seed(wish, 0), room)
        for combination in combinations:
            for number in range(wish.count):
                for request in self._grid(wish, cells, combination, number):
                    self._keep(wish, request)

    def _seed(self, wish: Wish, number: int) -> int:
        seed = self.draw_seed(len(self.made) + 1) if wish.seed is None else wish.seed + number
        return seed % 2**64

    def _grid(
        self, wish: Wish, cells: Sequence[Cell], combination: str | None, number: int
    ) -> Iterator[Request]:
        seed = self._seed(wish, number)
        for cell in cells:
            prompt = combination or self.expander.draw(cell, seed, number)
            own = cell.wish.seed if any(axis == "seed" for axis, _ in cell.where) else None
            yield self._request(cell, prompt, seed if own is None else own)

    def _keep(self, wish: Wish, request: Request) -> None:
        self.text += len(request.prompt) + len(request.negative) + len(request.template)
        if self.text > MOST_TEXT:
            raise PromptError(*wish.where, f"asks for more than {MOST_TEXT} characters of prompts")
        self.made.append(request)

    def _request(self, cell: Cell, prompt: str, seed: int) -> Request:
        wish, usual = cell.wish, self.usual
        paired = self.pairs.of(wish)
        ready, native = paired.ready, paired.ready.native
        loras = _loras(wish, paired)
        cfg = usual.cfg_with_negative if wish.negative and usual.cfg == 1 else usual.cfg
        return Request(
            prompt=_with_triggers(prompt, loras),
            negative=wish.negative,
            width=wish.width or usual.width or native.width,
            height=wish.height or usual.height or native.height,
            steps=wish.steps or usual.steps or native.steps,
            guidance=usual.guidance if wish.guidance is None else wish.guidance,
            cfg=wish.cfg or cfg,
            seed=seed,
            loras=tuple(LoraChoice(lora.file, lora.strength) for lora in loras),
            workflow=wish.workflow or usual.workflow,
            unet=ready.unet,
            text_encoders=ready.text_encoders,
            vae=ready.vae,
            sampler=wish.sampler or "",
            scheduler=wish.scheduler or "",
            denoise=wish.denoise,
            batch=wish.batch,
            image=self._image(wish),
            slots=tuple(wish.slots.items()),
            asked=asked(wish),
            template="" if self.expander.is_plain(wish) else wish.prompt,
            cell=cell.where,
            pair=ready.pair,
        )

    def _image(self, wish: Wish) -> InputImage | None:
        if wish.image is None:
            return self.image
        if self.find_image is None:
            raise PromptError(*wish.where, f"image: there is no folder to look for {wish.image} in")
        return self.find_image(wish.image)


def _loras(wish: Wish, paired: Paired) -> tuple[UsableLora, ...]:
    """Return what the file names, else the pair's."""
    if wish.lora is not None:
        return tuple(_with_strength(paired.find_lora(one.name), one.strength) for one in wish.lora)
    if not paired.ready.loras and wish.strength is not None:
        raise PromptError(*wish.where, "grid: lora.strength needs a LoRA, and none is set")
    return tuple(_with_strength(lora, wish.strength) for lora in paired.ready.loras)


def asked(wish: Wish) -> tuple[str, ...]:
    """Return the slots that the file itself set, which the workflow then must have."""
    given: Mapping[str, object] = wish.given()
    named = [
        name
        for name in SLOTS
        if given.get(name) is not None and given[name] != _SAYS_NOTHING.get(name)
    ]
    if wish.strength is not None:
        named.append("lora")
    if wish.pair is not None:
        named.append("unet")  # or a workflow with a checkpoint of its own would draw without it
    return (*named, *wish.slots)


def _with_strength(lora: UsableLora, strength: float | None) -> UsableLora:
    if strength is None:
        return lora
    return replace(lora, strength=strength)


def _with_triggers(prompt: str, loras: Sequence[UsableLora]) -> str:
    """Put first trigger words in front, unless the prompt holds one of them or is to say it."""
    missing = [
        lora.triggers[0]
        for lora in loras
        if lora.in_front
        and lora.triggers
        and not any(word.lower() in prompt.lower() for word in lora.triggers)
    ]
    return ", ".join([*missing, prompt])
