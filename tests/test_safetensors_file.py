import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, load_file

from models import safetensors_file
from models.errors import ModelError
from tests import model_files

ARRAYS: dict[str, model_files.Array] = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.arange(8, dtype=np.float16).reshape(8),
    "empty": np.zeros((0, 4), np.float32),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "x.safetensors", ARRAYS, {"who": "Flux"})


def raw(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: list[Any], begin: Any, end: Any, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_the_header_of_a_file_written_by_the_library_is_read(file: Path) -> None:
    read = safetensors_file.read_header(file)
    assert read.metadata == {"who": "Flux"}
    assert read.shapes == {name: array.shape for name, array in ARRAYS.items()}
    with file.open("rb") as opened:
        for name, array in ARRAYS.items():
            info = read.tensor(name)
            buffer = bytearray(info.nbytes)
            safetensors_file.read_into(opened.fileno(), info.offset, memoryview(buffer))
            assert bytes(buffer) == array.tobytes()


def test_tensors_come_in_file_order_without_gaps(file: Path) -> None:
    read = safetensors_file.read_header(file)
    for before, after in zip(read.tensors, read.tensors[1:], strict=False):
        assert before.offset + before.nbytes == after.offset
    assert read.tensors[-1].offset + read.tensors[-1].nbytes == file.stat().st_size


def test_an_unknown_tensor_is_named_with_its_file(file: Path) -> None:
    with pytest.raises(ModelError, match=r"x\.safetensors: there is no tensor 'nothing'"):
        safetensors_file.read_header(file).tensor("nothing")


def test_what_we_write_the_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "y.safetensors"
    safetensors_file.write(path, ARRAYS, {"b": "2", "a": "ü"})
    loaded = load_file(path)
    assert set(loaded) == set(ARRAYS)
    assert all((loaded[name] == array).all() for name, array in ARRAYS.items())
    with safetensors.safe_open(path, "np") as opened:
        assert opened.metadata() == {"b": "2", "a": "ü"}
    assert [path.name for path in path.parent.iterdir()] == ["y.safetensors"]


def test_the_same_content_gives_the_same_bytes() -> None:
    one = safetensors_file.serialise(ARRAYS, {"a": "1", "b": "2", "c": "3"})
    two = safetensors_file.serialise(ARRAYS, {"c": "3", "b": "2", "a": "1"})
    assert one == two
    assert int.from_bytes(one[:8], "little") % 8 == 0


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_truncated_file_is_told_with_both_sizes(file: Path, cut: int) -> None:
    size = file.stat().st_size
    os.truncate(file, size - cut)
    with pytest.raises(ModelError, match=rf"truncated: {size - cut} of at least {size} bytes"):
        safetensors_file.read_header(file)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "an empty file"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"GGUF\x03\0\0\0{\0\0\0", "a GGUF file"),  # of 123 tensors
        (b"\x80\x02\0\0\0\0\0\0{", "truncated"),  # a length, no pickle
        (b"PK\x03\x04" + b"\0" * 60, "Vulcan never opens one"),
        (b"\x80\x02}q\0" + b"\0" * 60, "Vulcan never opens one"),
        (b"version https://git-lfs.github.com/spec/v1\n", "never downloaded"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"just text, and then some more of it", "does not begin with a safetensors header"),
        (b"\x01\0\0\0\0\0\0\0{", "a header of 1 bytes is impossible"),
        (b"\xff\xff\xff\xff\0\0\0\0{", "bytes is impossible"),
        (raw({}, b"\0"), "1 bytes lie behind the last tensor"),
        (raw(b"{} and more"), "malformed"),
        (raw(b"{\xff}"), "malformed"),
        (raw(b'{"a":' * 60_000), "nested too deep"),
        (raw(b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":1}'), "occurs twice"),
        (raw({"__metadata__": {"a": 1}}), "something other than text"),
        (raw({"__metadata__": {"a": "\ud800"}}), "malformed"),
        (raw({"__metadata__": []}), "something other than text"),
        (raw({"a": 1}), "lacks dtype, shape or data_offsets"),
        (raw({"a": {"dtype": "F32", "shape": [1]}}), "lacks dtype, shape or data_offsets"),
        (raw({"a": entry([1], 0, 4, "F99")}, b"\0" * 4), "unknown dtype 'F99'"),
        (raw({"a": entry([2], 0, 4)}, b"\0" * 4), "8 bytes, but 4 are set aside"),
        (raw({"a": entry([-1], 0, 4)}, b"\0" * 4), "no natural number"),
        (raw({"a": entry([True], 0, 4)}, b"\0" * 4), "no natural number"),
        (raw({"a": entry([1], 4, 0)}, b"\0" * 4), "set aside"),
        (raw({"a": entry([1], 4, 8)}, b"\0" * 8), "follows a gap"),
        (raw({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"\0" * 8), "overlaps"),
        (raw({"a": entry([1 << 61, 1 << 61], 0, 4)}, b"\0" * 4), "set aside"),
        (raw({"\ud800": entry([], 0, 4)}, b"\0" * 4), "malformed"),
        (raw(b'{"a":' + b"9" * 5000 + b"}"), "malformed"),
    ],
)
def test_what_is_no_sound_file_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        safetensors_file.read_header(path)
    assert why in str(caught.value)
    assert caught.value.path == path


def test_a_missing_file_and_a_folder_are_model_errors(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.safetensors"):
        with pytest.raises(ModelError, match="cannot be read"):
            safetensors_file.read_header(path)


def test_a_file_that_shrank_is_told_not_read_as_zeros(file: Path) -> None:
    info = safetensors_file.read_header(file).tensors[-1]
    with file.open("rb") as opened:
        os.truncate(file, info.offset + 1)
        with pytest.raises(ModelError, match="ended early"):
            safetensors_file.read_into(
                opened.fileno(), info.offset, memoryview(bytearray(info.nbytes))
            )


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "mutated.safetensors"


SOUND = safetensors_file.serialise(ARRAYS, {"who": "Flux"})
HEADER_END = 8 + int.from_bytes(SOUND[:8], "little")


@settings(max_examples=400, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, HEADER_END - 1), st.sampled_from(b'0123456789{}[]",:\x00\xff ')),
        max_size=6,
    ),
    cut=st.integers(0, len(SOUND)),
    tail=st.binary(max_size=3),
)
def test_a_mutated_header_never_crashes_nor_lies(
    scratch: Path, edits: list[tuple[int, int]], cut: int, tail: bytes
) -> None:
    mutated = bytearray(SOUND)
    for place, byte in edits:
        mutated[place] = byte
    scratch.write_bytes(bytes(mutated[: cut or None]) + tail)
    try:
        read = safetensors_file.read_header(scratch)
    except ModelError:
        return
    size = scratch.stat().st_size
    assert all(0 < info.offset <= info.offset + info.nbytes <= size for info in read.tensors)
    load(scratch.read_bytes())  # what we accept, the library accepts


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_garbage_is_always_a_model_error(scratch: Path, content: bytes) -> None:
    scratch.write_bytes(content)
    with pytest.raises(ModelError):
        safetensors_file.read_header(scratch)
