"""ComfyUI's memory management, followed step by step on a card that is only numbers.

Before a model is used, ComfyUI asks for room (its size and what computing will take), unloads
others, and gives the model what is free less what computing takes at least. What does not fit is
*streamed*: it stays in the machine's memory and crosses the bus at each use. Modules are taken
largest first while they fit; to make room, the smallest go first.

Every step here is one of ComfyUI's, in its order and its arithmetic, so that log_lines are the
lines that it prints. What it cannot follow: memory that other programs take or give back between
steps, and, of two models that are wholly loaded, which one Python refers to more often (ComfyUI
unloads the other first; here the smaller one goes).

It reads no file and knows no Flux. Source: ComfyUI 0.3.64, comfy/model_management.py:542-680,
comfy/model_patcher.py:621-742, 800-888. Compared with it by tests/test_vram_comfyui.py.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from models.vram_modules import Module, Weights

MIB, GIB = 1 << 20, 1 << 30
LEAST = 128 * MIB  # for weights, even where computing leaves nothing (model_management.py:664)


class VramState(StrEnum):
    """How ComfyUI was told to treat the card, by the flag that says so."""

    NORMAL = "normal"
    LOW = "--lowvram"
    NO = "--novram"


@dataclass(frozen=True, slots=True)
class Launch:
    """How a host was started, as far as its memory goes.

    Attributes:
        windows: it runs on Windows, where ComfyUI leaves more to others.
        state: of the flags --lowvram and --novram.
        reserve: GiB after --reserve-vram; None without it.
        smart: models stay on the card while there is room (no --disable-smart-memory).
    """

    windows: bool = True
    state: VramState = VramState.NORMAL
    reserve: float | None = None
    smart: bool = True

    @property
    def encoders_on_card(self) -> bool:
        """Whether text encoders compute on the card (model_management.py:843)."""
        return self.state is VramState.NORMAL

    def reserved(self, total: int) -> float:
        """Bytes left to other programs (model_management.py:542-551)."""
        if self.reserve is not None:
            return self.reserve * 1024 * 1024 * 1024
        if not self.windows:
            return 400 * MIB
        return (700 if total / MIB > 15 * 1024 else 600) * MIB

    def least_computing(self, total: int) -> float:
        """minimum_inference_memory(): bytes kept free of weights (model_management.py:556)."""
        return (1024 * 1024 * 1024) * 0.8 + self.reserved(total)


@dataclass(slots=True, eq=False)
class _Held:
    """One model and how much of it is on the card."""

    weights: Weights
    on_card: bool = True  # where it computes; else in the machine's memory
    loaded: float = 0  # bytes that ComfyUI counts as loaded
    there: set[Module] = field(default_factory=set)
    partial: bool = False
    placed: bool = False  # its device is the card's

    @property
    def offloaded(self) -> float:
        return self.weights.size - self.loaded


@dataclass(slots=True)
class Card:
    """A card and the models that a host has used on it.

    Attributes:
        total: bytes of the card.
        idle: bytes that are free while no model is loaded.
        launch: how the host was started.
        log_lines: what ComfyUI has printed so far.
    """

    total: int
    idle: int
    launch: Launch
    log_lines: list[str] = field(default_factory=list)
    _held: dict[str, _Held] = field(default_factory=dict)
    _current: list[_Held] = field(default_factory=list)

    @property
    def free(self) -> float:
        """Bytes that are free now."""
        return self.idle - sum(held.loaded for held in self._held.values() if held.on_card)

    def loaded(self, weights: Weights) -> float:
        """Bytes of a model that ComfyUI counts as loaded."""
        held = self._held.get(weights.name)
        return held.loaded if held else 0

    def resident(self, weights: Weights) -> int:
        """Bytes of a model's weights that lie on the card; what is reckoned beside is not there."""
        held = self._held.get(weights.name)
        there = held.there if held and held.on_card else set()
        return sum(module.streamed for module in there)

    def streamed(self, weights: Weights) -> int:
        """Bytes of a model that cross the bus each time all of it is used once."""
        held = self._held.get(weights.name)
        there = held.there if held else set()
        return sum(module.streamed for module in weights.modules if module not in there)

    def load(
        self,
        weights: Weights,
        required: float = 0,
        minimum: float | None = None,
        *,
        on_card: bool = True,
    ) -> None:
        """Make a model ready for use, as load_models_gpu() does (model_management.py:601).

        Args:
            weights: the model; models are told apart by their names.
            required: bytes that computing would like.
            minimum: bytes that it takes at least; as much as `required` where not given.
            on_card: whether it computes on the card at all.
        """
        reserved = self.launch.reserved(self.total)
        least = self.launch.least_computing(self.total)
        extra = max(least, required + reserved)
        minimum = extra if minimum is None else max(least, minimum + reserved)
        held = self._taken_up(weights, on_card)
        if on_card:
            wanted = held.offloaded if held.placed else held.weights.size
            self._make_room(wanted * 1.1 + extra)
            if self.free < minimum:
                self.log_lines.append(f"{self._make_room(minimum)} models unloaded.")
            self._fill(held, self._budget(held, minimum))
        else:
            held.loaded = held.weights.size  # since its file was read (comfy/sd.py:126)
        held.placed = on_card
        self._current.insert(0, held)

    def _taken_up(self, weights: Weights, on_card: bool) -> _Held:
        """The model, taken out of the list of those that may be unloaded."""
        held = self._held.setdefault(weights.name, _Held(weights, on_card))
        if held in self._current:
            self._current = [other for other in self._current if other is not held]
        else:
            self.log_lines.append(f"Requested to load {weights.name}")
        return held

    def _budget(self, held: _Held, minimum: float) -> float:
        """More bytes that a model may take of the card (model_management.py:654-672)."""
        if self.launch.state is VramState.NO:
            return 0.1
        # MIN_WEIGHT_MEMORY_RATIO is 0 on NVIDIA cards.
        free = self.free + held.loaded
        share = min(free * 0.0, free - self.launch.least_computing(self.total))
        return max(0.1, max(LEAST, free - minimum, share) - held.loaded)

    def _make_room(self, wanted: float) -> int:
        """Unload until so much is free; returns how many models went wholly (free_memory())."""
        order = sorted(
            enumerate(self._current),
            key=lambda one: (-one[1].offloaded, one[1].weights.size, one[0]),
        )
        gone: list[_Held] = []
        for _, held in order:
            if not held.on_card:
                continue
            if self.launch.smart and self.free > wanted:
                break
            if self._unload(held, wanted - self.free if self.launch.smart else None):
                gone.append(held)
        self._current = [held for held in self._current if not any(held is one for one in gone)]
        return len(gone)

    def _unload(self, held: _Held, wanted: float | None) -> bool:
        """Give back so many bytes of a model; tells whether all of it went."""
        if wanted is not None and wanted < held.loaded and self._shed(held, wanted) >= wanted:
            return False
        held.loaded, held.there, held.partial, held.placed = 0, set(), False, False
        return True

    def _shed(self, held: _Held, wanted: float) -> int:
        """partially_unload(): the smallest modules go first; returns bytes (800-863)."""
        freed = 0
        for module in sorted(held.weights.modules, key=_size_and_name):
            if wanted < freed:
                break
            if module in held.there:
                held.there.discard(module)
                freed += module.nbytes
        held.partial = True
        held.loaded -= freed
        return freed

    def _fill(self, held: _Held, more: float) -> None:
        """partially_load() and load(): the largest modules come first (636-742, 865-888)."""
        if not held.partial and held.loaded > 0:
            return  # all of it is there
        budget = held.loaded + more
        whole = budget > held.weights.size
        taken, left = 0, 0
        for module in sorted(held.weights.modules, key=_size_and_name, reverse=True):
            if whole or taken + module.nbytes < budget:
                taken += module.nbytes
                held.there.add(module)
            elif module.castable:
                left += 1
        held.loaded = held.weights.size if whole else taken
        held.partial = left > 0
        # The last word: whether all was asked for, or how many patches are applied at each use.
        # A GGUF keeps its patches elsewhere, so their number is 0.
        how, last = ("partially", "0") if left else ("completely", str(whole))
        self.log_lines.append(
            f"loaded {how} {budget / (1024 * 1024)} {taken / (1024 * 1024)} {last}"
        )


def _size_and_name(module: Module) -> tuple[int, str]:
    return module.nbytes, module.name
