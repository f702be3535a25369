"""The plan of a conversion: from the source's header to every byte range of the target.

Everything that can be wrong with a source or a request is found here or in quantize/source.py,
from headers alone, before a byte is written: another format, another model, a dtype without a rule,
a type that does not fit. It reads no weights and touches no target.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from models import gguf_layout, t5
from models.tensor_types import FileType, TensorType
from quantize import overrides as own
from quantize import recipe, source, t5_recipe
from quantize.errors import Problem, QuantizeError
from quantize.overrides import Override
from quantize.source import Part, Source, Tensor


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor's way: from `parts`, rounded to `stored`, to `nbytes` of `type` at `offset`.

    Attributes:
        name: its name in the target.
        shape: row-major, (out, in) for a matrix.
        parts: where its rows lie in the source.
        stored: the type an unquantised GGUF would have; an F32 weight is rounded to it first.
        type: the type in the target.
        offset: its first byte in the target file.
        nbytes: its length in the target file.
    """

    name: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    stored: TensorType
    type: TensorType
    offset: int
    nbytes: int

    @property
    def weights(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class ConversionPlan:
    """Everything about a conversion that is known before it starts.

    Attributes:
        source: what the user named: a file, an index or a folder.
        files: the files of the source, by the numbers that parts have.
        target: GGUF file to be made.
        architecture: GGUF's name for the model.
        file_type: its recipe.
        tensors: in the order in which they lie in the target.
        header: the target's first bytes, up to its first tensor.
        total_bytes: the target's size.
        notes: what was left out or taken along, in sentences.
    """

    source: Path
    files: tuple[Path, ...]
    target: Path
    architecture: str
    file_type: FileType
    tensors: tuple[TensorPlan, ...]
    header: bytes
    total_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def quantised(self) -> int:
        """How many tensors are packed into another type than an unquantised GGUF would have."""
        return sum(tensor.type is not tensor.stored for tensor in self.tensors)

    @property
    def kept(self) -> int:
        """How many tensors are as in an unquantised GGUF."""
        return len(self.tensors) - self.quantised

    @property
    def types(self) -> Mapping[TensorType, int]:
        """How many tensors have each type, the most frequent first."""
        return dict(Counter(tensor.type for tensor in self.tensors).most_common())

    @property
    def weights(self) -> int:
        """How many numbers are converted in all."""
        return sum(tensor.weights for tensor in self.tensors)

    @property
    def source_bytes(self) -> int:
        """Bytes of the source's tensors that are converted."""
        return sum(part.rows * part.row_bytes for tensor in self.tensors for part in tensor.parts)

    @property
    def saving(self) -> float:
        """The share of the source's bytes that the target does without, at most 1."""
        return 1 - self.total_bytes / self.source_bytes


def plan(
    path: Path,
    target: Path,
    file_type: FileType,
    *,
    overrides: Sequence[Override] = (),
    by_name: bool = False,
) -> ConversionPlan:
    """Plan the conversion of a FLUX.1 or a T5 encoder, in one file or many.

    Args:
        path: safetensors file, index of shards, or folder with either.
        target: file to be made.
        file_type: the recipe.
        overrides: the user's exceptions from it.
        by_name: lay the tensors out sorted by name, as llama.cpp does, not in the source's order.

    Raises:
        QuantizeError: the source is of a kind that has no rule, or a type does not fit.
        ModelError: it is damaged, incomplete, or no model that Vulcan knows.
    """
    model = source.read(path)
    tensors = {tensor.name: tensor for tensor in model.tensors}
    own.check_used(overrides, tensors)
    types = {name: _types(model, tensor, file_type, overrides) for name, tensor in tensors.items()}
    layout = gguf_layout.layout(
        model.architecture,
        file_type,
        (
            (name, tensors[name].shape, types[name][1])
            for name in (sorted(tensors) if by_name else tensors)
        ),
        model.values,
    )
    plans = tuple(
        TensorPlan(
            t.name, t.shape, tensors[t.name].parts, types[t.name][0], t.type, t.offset, t.nbytes
        )
        for t in layout.tensors
    )
    return ConversionPlan(
        model.path,
        model.files,
        target,
        model.architecture,
        file_type,
        plans,
        layout.header,
        layout.total_bytes,
        model.notes,
    )


def _types(
    model: Source, tensor: Tensor, file_type: FileType, overrides: Sequence[Override]
) -> tuple[TensorType, TensorType]:
    """The type that weights are rounded to first, and the one in the target."""
    name, shape = tensor.name, tensor.shape
    stored = _stored(model, tensor)
    wanted = own.override_for(overrides, name, shape)
    if wanted is not None:
        # A plain type is asked for in order to keep numbers: no detour by way of another.
        return (wanted if own.is_plain(wanted) else stored), wanted
    if model.architecture == t5.ARCHITECTURE:
        return stored, t5_recipe.tensor_type(name, shape, stored, file_type, model.layers)
    return stored, recipe.tensor_type(name, shape, stored, file_type)


def _stored(model: Source, tensor: Tensor) -> TensorType:
    """What an unquantised file would store; all parts must agree, or rows would differ."""
    is_t5 = model.architecture == t5.ARCHITECTURE
    rule = t5_recipe.stored_type if is_t5 else recipe.stored_type
    found: dict[TensorType, Part] = {}
    for part in tensor.parts:
        found.setdefault(rule(part.info.dtype, tensor.shape), part)
    if len(found) > 1:
        first, second, *_ = (part.info for part in found.values())
        raise QuantizeError(
            Problem.BAD_SOURCE,
            "parts of one tensor are in different precisions",
            path=model.path,
            why=f"{first.name} is {first.dtype}, {second.name} is {second.dtype}",
            fix="Use the model as it was published, in F16 or BF16",
        )
    return next(iter(found))
