import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import lora, lora_hashes, safetensors_file
from quantize import lora_norms
from tests import lora_kit, model_files
from tests.lora_kit import MINI, NAMINGS
from tests.model_files import Array


@given(
    rows=st.integers(1, 40), width=st.integers(1, 40), rank=st.integers(1, 9), seed=st.integers(0)
)
def test_the_norm_is_that_of_the_product_which_is_never_formed(
    rows: int, width: int, rank: int, seed: int
) -> None:
    stream = np.random.default_rng(seed)
    up = stream.standard_normal((rows, rank)).astype(np.float32)
    down = stream.standard_normal((rank, width)).astype(np.float32)
    whole = np.linalg.norm(up.astype(np.float64) @ down.astype(np.float64))
    assert lora_norms.product_norm(up, down) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_every_layer_of_a_file_is_measured_with_its_scale(tmp_path: Path, dtype: str) -> None:
    naming = NAMINGS["kohya"]
    arrays = lora_kit.weights(naming, naming.stems(), alpha=-2.0)

    def stored(array: Array) -> Array:
        if dtype == "BF16":
            return model_files.to_bf16(array)
        return array.astype({"F32": np.float32, "F16": np.float16}[dtype])

    read = lora.read(
        model_files.write(
            tmp_path / "x.safetensors", {key: stored(array) for key, array in arrays.items()}
        ),
        MINI,
    )
    meant = lora_kit.meant(naming, arrays)
    for found in lora_norms.measure(read):
        whole = np.linalg.norm(meant[f"{found.layer.module}.weight"])
        assert found.norm == pytest.approx(whole, rel=1e-6 if dtype == "F32" else 0.02)
        assert found.bad == ()


def test_a_matrix_with_nan_or_infinity_is_named(tmp_path: Path) -> None:
    naming = NAMINGS["peft"]
    arrays = lora_kit.weights(naming, dict(list(naming.stems().items())[:2]))
    first, second, *_ = arrays
    arrays[first][0, 0], arrays[second][0, 0] = np.nan, np.inf
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays), MINI)
    spoilt, sound = sorted(lora_norms.measure(read), key=lambda found: not found.bad)
    assert set(spoilt.bad) == {first, second}
    assert np.isnan(spoilt.norm)
    assert sound.bad == ()


def test_the_hashes_are_of_the_file_and_of_what_lies_behind_its_header(tmp_path: Path) -> None:
    naming = NAMINGS["peft"]
    arrays = lora_kit.weights(naming, naming.stems())
    path = model_files.write(tmp_path / "x.safetensors", arrays)
    content = path.read_bytes()
    start = min(info.offset for info in safetensors_file.read_header(path).tensors)
    found = lora_hashes.of(path)
    assert found.file == hashlib.sha256(content).hexdigest()
    assert found.tensors == hashlib.sha256(content[start:]).hexdigest()
    assert (found.autov2, found.autov3) == (found.file[:10], found.tensors[:12])
    renamed = model_files.write(tmp_path / "y.safetensors", arrays, {"more": "text"})
    assert lora_hashes.of(renamed).tensors == found.tensors
