"""Whether a GGUF file is built as it should be: everything that can be told from its header.

models/gguf_file already refuses what cannot be read at all. This looks further: is every tensor
where the one before it ends, is there anything behind the last one, is it a model that Vulcan
knows, with each tensor in its shape and of a type that loaders take?

Findings are sentences. No weight is read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models import flux, gguf_file, gguf_layout, t5
from models.errors import ModelError
from models.gguf_file import DEFAULT_ALIGNMENT, GgufFile
from models.tensor_types import FileType, TensorType
from quantize import source
from quantize.overrides import is_plain

LONGEST_NAME = 63  # bytes; ggml keeps 64, with a zero at the end


@dataclass(frozen=True, slots=True)
class Structure:
    """What a file is, and what is wrong with it.

    Attributes:
        path: the file.
        header: None if it cannot be read.
        problems: sentences; none for a sound file.
    """

    path: Path
    header: GgufFile | None
    problems: tuple[str, ...]

    @property
    def architecture(self) -> str:
        """What its metadata say it is, "" if nothing."""
        return str(self.header.metadata.get("general.architecture", "")) if self.header else ""

    @property
    def types(self) -> Mapping[TensorType, int]:
        """How many tensors have each type, the most frequent first."""
        tensors = self.header.tensors if self.header else ()
        return dict(Counter(tensor.type for tensor in tensors).most_common())


def check(path: Path) -> Structure:
    """Look at a file's header and size."""
    try:
        header = gguf_file.read_header(path)
    except ModelError as error:
        return Structure(path, None, (f"{error.what}: {error.why}" if error.why else error.what,))
    problems = (*_metadata(header), *_places(header, path.stat().st_size), *_model(header))
    return Structure(path, header, problems)


def _metadata(header: GgufFile) -> Iterator[str]:
    packed = any(not is_plain(tensor.type) for tensor in header.tensors)
    version = header.metadata.get("general.quantization_version")
    if packed and version != gguf_layout.QUANTIZATION_VERSION:
        yield f"general.quantization_version is {version}, not {gguf_layout.QUANTIZATION_VERSION}"
    kind = header.metadata.get("general.file_type")
    if kind not in FileType.__members__.values():
        yield f"general.file_type is {kind}, which is no file type that Vulcan knows"


def _places(header: GgufFile, size: int) -> Iterator[str]:
    """Tensors lie one after the other, each padded, and nothing follows them."""
    alignment = header.metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    step = alignment if isinstance(alignment, int) else DEFAULT_ALIGNMENT
    end = header.tensors[0].offset if header.tensors else size
    for tensor in header.tensors:
        if tensor.offset != end:
            yield f"{tensor.name} begins at {tensor.offset}, the one before it ends at {end}"
        end = -(-(tensor.offset + tensor.nbytes) // step) * step
    if size > end:
        yield f"{size - end} bytes lie behind the last tensor"


def _model(header: GgufFile) -> Iterator[str]:
    if not header.tensors:
        yield "there is no tensor in it"
        return
    for tensor in header.tensors:
        if len(tensor.name.encode()) > LONGEST_NAME:
            yield f"the name {tensor.name} is longer than the {LONGEST_NAME} bytes of ggml"
        if len(tensor.shape) == 1 and not is_plain(tensor.type):
            yield f"{tensor.name} is a vector in {tensor.type.name}, which loaders do not expect"
    try:
        yield from _names(header)
    except ModelError as error:
        yield f"{error.what}: {error.why}"


def _names(header: GgufFile) -> Iterator[str]:
    match header.metadata.get("general.architecture"):
        case source.FLUX:
            for name in flux.unexpected(header.shapes, flux.detect(header.shapes)):
                yield f"{name} is no tensor of a FLUX.1"
        case t5.ARCHITECTURE:
            t5.find_in_gguf(header.shapes)
        case other:
            yield f"the architecture is {other!r}, not {source.FLUX!r} or {t5.ARCHITECTURE!r}"
