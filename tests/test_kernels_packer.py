"""What a packer does around its kernel: tails, bad weights, threads, and doing without LLVM."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.kernel_identity import TARGETS, runnable_widths
from models.tensor_types import BLOCKS, TensorType
from quantize import decode, kernel
from quantize.ggml_reference import GgmlKernel
from quantize.kernels import jit
from quantize.kernels import packer as packer_module
from quantize.kernels.bad_weight import BadWeightError, TooLargeError
from quantize.kernels.halves import SOURCES
from quantize.kernels.packer import Packer
from tests.kernel_kit import packer

Bytes = NDArray[np.uint8]
ROOT = Path(__file__).resolve().parents[1]
HOST = runnable_widths()[0]
Q4 = kernel.OWN[TensorType.Q4_K]


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    return np.random.default_rng(5).standard_normal((3, 3072)).astype(np.float32)


def pack(by: kernel.Kernel, kind: TensorType, raw: Bytes, source: str) -> Bytes:
    count = raw.nbytes // SOURCES[source].nbytes
    out = np.empty(count // BLOCKS[kind].size * BLOCKS[kind].nbytes, np.uint8)
    by.pack(raw, source, 1, count, out)
    return out


def flat(values: NDArray[np.generic]) -> Bytes:
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1)


def test_layouts_are_those_of_the_tensor_types() -> None:
    for kind, block in kernel.OWN.items():
        assert block.name == kind.name
        assert (block.layout.size, block.layout.nbytes) == (BLOCKS[kind].size, BLOCKS[kind].nbytes)


@pytest.mark.parametrize("kind", TensorType)
def test_every_type_has_a_kernel_that_packs_as_ggml_does(
    kind: TensorType, rows: NDArray[np.float32]
) -> None:
    theirs = pack(kernel.by_ggml(kind), kind, flat(rows), "F32")
    assert pack(kernel.find(kind), kind, flat(rows), "F32").tobytes() == theirs.tobytes()


@pytest.mark.parametrize("kind", kernel.OWN)
def test_any_number_of_blocks_is_packed_like_many(
    kind: TensorType, rows: NDArray[np.float32]
) -> None:
    found, size, nbytes = kernel.find(kind), BLOCKS[kind].size, BLOCKS[kind].nbytes
    whole = pack(found, kind, flat(rows), "F32")
    for count in (0, 1, 2, 3, 5, 7, 13):
        part = pack(found, kind, flat(rows)[: 4 * count * size], "F32")
        assert part.tobytes() == whole.tobytes()[: count * nbytes]


def test_buffers_need_no_alignment(rows: NDArray[np.float32]) -> None:
    room = np.empty(4 * rows.size + 3, np.uint8)
    room[3:] = flat(rows)
    packed = np.empty(rows.size // 256 * 144 + 1, np.uint8)
    kernel.find(TensorType.Q4_K).pack(room[3:], "F32", 1, rows.size, packed[1:])
    straight = pack(kernel.find(TensorType.Q4_K), TensorType.Q4_K, flat(rows), "F32")
    assert packed[1:].tobytes() == straight.tobytes()


@pytest.mark.parametrize("source", ["F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize("kind", [TensorType.Q8_0, TensorType.Q4_K, TensorType.Q4_0])
def test_fp8_is_packed_like_the_floats_that_it_stands_for(kind: TensorType, source: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    codes = codes[np.isfinite(decode.FP8_TABLES[source])]
    raw = np.resize(codes, 256 * 21)
    floats = decode.FP8_TABLES[source][raw]
    mine = pack(kernel.find(kind), kind, raw, source)
    assert mine.tobytes() == pack(kernel.by_ggml(kind), kind, flat(floats), "F32").tobytes()


# --- bad weights ----------------------------------------------------------------------------------

BAD = {
    "F32": [(0x7FC00000, "NaN"), (0xFF800001, "NaN"), (0x7F800000, "infinity")],
    "F32 as F16": [(0x7FC00000, "NaN"), (0xFF800000, "infinity"), (0x477FF000, "a weight beyond")],
    "BF16": [(0x7FC0, "NaN"), (0xFF80, "infinity")],
    "F16": [(0x7E00, "NaN"), (0xFC00, "infinity")],
    "F8_E4M3": [(0x7F, "NaN"), (0xFF, "NaN")],
    "F8_E5M2": [(0x7F, "NaN"), (0xFC, "infinity")],
}
CASES = [(source, bits, what) for source, found in BAD.items() for bits, what in found]


@pytest.mark.parametrize(("source", "bits", "what"), CASES)
@pytest.mark.parametrize("kind", [*kernel.OWN, TensorType.Q4_0, TensorType.F16])
def test_the_first_bad_weight_is_named(kind: TensorType, source: str, bits: int, what: str) -> None:
    raw = np.full(256 * 40, 0x31, np.dtype(f"u{SOURCES[source].nbytes}"))
    raw[[5000, 7000]] = bits
    with pytest.raises(BadWeightError, match=rf"weight 5000 is {what}") as caught:
        pack(kernel.find(kind), kind, flat(raw), source)
    assert caught.value.index == 5000


@pytest.mark.parametrize("width", runnable_widths())
@pytest.mark.parametrize("kind", kernel.OWN)
@settings(max_examples=15, deadline=None)
@given(at=st.integers(0, 256 * 9 - 1), value=st.sampled_from([np.nan, -np.nan, np.inf, -np.inf]))
def test_a_bad_weight_is_found_wherever_it_is(
    kind: TensorType, width: int, at: int, value: float
) -> None:
    values = np.random.default_rng(at).standard_normal(256 * 9).astype(np.float32)
    values[at // 16 * 16 : at // 16 * 16 + 16] = 0  # the emptier its neighbours, the better hidden
    values[at] = value
    with pytest.raises(BadWeightError) as caught:
        pack(packer(kind, width), kind, flat(values), "F32")
    assert caught.value.index == at


@pytest.mark.parametrize("value", [1e10, -1e10])
@pytest.mark.parametrize("kind", [*kernel.OWN, TensorType.Q4_0, TensorType.F16])
def test_a_weight_too_large_for_the_type_is_named_and_an_overflow(
    kind: TensorType, value: float, rows: NDArray[np.float32], capfd: pytest.CaptureFixture[str]
) -> None:
    values = rows.reshape(-1).copy()
    values[5001] = value
    with pytest.raises(TooLargeError, match=f"1e.10, too large for {kind.name}") as caught:
        pack(kernel.find(kind), kind, flat(values), "F32")
    assert caught.value.index == 5001
    assert isinstance(caught.value, OverflowError)
    capfd.readouterr()  # where ggml packs, it says so too, on stderr


def test_of_many_bad_weights_the_first_is_named_batch_by_batch(
    rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packer_module, "_BATCH", 512)
    values = rows.reshape(-1).copy()
    values[[2000, 5001, 9000]] = 1e10
    with pytest.raises(TooLargeError) as large:
        pack(packer(TensorType.Q4_K, 0), TensorType.Q4_K, flat(values), "F32")
    values[[6000, 8000]] = np.nan
    with pytest.raises(BadWeightError) as bad:
        pack(packer(TensorType.Q4_K, 0), TensorType.Q4_K, flat(values), "F32")
    assert (large.value.index, bad.value.index) == (2000, 6000)


def test_wrong_sizes_are_refused(rows: NDArray[np.float32]) -> None:
    found, good = kernel.find(TensorType.Q4_K), np.empty(36 * 144, np.uint8)
    with pytest.raises(ValueError, match="bytes are needed"):
        found.pack(flat(rows), "F32", 3, 3072, good[1:])
    with pytest.raises(ValueError, match="bytes are needed"):
        found.pack(flat(rows), "BF16", 3, 3072, good)
    with pytest.raises(ValueError, match="no whole blocks"):
        found.pack(flat(rows), "F32", 9, 1000, good)
    with pytest.raises(ValueError, match="rows of"):
        kernel.find(TensorType.F16).pack(flat(rows), "F16", 3, 3072, good)


# --- compiling ------------------------------------------------------------------------------------


@pytest.mark.skipif(not HOST, reason="no vectors here")
def test_threads_that_meet_at_a_new_kernel_compile_it_once(
    rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, times, ready = jit.compiled, [], Barrier(6)

    def counted(*arguments: object) -> jit.Compiled:
        times.append(arguments)
        return compiled(*arguments)  # type: ignore[arg-type] # handed on

    def work(_: int) -> bytes:
        ready.wait()
        return pack(shared, TensorType.Q4_K, flat(rows), "F32").tobytes()

    monkeypatch.setattr(jit, "compiled", counted)
    shared = Packer(Q4, TARGETS[HOST])
    with ThreadPoolExecutor(6) as pool:
        results = set(pool.map(work, range(6)))
    assert len(results) == len(times) == 1


def test_where_llvm_fails_numpy_packs_the_same_and_the_log_says_why(
    rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> jit.Compiled:
        raise RuntimeError("no such processor")

    monkeypatch.setattr(jit, "compiled", fail)
    failing = Packer(Q4, TARGETS[4])
    expected = pack(kernel.by_ggml(TensorType.Q4_K), TensorType.Q4_K, flat(rows), "F32")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            mine = pack(failing, TensorType.Q4_K, flat(rows), "F32")
            assert mine.tobytes() == expected.tobytes()
    assert [record.message for record in caplog.records] == [
        "Q4_K is packed without vectors: LLVM failed: no such processor"
    ]


@pytest.fixture
def fresh() -> None:
    kernel.target.cache_clear()
    kernel._own.cache_clear()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("absent", "said"), [("llvmlite", "llvmlite does not load"), ("vectors", "none we know")]
)
def test_without_compiler_or_vectors_numpy_packs_and_the_log_says_why(
    rows: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    absent: str,
    said: str,
) -> None:
    if absent == "llvmlite":
        monkeypatch.setitem(sys.modules, "quantize.kernels.jit", None)
        monkeypatch.delattr("quantize.kernels.jit")
    else:
        monkeypatch.setattr(jit, "host", lambda: jit.Target("m68k", "", 0))
    with caplog.at_level(logging.WARNING):
        found = kernel.find(TensorType.Q6_K)
    kernel.target.cache_clear()
    kernel._own.cache_clear()
    assert said in caplog.text
    mine = pack(found, TensorType.Q6_K, flat(rows), "F32")
    theirs = pack(kernel.by_ggml(TensorType.Q6_K), TensorType.Q6_K, flat(rows), "F32")
    assert mine.tobytes() == theirs.tobytes()


def test_llvm_is_loaded_only_when_a_kernel_is_wanted() -> None:
    script = (
        "import sys; from models.tensor_types import TensorType; from quantize import kernel;"
        "assert 'llvmlite' not in sys.modules; kernel.find(TensorType.Q4_K);"
        "print('llvmlite' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


ABROAD = {
    "AVX-512": TARGETS[16],
    "AVX2": TARGETS[8],
    "Zen 5": jit.Target("znver5", "", 16),
    "NEON": jit.Target("cortex-a72", "", 4, "aarch64-unknown-linux-gnu"),
}


@pytest.mark.parametrize("name", ABROAD)
def test_no_processor_fuses_multiply_and_add(name: str) -> None:
    """Each of these has such instructions, and would round once instead of twice."""
    target = ABROAD[name]
    assert target is not None
    for kind in (TensorType.Q4_K, TensorType.Q6_K):
        code = jit.assembly(kernel.OWN[kind], SOURCES["BF16"], target)
        assert "kernel" in code
        assert ("fmul" if name == "NEON" else "vmulps") in code
        for fused in ("vfmadd", "vfmsub", "vfnmadd", "fmla", "fmls", "fmadd"):
            assert fused not in code, f"{kind.name}: {fused}"


def test_ggml_is_asked_only_for_types_without_an_own_kernel(
    monkeypatch: pytest.MonkeyPatch, rows: NDArray[np.float32]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("ggml was called")

    monkeypatch.setattr(GgmlKernel, "__init__", refuse)
    for kind in set(TensorType) - {
        TensorType.Q4_0, TensorType.Q4_1, TensorType.Q5_0, TensorType.Q5_1
    }:  # fmt: skip
        pack(kernel.find(kind), kind, flat(rows), "F32")
    with pytest.raises(AssertionError, match="ggml was called"):
        kernel.find(TensorType.Q4_0)
