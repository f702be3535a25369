"""The plan of a conversion: from the source's header to every byte range of the target.

Everything that can be wrong with a source or a request is found here, from headers alone, before
a byte is written: another format, another model, another layout, a dtype without a rule.
It reads no weights and touches no target.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

from models import flux, gguf_layout, safetensors_file
from models.errors import ModelError
from models.flux import Layout
from models.safetensors_file import SafetensorsFile, TensorInfo
from models.tensor_types import FileType, TensorType
from quantize import recipe
from quantize.errors import Problem, QuantizeError

ARCHITECTURE = "flux"


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor's way: from `source`, rounded to `stored`, to `nbytes` of `type` at `offset`.

    Attributes:
        name: its name in the target.
        source: where it lies in the source.
        stored: the type an unquantised GGUF would have; an F32 weight is rounded to it first.
        type: the type in the target.
        offset: its first byte in the target file.
        nbytes: its length in the target file.
    """

    name: str
    source: TensorInfo
    stored: TensorType
    type: TensorType
    offset: int
    nbytes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Row-major, (out, in) for a matrix."""
        return self.source.shape

    @property
    def weights(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class ConversionPlan:
    """Everything about a conversion that is known before it starts.

    Attributes:
        source: safetensors file.
        target: GGUF file to be made.
        file_type: its recipe.
        tensors: in the order in which they lie in both files.
        header: the target's first bytes, up to its first tensor.
        total_bytes: the target's size.
    """

    source: Path
    target: Path
    file_type: FileType
    tensors: tuple[TensorPlan, ...]
    header: bytes
    total_bytes: int

    @property
    def quantised(self) -> int:
        """How many tensors are packed into another type than an unquantised GGUF would have."""
        return sum(tensor.type is not tensor.stored for tensor in self.tensors)

    @property
    def kept(self) -> int:
        """How many tensors are as in an unquantised GGUF."""
        return len(self.tensors) - self.quantised

    @property
    def weights(self) -> int:
        """How many numbers are converted in all."""
        return sum(tensor.weights for tensor in self.tensors)

    @property
    def source_bytes(self) -> int:
        """Bytes of the source's tensors that are converted."""
        return sum(tensor.source.nbytes for tensor in self.tensors)

    @property
    def saving(self) -> float:
        """The share of the source's bytes that the target does without, at most 1."""
        return 1 - self.total_bytes / self.source_bytes


def plan(source: Path, target: Path, file_type: FileType) -> ConversionPlan:
    """Plan the conversion of one reference-named safetensors file of a FLUX.1.

    Raises:
        QuantizeError: the source is of a kind that has no rule.
        ModelError: it is damaged, incomplete, or no FLUX.1.
    """
    if source.is_dir():
        raise _unusable(
            source,
            "the source is a folder",
            "one file is needed, and this looks like a model in diffusers layout",
        )
    file = safetensors_file.read_header(source)
    tensors = _flux_tensors(file)
    _check_dtypes(source, tensors.values())
    types = {name: _types(name, info, file_type) for name, info in tensors.items()}
    layout = gguf_layout.layout(
        ARCHITECTURE,
        file_type,
        ((name, info.shape, types[name][1]) for name, info in tensors.items()),
    )
    plans = tuple(
        TensorPlan(t.name, tensors[t.name], types[t.name][0], t.type, t.offset, t.nbytes)
        for t in layout.tensors
    )
    return ConversionPlan(source, target, file_type, plans, layout.header, layout.total_bytes)


def _types(name: str, info: TensorInfo, file_type: FileType) -> tuple[TensorType, TensorType]:
    stored = recipe.stored_type(info.dtype, info.shape)
    return stored, recipe.tensor_type(name, info.shape, stored, file_type)


def _flux_tensors(file: SafetensorsFile) -> dict[str, TensorInfo]:
    """Target name to source tensor in file order, once it is sure that they are a FLUX.1."""
    by_name = {info.name: info for info in file.tensors}
    names = flux.reference_names(by_name)
    if flux.layout(names) is Layout.DIFFUSERS:
        raise _unusable(
            file.path,
            "the source is in diffusers layout",
            "its keys are like transformer_blocks.0.attn.to_q, not double_blocks.0.img_attn.qkv",
        )
    tensors = {name: by_name[own] for name, own in names.items()}
    shapes = {name: info.shape for name, info in tensors.items()}
    try:
        strangers = flux.unexpected(shapes, flux.detect(shapes))
    except ModelError as error:
        raise error.about(file.path) from error
    if strangers:
        raise _unusable(
            file.path,
            f"{len(strangers)} of the source's tensors are not FLUX.1's",
            f"there is no rule for {', '.join(strangers[:3])}",
        )
    return tensors


def _check_dtypes(source: Path, tensors: Iterable[TensorInfo]) -> None:
    for info in tensors:
        if info.dtype not in recipe.SOURCE_DTYPES:
            raise _unusable(
                source,
                f"the source is in {info.dtype}",
                f"{info.name} is; {', '.join(recipe.SOURCE_DTYPES)} can be converted",
            )


def _unusable(source: Path, what: str, why: str) -> QuantizeError:
    return QuantizeError(
        Problem.BAD_SOURCE,
        what,
        path=source,
        why=why,
        fix="Use the single-file model in F16 or BF16 (such as flux1-dev.safetensors)",
    )
