import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import ModelError
from models.tensor_types import TensorType, byte_size
from quantize import ggml_reference
from quantize.errors import Problem, QuantizeError

ROOT = Path(__file__).resolve().parents[1]

# Types whose packing the gguf package has in Python too.
IN_PYTHON = [
    TensorType.Q4_0,
    TensorType.Q4_1,
    TensorType.Q5_0,
    TensorType.Q5_1,
    TensorType.Q8_0,
    TensorType.F16,
    TensorType.BF16,
    TensorType.F32,
]
# Relative error that each K type may have on Gaussian weights (twice the measured one, or less).
K_TYPES = {
    TensorType.Q2_K: 0.35,
    TensorType.Q3_K: 0.20,
    TensorType.Q4_K: 0.09,
    TensorType.Q5_K: 0.05,
    TensorType.Q6_K: 0.03,
}


@pytest.fixture
def rows() -> NDArray[np.float32]:
    values = np.random.default_rng(0).standard_normal((16, 512)).astype(np.float32)
    values[3] = 0  # a zero block has a scale of zero
    return values


def quantise(rows: NDArray[np.float32], kind: TensorType) -> NDArray[np.uint8]:
    out = np.empty(byte_size(rows.shape, kind), np.uint8)
    ggml_reference.GgmlKernel(kind).quantise(rows, out)
    return out


@pytest.mark.parametrize("kind", IN_PYTHON)
def test_the_bytes_are_those_of_the_gguf_package(
    rows: NDArray[np.float32], kind: TensorType
) -> None:
    theirs = gguf.quants.quantize(rows, gguf.GGMLQuantizationType(kind))
    assert quantise(rows, kind).tobytes() == theirs.tobytes()


@pytest.mark.parametrize("kind", K_TYPES)
def test_k_types_come_back_nearly_as_they_were(rows: NDArray[np.float32], kind: TensorType) -> None:
    packed = quantise(rows, kind).reshape(len(rows), -1)
    back = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType(kind))
    error = np.sqrt(((back - rows) ** 2).mean() / (rows**2).mean())
    assert 0 < error < K_TYPES[kind]
    assert (back[3] == 0).all()


@pytest.mark.parametrize("kind", TensorType)
def test_rows_are_independent_of_each_other(rows: NDArray[np.float32], kind: TensorType) -> None:
    whole = quantise(rows, kind)
    parts = [quantise(rows[at : at + 3], kind) for at in range(0, len(rows), 3)]
    assert whole.tobytes() == b"".join(part.tobytes() for part in parts)


@pytest.mark.parametrize("value", [1e10, -1e10])
def test_weights_too_large_for_a_scale_are_an_overflow(
    rows: NDArray[np.float32], value: float, capfd: pytest.CaptureFixture[str]
) -> None:
    rows[7, 300] = value
    with pytest.raises(OverflowError, match="Q4_K is not finite"):
        quantise(rows, TensorType.Q4_K)
    capfd.readouterr()  # ggml says so too, on stderr


def test_wrong_arguments_never_reach_ggml_which_would_abort(rows: NDArray[np.float32]) -> None:
    packer = ggml_reference.GgmlKernel(TensorType.Q4_K)
    good = np.empty(byte_size(rows.shape, TensorType.Q4_K), np.uint8)
    with pytest.raises(ValueError, match="bytes are needed"):
        packer.quantise(rows, good[1:])
    with pytest.raises(ValueError, match="contiguous rows"):
        packer.quantise(rows.T.copy().T, good)
    with pytest.raises(ValueError, match="contiguous rows"):
        packer.quantise(rows.view(np.int32), good)
    with pytest.raises(ModelError, match="no multiple of 256"):
        packer.quantise(rows[:, :100].copy(), good)


def test_llama_cpp_itself_is_not_imported() -> None:
    script = (
        "import sys; from models.tensor_types import TensorType; from quantize import kernel;"
        "kernel.find(TensorType.Q4_0); print('llama_cpp' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggml_reference, "_LIBRARIES", ())
    with pytest.raises(QuantizeError, match="pip install -r") as caught:
        ggml_reference.library_path()
    assert caught.value.kind is Problem.NO_ENGINE
