"""The sizes of the base that a LoRA was made for, guessed from the LoRA alone.

Each matrix of a LoRA has a side as long as a side of its target. So most files tell the width of
their base; one of 3072 is taken for FLUX.1-dev, and any other for a Flux with just the blocks that
the LoRA names. A guess is for looking at a file; whoever has the base asks models/base_shape.py.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from models import lora_keys
from models.flux import FLUX_DEV, FluxShape, tensor_shapes
from models.lora_keys import Part, Target
from models.safetensors_file import TensorInfo

_MOST_BLOCKS = 256  # a key may name block 999999999; nobody's Flux has so many
_DOUBLE = re.compile(r"(?:double|(?<!single_)transformer)_blocks[._]([0-9]{1,9})[._]")
_SINGLE = re.compile(r"single(?:_transformer)?_blocks[._]([0-9]{1,9})[._]")
_HEAD = 128  # width of an attention head in every FLUX.1

# So many times the hidden width are the sides that tell it.
_HIDDENS = (1, 2, 3, 6)


def guess(tensors: Iterable[TensorInfo]) -> FluxShape:
    """The sizes that agree with most of the LoRA's matrices; FLUX.1-dev's where nothing tells."""
    infos = list(tensors)
    doubles, singles = _blocks(infos, _DOUBLE), _blocks(infos, _SINGLE)
    probe = replace(
        FLUX_DEV,
        double_blocks=max(doubles, FLUX_DEV.double_blocks),
        single_blocks=max(singles, FLUX_DEV.single_blocks),
    )
    sides = list(_sides(infos, probe))
    hidden = _most(Counter(_hiddens(sides)), FLUX_DEV.hidden)
    if hidden == FLUX_DEV.hidden:
        return _with_ends(FLUX_DEV, sides)
    narrow = replace(
        FLUX_DEV,
        hidden=hidden,
        heads=max(1, hidden // _HEAD),
        double_blocks=doubles,
        single_blocks=singles,
        mlp=_most(Counter(_mlps(sides, hidden)), 4 * hidden),
    )
    return _with_ends(narrow, sides)


def _blocks(infos: Iterable[TensorInfo], pattern: re.Pattern[str]) -> int:
    """How many blocks there must be for the highest that is named."""
    named = (int(found[1]) for info in infos if (found := pattern.search(info.name)))
    return max((index + 1 for index in named if index < _MOST_BLOCKS), default=0)


Side = tuple[str, int, int]  # module; its length in FLUX.1-dev; the length that the LoRA has


def _sides(infos: Iterable[TensorInfo], probe: FluxShape) -> Iterator[Side]:
    """The side of each matrix that is also one of its target."""
    shapes, targets = tensor_shapes(probe), lora_keys.targets(probe)
    for info in infos:
        key = lora_keys.split(info.name)
        target = targets.get(key.stem) if key else None
        if key and target and len(info.shape) == 2 and 0 not in info.shape:
            yield from _side(key.part, target, info, shapes[f"{target.module}.weight"][1])


def _side(part: Part, target: Target, info: TensorInfo, width: int) -> Iterator[Side]:
    if part is Part.DOWN:
        yield f"{target.module} in", width, info.shape[1]
    if part is Part.UP:
        yield target.module, target.rows, info.shape[0]


def _hiddens(sides: Iterable[Side]) -> Iterator[int]:
    for _, length, found in sides:
        times, rest = divmod(length, FLUX_DEV.hidden)
        if not rest and times in _HIDDENS and not found % times:
            yield found // times


def _mlps(sides: Iterable[Side], hidden: int) -> Iterator[int]:
    attention = {21504: 3, 15360: 1}  # linear1's rows and linear2's inputs hold both
    for _, length, found in sides:
        rest = found - attention.get(length, 0) * hidden
        if (length == FLUX_DEV.mlp or length in attention) and rest > 0:
            yield rest


def _with_ends(shape: FluxShape, sides: Iterable[Side]) -> FluxShape:
    """The shape with the model's inputs and output as wide as the LoRA's, where it changes them."""
    found = {side: length for side, _, length in sides}
    return replace(
        shape,
        in_channels=found.get("img_in in", shape.in_channels),
        context=found.get("txt_in in", shape.context),
        pooled=found.get("vector_in.in_layer in", shape.pooled),
        out_channels=found.get("final_layer.linear", shape.out_channels),
    )


def _most(votes: Counter[int], default: int) -> int:
    return votes.most_common(1)[0][0] if votes else default
