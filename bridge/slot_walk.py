"""Walks upwards from a graph's outputs to the inputs that a request can fill.

Nothing in a graph need be marked; the walk goes the way the picture is made::

    SaveImage <- VAEDecode <- KSampler <- model        <- LoRA loaders <- unet loader
                     ^            ^-----  positive     <- FluxGuidance <- CLIPTextEncode <- CLIP
                     |            ^-----  negative
                     VAE          ^-----  latent_image <- Empty*Latent, or VAEEncode <- LoadImage

    SaveImage <- VAEDecode <- SamplerCustomAdvanced <- noise, guider, sampler, sigmas: one node
                                                       each for seed, model and texts, sampler
                                                       name, steps and scheduler

A value that comes through a link is written where it is kept (``PrimitiveInt``), unless one
primitive serves two slots: then each gets its own value at its own node. Of several samplers,
the *first stage* is the one with no other sampler above it. Steps, cfg, sampler, scheduler,
denoise, guidance and texts are the first stage's, and a later stage follows where the user saved
the same value in both; the seed goes to all.

What this file refuses to know: which files exist, what a host supports, what a request says.
"""

from collections.abc import Callable, Iterable, Mapping

from bridge.graph import (
    Place,
    Workflow,
    behind,
    holder,
    inputs,
    linked,
    upwards,
)
from bridge.named_slots import INPUTS, TEXT_INPUTS, Slot

NUMBER = (int, float)
Kind = type | tuple[type, ...]

# Slot -> the sampler's links behind which it may stand, and the type of its value.
_STAGE: Mapping[Slot, tuple[tuple[str, ...], Kind]] = {
    Slot.STEPS: (("sigmas",), int),
    Slot.SCHEDULER: (("sigmas",), str),
    Slot.DENOISE: (("sigmas",), NUMBER),
    Slot.SAMPLER: (("sampler",), str),
    Slot.CFG: (("guider",), NUMBER),
    Slot.SEED: (("noise",), int),
    Slot.UNET: (("model", "guider"), str),
}


