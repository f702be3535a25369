from pathlib import Path

import numpy as np
import pytest

from models.errors import ModelError
from models.flux import tensor_shapes
from models.pairing import PairingError
from quantize import lora_delta
from quantize.lora_delta import Choice, LoraMix
from tests import bake_kit, model_files
from tests.bake_kit import NAMINGS, named, pairs
from tests.model_files import TINY, Array

BASE = Path("base.safetensors")
QKV, LINEAR1 = "double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight"


def mix(*choices: Choice | Path) -> LoraMix:
    own = [one if isinstance(one, Choice) else Choice(one) for one in choices]
    return lora_delta.read(BASE, TINY, own)


def dense(found: LoraMix, tensor: str) -> Array:
    """The delta as one matrix."""
    whole = np.zeros(tensor_shapes(TINY)[tensor], np.float32)
    for piece in found.pieces(tensor):
        whole[piece.start_row : piece.start_row + piece.rows] = piece.up @ piece.down
    return whole


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_piece_is_the_same_to_the_bit_in_every_naming(tmp_path: Path, naming: str) -> None:
    one = mix(model_files.write(tmp_path / "a.safetensors", named("peft", pairs())))
    other = mix(model_files.write(tmp_path / "b.safetensors", named(naming, pairs())))
    assert one.targets == other.targets
    for tensor in one.targets:
        ours, theirs = one.pieces(tensor), other.pieces(tensor)
        assert [p.start_row for p in ours] == [p.start_row for p in theirs]
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a.up, b.up)
            np.testing.assert_array_equal(a.down, b.down)


def test_it_is_the_plain_product(tmp_path: Path) -> None:
    found = mix(Choice(bake_kit.write(tmp_path / "a.safetensors"), 0.7))
    wanted = bake_kit.merged(pairs(), 0.7)
    assert found.targets == frozenset(wanted)
    for tensor, delta in wanted.items():
        np.testing.assert_allclose(dense(found, tensor), delta, atol=1e-6)


def test_several_loras_add_up_in_their_order(tmp_path: Path) -> None:
    a, b = (bake_kit.write(tmp_path / f"{n}.safetensors", seed=n) for n in (1, 2))
    both = mix(Choice(a, 1.0), Choice(b, -0.5))
    wanted = bake_kit.merged(pairs(seed=1))[QKV] + bake_kit.merged(pairs(seed=2), -0.5)[QKV]
    np.testing.assert_allclose(dense(both, QKV), wanted, atol=1e-6)
    first = mix(a).pieces(QKV)[0]
    np.testing.assert_array_equal(both.pieces(QKV)[0].down[:4], first.down)


def test_a_strength_of_zero_changes_nothing(tmp_path: Path) -> None:
    found = mix(Choice(bake_kit.write(tmp_path / "a.safetensors"), 0.0))
    assert all(found.pieces(tensor) == () for tensor in found.targets)


def test_the_last_modulation_is_turned_round(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    up, down = stream.standard_normal((512, 2)), stream.standard_normal((2, 256))
    stem = "transformer.norm_out.linear.lora_{}.weight"
    arrays = {stem.format("A"): down.astype("f4"), stem.format("B"): up.astype("f4")}
    found = mix(model_files.write(tmp_path / "a.safetensors", arrays))
    (piece,) = found.pieces("final_layer.adaLN_modulation.1.weight")
    np.testing.assert_array_equal(piece.up, np.vstack([up[256:], up[:256]]).astype("f4"))


def test_only_some_rows_of_a_fused_tensor_may_change(tmp_path: Path) -> None:
    given = {name: pair for name, pair in pairs().items() if name.endswith("0.proj_mlp")}
    found = mix(model_files.write(tmp_path / "a.safetensors", named("peft", given)))
    (piece,) = found.pieces(LINEAR1)
    assert (piece.start_row, piece.rows) == (768, TINY.mlp)


def test_a_key_without_a_target_is_refused_as_a_pair_is(tmp_path: Path) -> None:
    arrays = named("peft", pairs())
    arrays["transformer.transformer_blocks.9.attn.to_q.lora_A.weight"] = np.ones((4, 256), "f2")
    path = model_files.write(tmp_path / "a.safetensors", arrays)
    with pytest.raises(PairingError, match="does not fit the model base"):
        mix(path)


@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
)
def test_a_number_that_is_none_is_told_with_its_tensor(
    tmp_path: Path, value: float, kind: str
) -> None:
    arrays = named("peft", pairs())
    name = "transformer.transformer_blocks.0.ff.net.2.lora_B.weight"
    arrays[name] = arrays[name].copy()
    arrays[name][7, 2] = value
    path = model_files.write(tmp_path / "a.safetensors", arrays)
    with pytest.raises(ModelError, match=rf"ff.net.2.lora_B.weight: it holds {kind} at \[7, 2\]"):
        mix(path)


def test_an_alpha_that_is_no_number_is_told(tmp_path: Path) -> None:
    arrays = named("peft with alpha", pairs())
    stem = "transformer.transformer_blocks.0.ff.net.2"
    arrays[f"{stem}.alpha"] = np.array(np.nan, np.float32)
    with pytest.raises(ModelError, match=r"the scale of .*ff.net.2.* is nan"):
        mix(model_files.write(tmp_path / "a.safetensors", arrays))


def test_a_strength_beyond_all_measure_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="beyond float32's range"):
        mix(Choice(bake_kit.write(tmp_path / "a.safetensors"), 1e300))
