import ctypes
import importlib.util
import os
import shutil
import threading
from itertools import groupby
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from models import gguf_file
from models.errors import ModelError
from models.flux import tensor_shapes
from models.tensor_types import BLOCKS, FileType, TensorType
from quantize import convert, row_chunk
from quantize.errors import Problem, QuantizeError
from quantize.kernel import Bytes
from tests import model_files
from tests.convert_kit import convert_file, left_beside
from tests.model_files import TINY, Array, flux_arrays, from_bf16

QKV = "double_blocks.0.img_attn.qkv.weight"
KEPT = "txt_in.weight"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "flux.safetensors", flux_arrays())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out" / "flux-Q4_K_S.gguf"


def ggml_bytes(values: NDArray[np.float32], kind: TensorType) -> bytes:
    """The oracle: a whole tensor by one call of ggml_quantize_chunk, bound here a second time."""
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    library = ctypes.CDLL(spec.submodule_search_locations[0] + "/lib/libggml-base.so")
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    call = library.ggml_quantize_chunk
    call.argtypes = [ctypes.c_int, pointer, pointer, size, size, size, pointer]
    call.restype = ctypes.c_size_t
    width = values.shape[-1]
    out = np.empty(values.size // BLOCKS[kind].size * BLOCKS[kind].nbytes, np.uint8)
    source = np.ascontiguousarray(values)
    written = call(kind, source.ctypes.data, out.ctypes.data, 0, values.size // width, width, None)
    assert written == out.nbytes
    return out.tobytes()


def expected(array: Array, dtype: str, kind: TensorType) -> bytes:
    """What the peers' two steps make of a tensor, in the plainest way."""
    if kind.name == dtype:
        return array.tobytes()
    values: NDArray[np.float32] = from_bf16(array) if dtype == "BF16" else array.astype("f4")
    if dtype == "F32" and array.ndim > 1:
        values = values.astype("f2").astype("f4")
    return ggml_bytes(values, kind)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("file_type", [FileType.Q4_K_S, FileType.Q4_K_M, FileType.Q8_0])
def test_every_tensor_is_what_ggml_gives_for_it(
    tmp_path: Path, target: Path, dtype: str, file_type: FileType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_chunk, "CHUNK_WEIGHTS", 10_000)  # many chunks, the last ones shorter
    arrays = flux_arrays(dtype=dtype)
    source = model_files.write(tmp_path / "flux.safetensors", arrays)
    convert_file(source, target, file_type, workers=3)
    content = target.read_bytes()
    made = gguf_file.read_header(target)
    assert set(made.shapes) == set(arrays)
    for tensor in made.tensors:
        data = content[tensor.offset : tensor.offset + tensor.nbytes]
        assert data == expected(arrays[tensor.name], dtype, tensor.type), tensor.name


@pytest.mark.parametrize("file_type", FileType)
def test_every_file_type_can_be_made(tmp_path: Path, source: Path, file_type: FileType) -> None:
    target = tmp_path / "x.gguf"
    convert_file(source, target, file_type)
    made = gguf_file.read_header(target)
    assert made.metadata["general.file_type"] == file_type
    content, arrays = target.read_bytes(), flux_arrays()
    for name in (QKV, "single_blocks.0.linear2.weight", KEPT):
        tensor = made.tensor(name)
        data = content[tensor.offset : tensor.offset + tensor.nbytes]
        assert data == expected(arrays[name], "F16", tensor.type)


def test_the_gguf_package_reads_the_result(source: Path, target: Path) -> None:
    convert_file(source, target)
    reader = gguf.GGUFReader(target)
    own = [name for name in reader.fields if not name.startswith("GGUF.")]
    assert own == ["general.architecture", "general.quantization_version", "general.file_type"]
    assert [reader.fields[name].contents() for name in own] == ["flux", 2, 14]
    by_name = {tensor.name: tensor for tensor in reader.tensors}
    assert {name: tuple(t.shape[::-1]) for name, t in by_name.items()} == tensor_shapes(TINY)
    qkv = by_name[QKV]
    assert qkv.tensor_type == gguf.GGMLQuantizationType.Q4_K
    back = gguf.quants.dequantize(qkv.data, qkv.tensor_type)
    np.testing.assert_allclose(back, flux_arrays()[QKV].astype("f4"), atol=0.02)
    assert all(tensor.data_offset % 32 == 0 for tensor in reader.tensors)
    assert target.stat().st_size % 32 == 0


def test_tensors_keep_the_order_of_the_source_file(source: Path, target: Path) -> None:
    plan = convert.plan(source, target, FileType.Q4_K_S)
    offsets = [part.info.offset for tensor in plan.tensors for part in tensor.parts]
    assert offsets == sorted(offsets)
    assert [t.offset for t in plan.tensors] == sorted(t.offset for t in plan.tensors)


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "model."])
def test_a_checkpoints_prefix_makes_no_difference(
    tmp_path: Path, source: Path, target: Path, prefix: str
) -> None:
    arrays = {prefix + name: array for name, array in flux_arrays().items()}
    arrays["first_stage_model.decoder.conv_in.bias"] = np.zeros(4, np.float16)
    prefixed = model_files.write(tmp_path / "all_in_one.safetensors", arrays)
    convert_file(source, target)
    convert_file(prefixed, tmp_path / "prefixed.gguf")
    assert (tmp_path / "prefixed.gguf").read_bytes() == target.read_bytes()


