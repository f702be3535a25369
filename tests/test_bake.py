import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel

from models import gguf_file
from models.errors import ModelError
from models.flux import tensor_shapes
from models.tensor_types import FileType, TensorType
from quantize import (
    bake,
    bake_plan,
    bake_record,
    layer_proof,
    overrides,
    row_chunk,
    structure,
)
from quantize.convert import Progress
from quantize.errors import Problem, QuantizeError
from quantize.lora_delta import Choice
from tests import bake_kit, model_files, test_t5
from tests.bake_kit import baked, named, pairs, tensors
from tests.convert_kit import convert_file, left_beside
from tests.model_files import TINY, Array, flux_arrays, from_bf16, to_diffusers, write_shards
from tests.test_convert import ggml_bytes

QKV, LINEAR2 = "double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear2.weight"
KEPT = "txt_in.weight"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "base.safetensors", flux_arrays(dtype="BF16"))


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return bake_kit.write(tmp_path / "lora.safetensors")


def summed(weights: Array, deltas: dict[str, Array], name: str) -> Array:
    total: Array = weights + deltas[name] if name in deltas else weights
    return total


# --- the same bytes -------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [3000, 1 << 18])
def test_the_layout_of_the_base_makes_no_difference(
    tmp_path: Path, base: Path, lora: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = flux_arrays(dtype="BF16")
    other = write_shards(tmp_path / "shards", "diffusion_pytorch_model", to_diffusers(arrays), 3)
    baked(base, tmp_path / "a.gguf", lora)
    monkeypatch.setattr(row_chunk, "CHUNK_WEIGHTS", chunk)
    baked(other, tmp_path / "b.gguf", lora, workers=3)
    assert tensors(tmp_path / "a.gguf") == tensors(tmp_path / "b.gguf")


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_it_is_what_ggml_makes_of_a_base_merged_by_itself(tmp_path: Path, dtype: str) -> None:
    arrays = flux_arrays(dtype=dtype)
    base = model_files.write(tmp_path / "base.safetensors", arrays)
    # Powers of two, so that every order of summation gives the same float32.
    simple = {n: (np.sign(a) * 0.5, np.sign(b) * 0.25) for n, (a, b) in pairs(rank=3).items()}
    given = {n: (a.astype("f2"), b.astype("f2")) for n, (a, b) in simple.items()}
    lora = model_files.write(tmp_path / "lora.safetensors", named("kohya", given))
    baked(base, tmp_path / "a.gguf", lora)
    deltas = bake_kit.merged(given)
    made = tensors(tmp_path / "a.gguf")
    for name, delta in deltas.items():
        own = from_bf16(arrays[name]) if dtype == "BF16" else arrays[name].astype("f4")
        assert made[name][1] == ggml_bytes(own + delta, made[name][0]), name
    plain = tmp_path / "plain.gguf"
    convert_file(base, plain)
    unchanged = {name: data for name, data in tensors(plain).items() if name not in deltas}
    assert unchanged.items() <= made.items()


def test_it_is_what_diffusers_fuses_but_for_the_last_bit_of_few_sums(tmp_path: Path) -> None:
    """Block for block, but where another order of summation moved a weight across an edge."""
    shape = replace(TINY, pooled=64, context=64)
    torch.manual_seed(0)
    model = FluxTransformer2DModel(
        in_channels=shape.in_channels,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=shape.head_dim,
        num_attention_heads=shape.heads,
        joint_attention_dim=shape.context,
        pooled_projection_dim=shape.pooled,
        guidance_embeds=True,
        axes_dims_rope=(32, 48, 48),
    )
    shape = replace(shape, mlp=4 * shape.hidden)
    (tmp_path / "base").mkdir()
    model.save_pretrained(tmp_path / "base")
    lora = model_files.write(tmp_path / "l.safetensors", named("peft", pairs(shape), shape))
    model.load_lora_adapter(str(lora), prefix="transformer")
    model.fuse_lora()
    model.unload_lora()
    (tmp_path / "fused").mkdir()
    model.save_pretrained(tmp_path / "fused")
    baked(tmp_path / "base", tmp_path / "a.gguf", lora)
    plan = bake_plan.make(tmp_path / "fused", tmp_path / "x", FileType.Q4_K_S, [])
    fused = tensors_of_source(plan)
    made, different, total = tensors(tmp_path / "a.gguf"), 0, 0
    for name in plan.record.types:
        if made[name][0] is TensorType.Q4_K and "mod" not in name:
            ours = np.frombuffer(made[name][1], np.uint8).reshape(-1, 144)
            theirs = np.frombuffer(ggml_bytes(fused[name], TensorType.Q4_K), np.uint8)
            different += int((ours != theirs.reshape(-1, 144)).any(axis=1).sum())
            total += len(ours)
    assert total > 5000
    assert different / total < 0.01


def tensors_of_source(plan: bake_plan.BakePlan) -> dict[str, Array]:
    """The reference tensors of an F32 source."""
    found: dict[str, Array] = {}
    for tensor in plan.conversion.tensors:
        rows = []
        for part in tensor.parts:
            whole = np.memmap(
                plan.conversion.files[part.file],
                "<f4",
                "r",
                part.info.offset,
                tuple(part.info.shape),
            )
            rows.append(np.array(whole[part.source_row : part.source_row + part.rows]))
        found[tensor.name] = np.concatenate(rows)
    return found


def test_a_strength_of_zero_is_a_plain_conversion(tmp_path: Path, base: Path, lora: Path) -> None:
    assert baked(base, tmp_path / "a.gguf", Choice(lora, 0.0)) == []
    convert_file(base, tmp_path / "b.gguf")
    assert tensors(tmp_path / "a.gguf") == tensors(tmp_path / "b.gguf")


def test_two_loras_and_their_opposites_are_next_to_nothing(
    tmp_path: Path, base: Path, lora: Path
) -> None:
    both = Choice(lora, 1.0), Choice(lora, -1.0)
    baked(base, tmp_path / "a.gguf", *both, kind=FileType.F16)
    convert_file(base, tmp_path / "b.gguf", FileType.F16)
    one, other = (tensors(tmp_path / f"{x}.gguf")[QKV][1] for x in "ab")
    ours, theirs = (np.frombuffer(data, np.float16).astype("f4") for data in (one, other))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


# --- the proof ------------------------------------------------------------------------------------


def test_the_proof_is_what_the_finished_file_shows(tmp_path: Path, base: Path, lora: Path) -> None:
    proofs = {proof.name: proof for proof in baked(base, tmp_path / "a.gguf", lora)}
    deltas, arrays = bake_kit.merged(pairs()), flux_arrays(dtype="BF16")
    assert proofs.keys() == deltas.keys()
    reader = {t.name: t for t in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    for name, delta in deltas.items():
        tensor = reader[name]
        packed = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype("f8")
        weights = from_bf16(arrays[name])
        change = packed - weights
        kept = (change * delta).sum() / (delta.astype("f8") ** 2).sum()
        assert proofs[name].last.kept == pytest.approx(kept, abs=1e-4)
        size = np.linalg.norm(delta) / np.linalg.norm(weights + delta)
        assert proofs[name].size == pytest.approx(size, rel=1e-3)
        noise = np.linalg.norm(packed - weights - delta) / np.linalg.norm(weights + delta)
        assert proofs[name].noise == pytest.approx(noise, rel=1e-3)


def needy(tmp_path: Path) -> Path:
    """A LoRA of next to nothing: chance decides what coarse types keep of it."""
    return bake_kit.write(tmp_path / "tiny.safetensors", size=0.00002)


def test_a_layer_that_loses_too_much_gets_finer_types_until_it_does_not(tmp_path: Path) -> None:
    base = model_files.write(tmp_path / "base.safetensors", flux_arrays(dtype="F32"))
    proofs = baked(base, tmp_path / "a.gguf", needy(tmp_path), kind=FileType.Q2_K)
    raised = [proof for proof in proofs if proof.raised]
    assert raised
    made = tensors(tmp_path / "a.gguf")
    for proof in proofs:
        assert proof.attempts[0].type is TensorType.Q2_K
        assert made[proof.name][0] is proof.last.type
        assert proof.enough
        assert all(one.kept < layer_proof.ENOUGH for one in proof.attempts[:-1])
    assert structure.check(tmp_path / "a.gguf").problems == ()
    arrays, deltas = flux_arrays(dtype="F32"), bake_kit.merged(pairs(size=0.00002))
    for name, (kind, data) in made.items():
        if name in deltas and kind not in (TensorType.F16, TensorType.F32):
            same = np.frombuffer(data, np.uint8) == np.frombuffer(
                ggml_bytes(arrays[name] + deltas[name], kind), np.uint8
            )
            assert same.mean() > 0.999, name  # sums differ in the last bit


def test_going_up_does_not_depend_on_workers_or_chunks(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = needy(tmp_path)
    baked(base, tmp_path / "a.gguf", lora, kind=FileType.Q2_K, workers=1)
    monkeypatch.setattr(row_chunk, "CHUNK_WEIGHTS", 5000)
    baked(base, tmp_path / "b.gguf", lora, kind=FileType.Q2_K, workers=4)
    assert tensors(tmp_path / "a.gguf") == tensors(tmp_path / "b.gguf")


def test_a_pinned_type_stays_and_is_told(tmp_path: Path, base: Path) -> None:
    pinned = ("*.linear2.weight=Q2_K",)
    proofs = baked(base, tmp_path / "a.gguf", needy(tmp_path), types=pinned)
    (proof,) = (proof for proof in proofs if proof.name == LINEAR2)
    assert proof.pinned
    assert [one.type for one in proof.attempts] == [TensorType.Q2_K]
    assert gguf_file.read_header(tmp_path / "a.gguf").tensor(LINEAR2).type is TensorType.Q2_K


def test_a_lora_on_a_tensor_that_is_not_quantised_goes_up_as_well(tmp_path: Path) -> None:
    """BF16 weights stand on BF16's grid: a small change would be rounded away from all of them."""
    base = model_files.write(tmp_path / "base.safetensors", flux_arrays(dtype="BF16"))
    stream = np.random.default_rng(0)
    stem = "transformer.context_embedder.lora_{}.weight"
    arrays = {
        stem.format("A"): stream.standard_normal((2, 256)).astype("f4"),
        stem.format("B"): (stream.standard_normal((256, 2)) * 2e-5).astype("f4"),
    }
    lora = model_files.write(tmp_path / "l.safetensors", arrays)
    (proof,) = baked(base, tmp_path / "a.gguf", lora)
    assert proof.name == KEPT
    assert [one.type for one in proof.attempts[:2]] == [TensorType.BF16, TensorType.F16]
    assert proof.attempts[0].kept < 0.9
    assert proof.enough


# --- what the file says ---------------------------------------------------------------------------


def test_the_file_says_what_is_in_it(tmp_path: Path, base: Path, lora: Path) -> None:
    proofs = baked(base, tmp_path / "a.gguf", Choice(lora, 0.5))
    header = gguf_file.read_header(tmp_path / "a.gguf")
    told = json.loads(str(header.metadata[bake_record.KEY]))
    (one,) = told["loras"]
    assert (one["file"], one["strength"]) == ("lora.safetensors", 0.5)
    assert told["source"]["file"] == "base.safetensors"
    assert told["layers"].keys() == {proof.name for proof in proofs}
    found = bake_record.read(tmp_path / "a.gguf")
    assert found is not None
    for there, proof in zip(found.proofs, proofs, strict=True):
        assert there.last.kept == pytest.approx(proof.last.kept, abs=1e-4)
        assert there.last.type is proof.last.type
    assert structure.check(tmp_path / "a.gguf").problems == ()
    assert "vulcan.baked" in gguf.GGUFReader(tmp_path / "a.gguf").fields


def test_the_key_depends_on_everything_that_the_weights_do(
    tmp_path: Path, base: Path, lora: Path
) -> None:
    other = bake_kit.write(tmp_path / "other.safetensors", seed=1)
    base2 = model_files.write(tmp_path / "b2.safetensors", flux_arrays(dtype="BF16", seed=1))

    def key(source: Path, choice: Choice, kind: FileType, *types: str) -> str:
        own = [overrides.parse(text) for text in types]
        return bake_plan.make(source, tmp_path / "x.gguf", kind, [choice], own).record.key

    keys = [
        key(base, Choice(lora), FileType.Q4_K_S),
        key(base2, Choice(lora), FileType.Q4_K_S),
        key(base, Choice(other), FileType.Q4_K_S),
        key(base, Choice(lora, 0.9), FileType.Q4_K_S),
        key(base, Choice(lora), FileType.Q5_K_S),
        key(base, Choice(lora), FileType.Q4_K_S, "*.linear2.weight=Q5_K"),
        key(base, Choice(lora), FileType.Q4_K_S, "*.linear2.weight=Q4_K"),  # and stays
    ]
    assert len(set(keys)) == len(keys)
    copied = lora.with_name("renamed.safetensors")
    copied.write_bytes(lora.read_bytes())
    assert key(base, Choice(copied), FileType.Q4_K_S) == keys[0]


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_stopped_bake_leaves_nothing(tmp_path: Path, base: Path, lora: Path) -> None:
    target = tmp_path / "out" / "a.gguf"
    steps = bake.run(bake_plan.make(base, target, FileType.Q4_K_S, [Choice(lora)]), workers=2)
    next(steps)
    assert left_beside(target) == ["a.gguf.part"]
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt())
    assert left_beside(target) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("bake")]


def test_a_sum_that_overflows_is_told_as_the_loras_doing(tmp_path: Path, base: Path) -> None:
    lora = bake_kit.write(tmp_path / "l.safetensors", size=1.0)
    target = tmp_path / "out" / "a.gguf"
    with pytest.raises(QuantizeError, match=r"with the LoRA, .* Use a lower strength") as caught:
        baked(base, target, Choice(lora, 3e37))
    assert caught.value.kind is Problem.BAD_WEIGHT
    assert left_beside(target) == []


def test_a_bad_weight_of_the_base_is_told_with_its_place(tmp_path: Path, lora: Path) -> None:
    arrays = flux_arrays()
    arrays[QKV][300, 7] = np.nan
    base = model_files.write(tmp_path / "base.safetensors", arrays)
    with pytest.raises(QuantizeError, match=rf"{QKV} holds NaN at \[300, 7\]"):
        baked(base, tmp_path / "out" / "a.gguf", lora)


def test_a_base_that_shrinks_meanwhile_is_told(tmp_path: Path, base: Path, lora: Path) -> None:
    target = tmp_path / "out" / "a.gguf"
    plan = bake_plan.make(base, target, FileType.Q4_K_S, [Choice(lora)])
    os.truncate(base, base.stat().st_size // 2)
    with pytest.raises(ModelError, match="ended early"):
        list(bake.run(plan, workers=2))
    assert left_beside(target) == []


def test_a_lora_that_changes_meanwhile_is_told(tmp_path: Path, base: Path, lora: Path) -> None:
    target = tmp_path / "out" / "a.gguf"
    plan = bake_plan.make(base, target, FileType.Q4_K_S, [Choice(lora)])
    os.truncate(lora, 4000)
    with pytest.raises(ModelError, match="ended early"):
        list(bake.run(plan, workers=2))
    assert left_beside(target) == []


@pytest.mark.parametrize("which", ["base", "lora"])
def test_the_target_is_none_of_the_sources(base: Path, lora: Path, which: str) -> None:
    target = {"base": base, "lora": lora}[which]
    before = target.read_bytes()
    with pytest.raises(QuantizeError, match="the target is the source"):
        baked(base, target, lora, force=True)
    assert target.read_bytes() == before


def test_progress_ends_with_everything_done(tmp_path: Path, base: Path) -> None:
    plan = bake_plan.make(base, tmp_path / "a.gguf", FileType.Q2_K, [Choice(needy(tmp_path))])
    steps = [s for s in bake.run(plan, workers=2) if isinstance(s, Progress)]
    assert steps[-1].weights_done == steps[-1].weights_total
    assert steps[-1].bytes_total == (tmp_path / "a.gguf").stat().st_size


def test_a_text_encoder_takes_no_lora(tmp_path: Path, lora: Path) -> None:
    t5 = model_files.write(tmp_path / "t5.safetensors", test_t5.arrays())
    with pytest.raises(QuantizeError, match=r"LoRAs are baked into a FLUX\.1, and this is 't5"):
        bake_plan.make(t5, tmp_path / "a", FileType.Q4_K_S, [Choice(lora)])


def test_all_tensors_of_a_flux_are_there(tmp_path: Path, base: Path, lora: Path) -> None:
    baked(base, tmp_path / "a.gguf", lora)
    assert gguf_file.read_header(tmp_path / "a.gguf").shapes == tensor_shapes(TINY)
