import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import gguf_file, gguf_layout
from models.errors import ModelError
from models.tensor_types import FileType, TensorType

WEIGHTS = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)


def write(path: Path) -> Path:
    """A file with every kind of value, made by the gguf package."""
    writer = gguf.GGUFWriter(path, "flux")
    writer.add_uint8("u8", 8)
    writer.add_int8("i8", -8)
    writer.add_uint16("u16", 16)
    writer.add_int16("i16", -16)
    writer.add_uint32("u32", 32)
    writer.add_int32("i32", -32)
    writer.add_uint64("u64", 1 << 63)
    writer.add_int64("i64", -64)
    writer.add_float32("f32", 0.5)
    writer.add_float64("f64", 0.25)
    writer.add_bool("yes", True)
    writer.add_string("text", "Flüx")
    writer.add_array("numbers", [1, 2, 3])
    writer.add_array("words", ["a", "b", ""])
    writer.add_tensor("plain", WEIGHTS)
    writer.add_tensor("half", WEIGHTS[0].astype(np.float16))
    packed = gguf.quants.quantize(WEIGHTS, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("packed", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "x.gguf")


def test_every_kind_of_value_is_read(file: Path) -> None:
    assert gguf_file.read_header(file).metadata == {
        "general.architecture": "flux",
        "u8": 8,
        "i8": -8,
        "u16": 16,
        "i16": -16,
        "u32": 32,
        "i32": -32,
        "u64": 1 << 63,
        "i64": -64,
        "f32": 0.5,
        "f64": 0.25,
        "yes": True,
        "text": "Flüx",
        "numbers": (1, 2, 3),
        "words": ("a", "b", ""),
    }


def test_tensors_are_where_the_gguf_package_finds_them(file: Path) -> None:
    ours = gguf_file.read_header(file)
    theirs = gguf.GGUFReader(file).tensors
    assert [tensor.name for tensor in ours.tensors] == [tensor.name for tensor in theirs]
    for tensor, other in zip(ours.tensors, theirs, strict=True):
        assert tensor.shape == tuple(int(size) for size in reversed(other.shape))
        assert tensor.type == other.tensor_type
        assert (tensor.offset, tensor.nbytes) == (other.data_offset, other.n_bytes)
    assert ours.shapes["packed"] == (4, 256)


def test_an_unknown_tensor_is_named_with_its_file(file: Path) -> None:
    with pytest.raises(ModelError, match=r"x\.gguf: there is no tensor 'nothing'"):
        gguf_file.read_header(file).tensor("nothing")


def test_a_truncated_file_is_told(file: Path) -> None:
    size = file.stat().st_size
    # The last tensor's padding may be missing, its bytes may not.
    end = max(tensor.offset + tensor.nbytes for tensor in gguf_file.read_header(file).tensors)
    os.truncate(file, end)
    assert gguf_file.read_header(file).tensors
    for length in (end - 1, size // 2, 300, 24, 5):
        os.truncate(file, length)
        with pytest.raises(ModelError, match="damaged"):
            gguf_file.read_header(file)


def header(*, version: int = 3, tensors: int = 0, values: int = 0, body: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values) + body


def text(word: bytes) -> bytes:
    return struct.pack("<Q", len(word)) + word


def info(name: bytes, shape: list[int], kind: int = 0, offset: int = 0) -> bytes:
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dims + struct.pack("<IQ", kind, offset)


def value(key: bytes, kind: int, packed: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + packed


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "an empty file"),
        (raw := b"{}" + b"\0" * 30, "does not begin with GGUF"),
        (b"\x02\0\0\0\0\0\0\0{}", "a safetensors file"),
        (b"PK\x03\x04", "Vulcan never opens one"),
        (b"GGUF\0\0\0\x03" + raw, "big-endian"),
        (header(version=1), "version 1"),
        (header(values=1 << 60), "where it ends"),
        (header(tensors=1 << 60), "where it ends"),
        (header(values=1, body=struct.pack("<Q", 1 << 62)), "where it ends"),
        (header(values=1, body=value(b"k", 99, b"")), "no value type 99"),
        (header(values=1, body=value(b"k", 9, struct.pack("<IQ", 4, 1 << 60))), "where it ends"),
        (header(values=1, body=value(b"k", 9, struct.pack("<IQ", 8, 1 << 60))), "where it ends"),
        (header(values=1, body=value(b"k", 9, struct.pack("<IQ", 9, 1))), "no value type 9"),
        (header(values=1, body=text(b"\xff") + b"\0" * 8), "malformed"),
        (header(values=2, body=value(b"k", 0, b"1") * 2), "occurs twice"),
        (
            header(values=1, body=value(b"general.alignment", 4, b"\x21\0\0\0")),
            "alignment of 33 is impossible",
        ),
        (header(tensors=1, body=info(b"t", [])), "0 dimensions"),
        (header(tensors=1, body=info(b"t", [1] * 5)), "5 dimensions"),
        (header(tensors=1, body=info(b"t", [0])), "the shape (0,)"),
        (header(tensors=1, body=info(b"t", [4], kind=4)), "tensor type 4"),
        (header(tensors=1, body=info(b"t", [100], kind=12)), "no multiple of 256"),
        (header(tensors=1, body=info(b"t", [4], offset=8)), "not aligned"),
        (header(tensors=1, body=info(b"t", [1 << 39, 1 << 39])), "truncated"),
        (header(tensors=2, body=info(b"t", [4]) * 2), "occurs twice"),
        (header(tensors=2, body=info(b"t", [40]) + info(b"u", [4], offset=32)), "overlaps"),
    ],
)
def test_what_is_no_sound_file_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        gguf_file.read_header(path)
    assert why in str(caught.value)
    assert caught.value.path == path


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        gguf_file.read_header(tmp_path / "nothing.gguf")