def test_the_number_of_workers_makes_no_difference(tmp_path: Path, source: Path) -> None:
    made = []
    for workers in (1, 4):
        convert_file(source, tmp_path / f"{workers}.gguf", workers=workers)
        made.append((tmp_path / f"{workers}.gguf").read_bytes())
    assert made[0] == made[1]


def test_progress_ends_with_everything_done(source: Path, target: Path) -> None:
    plan = convert.plan(source, target, FileType.Q4_K_S)
    steps = list(convert.run(plan, workers=2))
    assert steps[-1].weights_done == steps[-1].weights_total == plan.weights
    assert steps[-1].bytes_total == plan.total_bytes == target.stat().st_size
    done = [(step.weights_done, step.bytes_written) for step in steps]
    assert done == sorted(done)
    in_order = [name for name, _ in groupby(step.tensor for step in steps)]
    assert in_order == [tensor.name for tensor in plan.tensors]


def test_a_plan_tells_what_will_be_saved(source: Path, target: Path) -> None:
    plan = convert.plan(source, target, FileType.Q4_K_S)
    assert (plan.quantised, plan.kept) == (13, len(tensor_shapes(TINY)) - 13)
    assert 0.5 < plan.saving < 0.72
    assert not target.parent.exists()


# --- the target -----------------------------------------------------------------------------------


def test_a_target_that_exists_is_kept_unless_forced(source: Path, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(QuantizeError, match="Use --force") as caught:
        convert_file(source, target)
    assert caught.value.kind is Problem.TARGET_EXISTS
    assert target.read_bytes() == b"mine"
    convert_file(source, target, force=True)
    assert gguf_file.read_header(target).metadata["general.architecture"] == "flux"


def test_a_forced_run_that_fails_keeps_the_old_target(tmp_path: Path, target: Path) -> None:
    arrays = flux_arrays()
    arrays[QKV][0, 0] = np.nan
    source = model_files.write(tmp_path / "x.safetensors", arrays)
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(QuantizeError):
        convert_file(source, target, force=True)
    assert target.read_bytes() == b"mine"
    assert left_beside(target) == [target.name]


def test_the_source_is_never_the_target(source: Path) -> None:
    before = source.read_bytes()
    with pytest.raises(QuantizeError, match="target is the source"):
        convert_file(source, source, force=True)
    assert source.read_bytes() == before


def test_a_closed_or_interrupted_run_leaves_nothing(source: Path, target: Path) -> None:
    plan = convert.plan(source, target, FileType.Q4_K_S)
    stopped = convert.run(plan, workers=2)
    next(stopped)
    assert left_beside(target) == [f"{target.name}.part"]
    stopped.close()
    assert left_beside(target) == []

    interrupted = convert.run(plan, workers=2)
    next(interrupted)
    with pytest.raises(KeyboardInterrupt):
        interrupted.throw(KeyboardInterrupt())
    assert left_beside(target) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("quantize")]


def test_a_source_that_shrinks_meanwhile_is_told(source: Path, target: Path) -> None:
    plan = convert.plan(source, target, FileType.Q4_K_S)
    os.truncate(source, source.stat().st_size - 2)
    with pytest.raises(ModelError, match="ended early") as caught:
        list(convert.run(plan, workers=2))
    assert caught.value.path == source
    assert left_beside(target) == []


def test_a_full_disk_is_told_before_a_byte_is_written(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(source)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(QuantizeError, match="has no room") as caught:
        convert_file(source, target)
    assert caught.value.kind is Problem.NO_SPACE
    assert left_beside(target) == []


def test_a_disk_that_fails_while_writing_is_a_quantize_error(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = convert.plan(source, target, FileType.Q4_K_S)
    write = os.pwrite

    def failing(fd: int, data: bytes, offset: int) -> int:
        if offset > plan.total_bytes // 2:
            raise OSError(28, "No space left on device")
        return write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(QuantizeError, match="No space left on device") as caught:
        list(convert.run(plan, workers=2))
    assert caught.value.kind is Problem.DISK
    assert left_beside(target) == []


def test_a_folder_that_cannot_be_made_is_a_quantize_error(source: Path) -> None:
    with pytest.raises(QuantizeError) as caught:
        convert_file(source, source / "below_a_file" / "x.gguf")
    assert caught.value.kind is Problem.DISK


def test_two_runs_cannot_make_the_same_target(source: Path, target: Path) -> None:
    plan = convert.plan(source, target, FileType.Q4_K_S)
    first = convert.run(plan, workers=1)
    next(first)
    with pytest.raises(QuantizeError, match="another process") as caught:
        list(convert.run(plan, workers=1))
    assert caught.value.kind is Problem.TARGET_BUSY
    list(first)
    assert left_beside(target) == [target.name]


def test_short_writes_are_completed(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_file(source, target)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[:100_000], at))
    convert_file(source, target.with_name("short.gguf"))
    assert target.with_name("short.gguf").read_bytes() == target.read_bytes()


def test_a_kernel_can_take_over_a_type(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sevens:
        def pack(self, raw: Bytes, source: str, rows: int, width: int, out: Bytes) -> None:
            assert (source, raw.nbytes) == ("F16", 2 * rows * width)
            out[:] = 7

    monkeypatch.setattr("quantize.kernel.find", lambda kind: Sevens())
    convert_file(source, target)
    made = gguf_file.read_header(target).tensor(QKV)
    data = target.read_bytes()[made.offset : made.offset + made.nbytes]
    assert data == b"\7" * made.nbytes
