"""What a source holds, as the tensors of the target: each a list of parts that lie in files.

This is where all kinds of sources become alike. One file or many, reference or diffusers layout,
a prefix, FP8 with scales, a FLUX.1 or a T5: behind this there are only parts, which are rows of a
stored tensor that become rows of a target tensor. Everything that cannot be converted is refused
here, by name and reason.

Headers are read, and the scales of scaled FP8; no weight is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from models import checkpoint, flux, flux_layouts, t5
from models.checkpoint import Checkpoint, Located
from models.errors import ModelError
from models.flux import Layout
from models.flux_layouts import Rows
from models.gguf_file import Scalar
from models.safetensors_file import TensorInfo
from quantize import decode, scales
from quantize.errors import Problem, QuantizeError
from quantize.scales import Companions

FLUX = "flux"
TOKENIZER = "tokenizer.huggingface.json"  # GGUF's own key for a tokenizer.json
_TOKENIZER_LIMIT = 32 << 20  # bytes; T5's has 2.4 MB


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a target tensor, and where they lie.

    Attributes:
        info: the stored tensor.
        file: number of the file it lies in.
        source_row: its first row that belongs to the part.
        start_row: the target's row that this becomes.
        rows: how many rows.
        scale: what to multiply the stored numbers by.
    """

    info: TensorInfo
    file: int
    source_row: int
    start_row: int
    rows: int
    scale: float = 1.0

    @property
    def width(self) -> int:
        """Numbers in a row; 1 for a vector."""
        return prod(self.info.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Stored bytes of a row."""
        return self.info.nbytes // self.info.shape[0]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A target tensor: parts that follow one another, row by row."""

    name: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A model that can be converted.

    Attributes:
        path: what the user named.
        files: the files that hold it.
        architecture: GGUF's name for what it is.
        layers: blocks of the model, for recipes that depend on depth.
        tensors: in the order in which the target has them.
        values: further metadata of the target.
        notes: what was left out or taken along, in sentences.
    """

    path: Path
    files: tuple[Path, ...]
    architecture: str
    layers: int
    tensors: tuple[Tensor, ...]
    values: tuple[tuple[str, Scalar], ...] = ()
    notes: tuple[str, ...] = ()


def read(path: Path) -> Source:
    """Recognise the model that a file, an index or a folder holds.

    Tensors keep the order of the file, if it is one file whose tensors are the target's. In all
    other cases they have the model's own order, which does not depend on how it was cut up.

    Raises:
        QuantizeError: it holds what cannot be converted.
        ModelError: it is damaged, incomplete, or neither a FLUX.1 nor a T5 encoder.
    """
    found = checkpoint.read(path)
    names = {name: name for name in found.tensors}
    if t5.is_t5(names):
        return _t5(found)
    return _flux(found, flux.reference_names(found.tensors))


def _flux(found: Checkpoint, names: Mapping[str, str]) -> Source:
    beside = scales.companions({name: found.tensors[own].info.dtype for name, own in names.items()})
    inside = {name: found.tensors[own] for name, own in names.items() if name not in beside}
    try:
        model = flux_layouts.assemble(_shapes(found.path, inside))
    except ModelError as error:
        raise error.about(found.path) from error
    ordered = dict(model.tensors)
    sizes = flux.tensor_shapes(model.shape)
    if model.layout is Layout.REFERENCE and len(found.files) > 1:
        ordered = {name: ordered[name] for name in sizes}
    by_name = _Parts(found, inside, _scales(found, names, beside))
    return Source(
        found.path,
        tuple(file.path for file in found.files),
        FLUX,
        model.shape.double_blocks + model.shape.single_blocks,
        tuple(Tensor(name, sizes[name], by_name.of(rows)) for name, rows in ordered.items()),
        notes=tuple(_notes(len(found.tensors) - len(names), "under another prefix", beside)),
    )


def _t5(found: Checkpoint) -> Source:
    names = {name: name for name in found.tensors}
    beside = scales.companions({name: one.info.dtype for name, one in found.tensors.items()})
    inside = {name: one for name, one in found.tensors.items() if name not in beside}
    try:
        model = t5.find(_shapes(found.path, inside))
    except ModelError as error:
        raise error.about(found.path) from error
    sizes = t5.tensor_shapes(model.shape)
    order = sizes if len(found.files) > 1 else model.tensors
    by_name = _Parts(found, inside, _scales(found, names, beside))
    tokenizer = _tokenizer(found)
    return Source(
        found.path,
        tuple(file.path for file in found.files),
        t5.ARCHITECTURE,
        model.shape.layers,
        tuple(
            Tensor(name, sizes[name], by_name.of((Rows(model.tensors[name], 0, sizes[name][0]),)))
            for name in order
        ),
        (*t5.values(model.shape), *tokenizer),
        (
            *_notes(len(model.left_out), "of a decoder, or twice there", beside),
            "the tokenizer is taken along"
            if tokenizer
            else "no tokenizer is beside the source, so the file has none (ComfyUI brings its own)",
        ),
    )


def _notes(foreign: int, where: str, beside: Companions) -> Iterator[str]:
    if foreign:
        yield f"{foreign} tensors are left out: they are {where}"
    if beside.left_out:
        yield f"{len(beside.left_out)} marks and input scales of scaled FP8 are left out"


def _tokenizer(found: Checkpoint) -> tuple[tuple[str, Scalar], ...]:
    """The T5's tokenizer.json: from the file's own metadata, or from beside it."""
    own = found.metadata.get("tokenizer")
    if own:
        return ((TOKENIZER, own),)
    path = found.files[0].path.with_name("tokenizer.json")
    if not path.is_file():
        return ()
    if path.stat().st_size > _TOKENIZER_LIMIT:
        raise _unusable(path, "the tokenizer is too large", f"it has {path.stat().st_size} bytes")
    try:
        return ((TOKENIZER, path.read_text(encoding="utf-8")),)
    except UnicodeDecodeError as error:
        raise _unusable(path, "the tokenizer is damaged", str(error)) from error


def _shapes(path: Path, tensors: Mapping[str, Located]) -> dict[str, tuple[int, ...]]:
    """Name to shape, once it is sure that each tensor holds numbers of a known kind."""
    for one in tensors.values():
        info = one.info
        if info.dtype not in decode.DTYPES:
            raise _unusable(
                path,
                f"the source is in {info.dtype}",
                f"{info.name} is; {', '.join(decode.DTYPES)} can be converted",
            )
        if not info.shape or not info.nbytes:
            raise _unusable(
                path, "a tensor of the source is empty", f"{info.name} is {list(info.shape)}"
            )
    return {name: one.info.shape for name, one in tensors.items()}


def _scales(found: Checkpoint, names: Mapping[str, str], beside: Companions) -> dict[str, float]:
    """Each scaled weight's factor, by its stripped name."""
    factors: dict[str, float] = {}
    for name, scale in beside.scales.items():
        where = found.tensors[names[scale]]
        factors[name] = scales.read_scale(found.files[where.file].path, where.info)
    return factors


class _Parts:
    """Turns row ranges of named tensors into parts."""

    def __init__(
        self, found: Checkpoint, tensors: Mapping[str, Located], factors: Mapping[str, float]
    ) -> None:
        self._found, self._tensors, self._factors = found, tensors, factors

    def of(self, ranges: tuple[Rows, ...]) -> tuple[Part, ...]:
        """The parts of one target tensor."""
        parts: list[Part] = []
        row = 0
        for rows in ranges:
            one = self._tensors[rows.name]
            factor = self._factors.get(rows.name, 1.0)
            parts.append(Part(one.info, one.file, rows.start, row, rows.count, factor))
            row += rows.count
        return tuple(parts)


def _unusable(source: Path, what: str, why: str) -> QuantizeError:
    return QuantizeError(
        Problem.BAD_SOURCE,
        what,
        path=source,
        why=why,
        fix="Use the model in F16 or BF16 (such as flux1-dev.safetensors)",
    )