@pytest.fixture(scope="module")
def sound() -> Iterator[tuple[Path, bytes, int]]:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "mutated.gguf")
        end = min(tensor.offset for tensor in gguf_file.read_header(path).tensors)
        yield path, path.read_bytes(), end


@settings(max_examples=500, deadline=None)
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5),
    kept=st.floats(0, 1),
)
def test_a_mutated_header_never_crashes_nor_lies(
    sound: tuple[Path, bytes, int], edits: list[tuple[float, int]], kept: float
) -> None:
    path, content, header_end = sound
    mutated = bytearray(content)
    for place, byte in edits:
        mutated[int(place * header_end)] = byte
    path.write_bytes(mutated[: int(kept * len(mutated)) or None])
    try:
        read = gguf_file.read_header(path)
    except ModelError:
        return
    size = path.stat().st_size
    assert all(0 < t.offset < t.offset + t.nbytes <= size for t in read.tensors)


def test_a_layout_is_the_file_that_the_gguf_package_reads(tmp_path: Path) -> None:
    tensors = [
        ("a.weight", (4, 256), TensorType.Q4_K),
        ("b.bias", (3,), TensorType.F16),
        ("c.scale", (5,), TensorType.F32),
    ]
    made = gguf_layout.layout("flux", FileType.Q4_K_S, tensors)
    assert len(made.header) % 32 == 0
    assert [tensor.nbytes for tensor in made.tensors] == [4 * 144, 6, 20]
    assert made.total_bytes == len(made.header) + 576 + 32 + 32
    path = tmp_path / "x.gguf"
    path.write_bytes(made.header.ljust(made.total_bytes, b"\0"))

    assert gguf_file.read_header(path).tensors == made.tensors
    reader = gguf.GGUFReader(path)
    own = [name for name in reader.fields if not name.startswith("GGUF.")]
    assert own == ["general.architecture", "general.quantization_version", "general.file_type"]
    assert [reader.fields[name].contents() for name in own] == ["flux", 2, 14]
    assert [(t.name, t.data_offset) for t in reader.tensors] == [
        (t.name, t.offset) for t in made.tensors
    ]
