"""Whether a GGUF was made of a source, told by the weights that quantising leaves as they are.

Neither names nor times say it, and a GGUF holds no hash of its source. But every file type keeps
the way in and out of the network as it is in an F16 source, bit for bit, and training changes that,
too. Knows F16 sources in the reference's names only, and nothing of how they are quantised.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from models import gguf_file, safetensors_file
from models.errors import ModelError
from models.gguf_file import GgufTensor
from models.safetensors_file import TensorInfo
from models.tensor_types import TensorType


def made_of(gguf: Path, source: Path) -> bool:
    """Tell whether all F16 weights of a GGUF are the source's; a damaged file is of none.

    Raises:
        OSError: a file is not there, or the disk failed.
    """
    try:
        kept = list(_kept(gguf, source))
        with gguf.open("rb") as made, source.open("rb") as origin:
            same = [_bytes(made, ours) == _bytes(origin, theirs) for ours, theirs in kept]
    except ModelError:
        return False
    return bool(same) and all(same)


def _kept(gguf: Path, source: Path) -> Iterator[tuple[GgufTensor, TensorInfo]]:
    """Yield what is F16 in the GGUF, and the same in the source, which must have it."""
    origin = safetensors_file.read_header(source)
    for tensor in gguf_file.read_header(gguf).tensors:
        if tensor.type is TensorType.F16:
            yield tensor, origin.tensor(tensor.name)


def _bytes(file: BinaryIO, tensor: GgufTensor | TensorInfo) -> bytes:
    content = bytearray(tensor.nbytes)
    safetensors_file.read_into(file.fileno(), tensor.offset, memoryview(content))
    return bytes(content)
