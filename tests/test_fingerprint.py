import os
from pathlib import Path

import numpy as np
import pytest

from models import fingerprint
from models.errors import ModelError
from tests import model_files
from tests.model_files import flux_arrays


def test_it_is_of_the_content_and_not_of_names_or_times(tmp_path: Path) -> None:
    one = model_files.write(tmp_path / "a.safetensors", flux_arrays())
    other = tmp_path / "b.safetensors"
    other.write_bytes(one.read_bytes())
    os.utime(other, (1, 1))
    assert fingerprint.of([one]) == fingerprint.of([other])
    assert fingerprint.of([one, other]) != fingerprint.of([one])


@pytest.mark.parametrize("tensor", ["img_in.bias", "single_blocks.0.linear2.weight"])
def test_a_change_anywhere_in_a_layer_is_seen(tmp_path: Path, tensor: str) -> None:
    arrays = flux_arrays()
    before = fingerprint.of([model_files.write(tmp_path / "a.safetensors", arrays)])
    arrays[tensor] = (arrays[tensor] * 1.01).astype(np.float16)
    assert fingerprint.of([model_files.write(tmp_path / "a.safetensors", arrays)]) != before


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(ModelError):
        fingerprint.of([tmp_path / "a"])