class Walk:
    """One graph's samplers, and what stands above them; `own` inputs have a name of their own."""

    def __init__(
        self, graph: Workflow, outputs: tuple[str, ...], above: list[str], own: frozenset[Place]
    ) -> None:
        self._graph = graph
        self._own = own
        self._outputs = outputs
        self._above = above
        self.samplers = self._stages()
        self._first = self.samplers[0] if self.samplers else None
        found = [self._text(stage, "positive") for stage in self.samplers or (None,)]
        alike = [node for node in found if node and self._same_text(found[0], node)]
        self.texts = tuple(dict.fromkeys(alike))
        self.negatives = self._negatives()

    def places(self) -> dict[Slot, tuple[Place, ...]]:
        """Return the inputs to write, by slot, with shared primitives told apart."""
        readers: dict[Slot, tuple[tuple[Place, Kind], ...]] = {
            **{slot: self._staged(slot) for slot in _STAGE},
            **self._sizes(),
            **self._files(),
            Slot.PROMPT: tuple((p, str) for node in self.texts for p in self._words(node)),
            Slot.NEGATIVE: tuple((p, str) for p in self._negative_words()),
            Slot.GUIDANCE: self._guidance(),
            Slot.IMAGE: self._picture(),
            Slot.PREFIX: tuple((Place(node, "filename_prefix"), str) for node in self._outputs),
        }
        return self._written(readers)

    def _written(
        self, readers: Mapping[Slot, tuple[tuple[Place, Kind], ...]]
    ) -> dict[Slot, tuple[Place, ...]]:
        held = {
            slot: [(place, holder(self._graph, place, kind)) for place, kind in found]
            for slot, found in readers.items()
        }
        users: dict[Place, set[Slot]] = {}
        for slot, found in held.items():
            for _, where in found:
                if where is not None:
                    users.setdefault(where, set()).add(slot)
        return {
            slot: tuple(
                dict.fromkeys(
                    where if len(users[where]) == 1 else place
                    for place, where in found
                    if where is not None
                )
            )
            for slot, found in held.items()
        }

    # Samplers

    def _stages(self) -> tuple[str, ...]:
        """Return the samplers, those without another above them first, each nearest first."""
        nodes = [node for node in self._above if self._samples(node)]
        depth = {
            node: sum(other in nodes for other in upwards(self._graph, [node])) for node in nodes
        }
        return tuple(sorted(nodes, key=lambda node: depth[node]))

    def _samples(self, node: str) -> bool:
        names = inputs(self._graph, node)
        return "latent_image" in names or (
            "steps" in names and ("seed" in names or "noise_seed" in names)
        )

    def _staged(self, slot: Slot) -> tuple[tuple[Place, Kind], ...]:
        links, kind = _STAGE[slot]
        if self._first is None:
            return self._only(self._find(self._above, slot, kind), kind)
        found = [
            self._find([stage, *behind(self._graph, stage, *links)], slot, kind)
            for stage in self.samplers
        ]
        return tuple(
            (place, kind)
            for place in found
            if place and (slot is Slot.SEED or self._alike(found[0], place, kind))
        )

    def _find(self, nodes: Iterable[str], slot: Slot, kind: Kind) -> Place | None:
        """Return the nearest input that this slot fills and that a value can be written to."""
        places = (Place(node, name) for node in nodes for name in INPUTS[slot])
        return next((place for place in places if self._fillable(place, kind)), None)

    def _fillable(self, place: Place, kind: Kind) -> bool:
        return (
            place not in self._own
            and place.input in inputs(self._graph, place.node)
            and holder(self._graph, place, kind) is not None
        )

    def _only(self, place: Place | None, kind: Kind) -> tuple[tuple[Place, Kind], ...]:
        return ((place, kind),) if place else ()

    def _alike(self, first: Place | None, other: Place, kind: Kind) -> bool:
        return first is not None and self._value(first, kind) == self._value(other, kind)

    def _value(self, place: Place, kind: Kind) -> object:
        where = holder(self._graph, place, kind)
        return inputs(self._graph, where.node)[where.input] if where else None

    # Texts

    def _guider(self, stage: str) -> str:
        return linked(self._graph, stage, "guider") or stage

    def _text(self, stage: str | None, side: str) -> str | None:
        """Return the nearest text encoder on one side of a stage."""
        if stage is None:
            nodes = self._above
        elif side == "negative":
            nodes = behind(self._graph, self._guider(stage), "negative")
        else:
            names = ("positive", "conditioning", "cond1")
            nodes = behind(self._graph, self._guider(stage), *names) or behind(self._graph, stage)
        return next((node for node in nodes if self._encodes(node)), None)

    def _encodes(self, node: str) -> bool:
        values = inputs(self._graph, node)
        return "clip" in values and any(name in values for name in TEXT_INPUTS)

    def _words(self, node: str) -> list[Place]:
        places = [Place(node, name) for name in TEXT_INPUTS if name in inputs(self._graph, node)]
        return [place for place in places if self._fillable(place, str)]

    def _same_text(self, first: str | None, other: str) -> bool:
        if first is None or first == other:
            return first == other
        return [self._value(place, str) for place in self._words(first)] == [
            self._value(place, str) for place in self._words(other)
        ]

    def _negatives(self) -> tuple[Place, ...]:
        """Return where the first stage takes its negative, and who shares it."""
        stages = [Place(self._guider(stage), "negative") for stage in self.samplers]
        links = [inputs(self._graph, place.node).get("negative") for place in stages]
        alike = [place for place, link in zip(stages, links, strict=True) if link == links[0]]
        return tuple(dict.fromkeys(alike)) if links and links[0] else ()

    def _negative_words(self) -> list[Place]:
        """Return the negative's own words; none where it is the prompt's, or zeroed out."""
        if self._first is None:
            return []
        path = behind(self._graph, self._guider(self._first), "negative")
        zeroed = any(self._graph[node]["class_type"] == "ConditioningZeroOut" for node in path)
        node = self._text(self._first, "negative")
        return [] if node is None or zeroed or node in self.texts else self._words(node)

    def _guidance(self) -> tuple[tuple[Place, Kind], ...]:
        found = [
            self._find(
                behind(self._graph, self._guider(stage), "positive", "conditioning", "cond1"),
                Slot.GUIDANCE,
                NUMBER,
            )
            for stage in self.samplers
        ]
        return tuple((p, NUMBER) for p in found if p and self._alike(found[0], p, NUMBER))

    # Sizes and files

    def _sizes(self) -> dict[Slot, tuple[tuple[Place, Kind], ...]]:
        """Return width, height and batch of the node that makes or scales the first latent.

        ``ModelSamplingFlux`` is told the size as well: its shift depends on it.
        """
        nodes = self._before(self._first) if self._first else self._above
        sized = [node for node in nodes if self._has(node, "width", "height")]
        empty = [node for node in sized if self._has(node, "batch_size")]
        shifts = [
            node
            for node in (upwards(self._graph, [self._first]) if self._first else ())
            if self._has(node, "width", "height") and self._has(node, "max_shift")
        ]
        told = [*(empty or sized)[:1], *shifts] if sized else []
        batch = self._find(nodes, Slot.BATCH, int)
        return {
            Slot.WIDTH: tuple((Place(node, "width"), int) for node in told),
            Slot.HEIGHT: tuple((Place(node, "height"), int) for node in told),
            Slot.BATCH: self._only(batch, int),
        }

    def _before(self, stage: str) -> list[str]:
        """Return a stage and what its latent is made of; some samplers make it themselves."""
        return [stage, *behind(self._graph, stage, "latent_image", "latent", "samples", "image")]

    def _has(self, node: str, *names: str) -> bool:
        return all(self._fillable(Place(node, name), NUMBER) for name in names)

    def _files(self) -> dict[Slot, tuple[tuple[Place, Kind], ...]]:
        clips = upwards(self._graph, self.texts[:1]) if self.texts else self._above
        pair = [node for node in clips if "clip_name3" not in inputs(self._graph, node)]
        vae = self._find(self._above, Slot.VAE, str)
        return {
            Slot.CLIP_L: self._only(self._find(pair, Slot.CLIP_L, str), str),
            Slot.T5: self._only(self._find(pair, Slot.T5, str), str),
            Slot.VAE: self._followed(vae, lambda node: Place(node, "vae_name")),
        }

    def _followed(
        self, first: Place | None, same: Callable[[str], Place]
    ) -> tuple[tuple[Place, Kind], ...]:
        """Return a place and those like it that the user saved the same value in."""
        places = [same(node) for node in self._above] if first else []
        usable = [place for place in places if self._fillable(place, str)]
        return tuple((place, str) for place in usable if self._alike(first, place, str))

    def _picture(self) -> tuple[tuple[Place, Kind], ...]:
        """Return the picture that the first latent is made of, else the only one there is."""
        start = self._before(self._first) if self._first else []
        first = [node for node in start if self._loads_picture(node)][:1]
        every = [node for node in self._above if self._loads_picture(node)]
        chosen = first or (every if len(every) == 1 else [])
        return tuple((Place(node, "image"), str) for node in chosen)

    def _loads_picture(self, node: str) -> bool:
        values = inputs(self._graph, node)
        return isinstance(values.get("image"), str) and "channel" not in values
