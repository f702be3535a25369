"""Every kind of source gives the bytes that the same weights give in one reference file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models import gguf_file
from models.errors import ModelError
from models.flux import tensor_shapes
from models.tensor_types import FileType, TensorType
from quantize import convert, decode, overrides, row_chunk
from quantize.errors import QuantizeError
from tests import model_files
from tests.model_files import TINY, Array, flux_arrays, to_diffusers, write_shards

QKV = "double_blocks.0.img_attn.qkv.weight"
STEM = "diffusion_pytorch_model"


def made(
    source: Path,
    target: Path,
    file_type: FileType = FileType.Q4_K_S,
    *wishes: str,
    by_name: bool = False,
) -> bytes:
    plan = convert.plan(
        source,
        target,
        file_type,
        overrides=[overrides.parse(wish) for wish in wishes],
        by_name=by_name,
    )
    list(convert.run(plan, workers=2, force=True))
    return target.read_bytes()


def reference(folder: Path, arrays: dict[str, Array]) -> bytes:
    """The target made from one file in reference layout whose tensors lie in the model's order.

    The safetensors package sorts by dtype and name, so this file is written by hand.
    """
    header, data, position = {}, [], 0
    for name in tensor_shapes(TINY):
        array = arrays[name]
        kind = {"<u2": "BF16", "<f2": "F16", "<f4": "F32"}[array.dtype.str]
        span = [position, position + array.nbytes]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": span}
        data.append(array.tobytes())
        position = span[1]
    text = json.dumps(header).encode()
    path = folder / "reference.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))
    return made(path, folder / "reference.gguf")


Maker = Callable[[Path, dict[str, Array]], Path]


def one_diffusers_file(folder: Path, arrays: dict[str, Array]) -> Path:
    return model_files.write(folder / "fine-tune.safetensors", to_diffusers(arrays))


def diffusers_folder(folder: Path, arrays: dict[str, Array]) -> Path:
    model_files.write(folder / "d" / f"{STEM}.safetensors", to_diffusers(arrays))
    (folder / "d" / "config.json").write_text("not even JSON: it is never read")
    return folder / "d"


def sharded_diffusers_folder(folder: Path, arrays: dict[str, Array]) -> Path:
    (folder / "d").mkdir()
    return write_shards(folder / "d", STEM, to_diffusers(arrays), 3).parent


def pipeline(folder: Path, arrays: dict[str, Array]) -> Path:
    (folder / "p" / "transformer").mkdir(parents=True)
    write_shards(folder / "p" / "transformer", STEM, to_diffusers(arrays), 2)
    (folder / "p" / "model_index.json").write_text("{}")
    return folder / "p"


def index(folder: Path, arrays: dict[str, Array]) -> Path:
    return write_shards(folder, STEM, to_diffusers(arrays), 5)


def one_of_the_shards(folder: Path, arrays: dict[str, Array]) -> Path:
    write_shards(folder, STEM, to_diffusers(arrays), 5)
    return folder / f"{STEM}-00002-of-00005.safetensors"


def sharded_reference(folder: Path, arrays: dict[str, Array]) -> Path:
    return write_shards(folder, "flux1-dev", arrays, 3)


def prefixed_shards(folder: Path, arrays: dict[str, Array]) -> Path:
    every = {f"model.diffusion_model.{name}": array for name, array in arrays.items()}
    return write_shards(folder, "all", every | {"vae.conv.bias": np.zeros(4, "f2")}, 2)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(
    "maker",
    [
        one_diffusers_file,
        diffusers_folder,
        sharded_diffusers_folder,
        pipeline,
        index,
        one_of_the_shards,
        sharded_reference,
        prefixed_shards,
    ],
)
def test_every_source_gives_the_bytes_of_the_reference_file(
    tmp_path: Path, maker: Maker, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_chunk, "CHUNK_WEIGHTS", 10_000)
    arrays = flux_arrays(dtype=dtype)
    source = maker(tmp_path, arrays)
    assert made(source, tmp_path / "x.gguf") == reference(tmp_path, arrays)


def test_a_schnell_with_other_channels_and_more_blocks_is_a_flux_in_diffusers_layout_too(
    tmp_path: Path,
) -> None:
    shape = replace(TINY, guidance=False, in_channels=384, double_blocks=2, single_blocks=3)
    arrays = flux_arrays(shape)
    source = model_files.write(tmp_path / "fill.safetensors", to_diffusers(arrays, shape))
    made(source, tmp_path / "x.gguf")
    assert gguf_file.read_header(tmp_path / "x.gguf").shapes == tensor_shapes(shape)


def test_sorted_tensors_are_in_the_order_of_their_names_and_hold_the_same(tmp_path: Path) -> None:
    source = model_files.write(tmp_path / "flux.safetensors", to_diffusers(flux_arrays()))
    made(source, tmp_path / "file.gguf")
    made(source, tmp_path / "name.gguf", by_name=True)
    file, name = (gguf_file.read_header(tmp_path / f"{x}.gguf") for x in ("file", "name"))
    assert list(name.shapes) == sorted(name.shapes) != list(file.shapes)
    for tensor in file.tensors:
        other = name.tensor(tensor.name)
        a, b = (
            (tmp_path / f"{x}.gguf").read_bytes()[t.offset : t.offset + t.nbytes]
            for x, t in (("file", tensor), ("name", other))
        )
        assert a == b


# --- FP8 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "oracle"), [("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)]
)
def test_every_fp8_code_is_what_torch_reads(dtype: str, oracle: torch.dtype) -> None:
    codes = torch.arange(256, dtype=torch.uint8)
    ours = np.empty(256, np.float32)
    decode.decode(codes.numpy(), dtype, ours)
    np.testing.assert_array_equal(ours, codes.view(oracle).float().numpy())


def fp8_tensors(kind: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(a).to(kind) for name, a in flux_arrays().items()}


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_fp8_gives_the_bytes_of_the_same_numbers_in_f16(tmp_path: Path, kind: torch.dtype) -> None:
    tensors = fp8_tensors(kind)
    save_file(tensors, tmp_path / "fp8.safetensors")
    save_file({n: t.half() for n, t in tensors.items()}, tmp_path / "f16.safetensors")
    fp8 = made(tmp_path / "fp8.safetensors", tmp_path / "fp8.gguf")
    assert fp8 == made(tmp_path / "f16.safetensors", tmp_path / "f16.gguf")


@pytest.mark.parametrize(
    ("weight", "unused"),
    [("scale_weight", "scale_input"), ("weight_scale", "input_scale")],
)
@pytest.mark.parametrize("diffusers", [False, True])
def test_the_scale_of_scaled_fp8_is_applied_to_each_weight(
    tmp_path: Path, weight: str, unused: str, diffusers: bool
) -> None:
    arrays = to_diffusers(flux_arrays()) if diffusers else flux_arrays()
    scaled: dict[str, torch.Tensor] = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    plain: dict[str, torch.Tensor] = {}
    for number, (name, array) in enumerate(arrays.items()):
        values = torch.from_numpy(array)
        if array.ndim == 2:
            layer, scale = name.removesuffix(".weight"), torch.tensor(1e-3 * (1 + number % 7))
            scaled[name] = (values / scale).to(torch.float8_e4m3fn)
            scaled[f"{layer}.{weight}"] = scale
            scaled[f"{layer}.{unused}"] = torch.ones(1)
            plain[name] = (scaled[name].float() * scale).half()
        else:
            scaled[name] = plain[name] = values
    save_file(scaled, tmp_path / "scaled.safetensors")
    save_file(plain, tmp_path / "plain.safetensors")
    result = made(tmp_path / "scaled.safetensors", tmp_path / "s.gguf", FileType.Q8_0, by_name=True)
    assert result == made(
        tmp_path / "plain.safetensors", tmp_path / "p.gguf", FileType.Q8_0, by_name=True
    )
    plan = convert.plan(tmp_path / "scaled.safetensors", tmp_path / "s.gguf", FileType.Q4_K_S)
    assert "input scales of scaled FP8 are left out" in " ".join(plan.notes)


@pytest.mark.parametrize(
    ("scale", "why"),
    [
        (torch.tensor(float("nan")), "is nan"),
        (torch.tensor(0.0), "is 0"),
        (torch.ones(3), "not one number"),
    ],
)
def test_a_scale_that_is_none_is_refused(tmp_path: Path, scale: torch.Tensor, why: str) -> None:
    tensors = fp8_tensors(torch.float8_e4m3fn)
    save_file(tensors | {QKV.replace("weight", "scale_weight"): scale}, tmp_path / "x.safetensors")
    with pytest.raises(QuantizeError, match=why):
        convert.plan(tmp_path / "x.safetensors", tmp_path / "x.gguf", FileType.Q4_K_S)


def test_a_nan_in_fp8_is_named(tmp_path: Path) -> None:
    tensors = fp8_tensors(torch.float8_e4m3fn)
    tensors[QKV][300, 5] = float("nan")
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(QuantizeError, match=rf"{QKV} holds NaN at \[300, 5\]"):
        made(tmp_path / "x.safetensors", tmp_path / "x.gguf")


def test_a_bad_weight_of_a_piece_is_named_as_the_source_names_it(tmp_path: Path) -> None:
    arrays = to_diffusers(flux_arrays())
    arrays["norm_out.linear.weight"][260, 3] = np.nan  # the halves are exchanged on the way
    source = model_files.write(tmp_path / "x.safetensors", arrays)
    with pytest.raises(QuantizeError, match=r"norm_out.linear.weight holds NaN at \[260, 3\]"):
        made(source, tmp_path / "x.gguf")


# --- refusals -------------------------------------------------------------------------------------


def refusal(source: Path) -> str:
    with pytest.raises((ModelError, QuantizeError)) as caught:
        convert.plan(source, source.parent / "never.gguf", FileType.Q4_K_S)
    assert getattr(caught.value, "fix", ""), "an error says what to do next"
    return str(caught.value)


def test_a_folder_with_two_models_or_none_is_refused(tmp_path: Path) -> None:
    assert "there is no model in the folder" in refusal(tmp_path)
    for name in ("a", "b"):
        model_files.write(tmp_path / f"{name}.safetensors", flux_arrays())
    assert "more than one model: a.safetensors, b.safetensors" in refusal(tmp_path)


def test_shards_without_their_index_are_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, STEM, to_diffusers(flux_arrays()), 2).unlink()
    assert "one of 2 files of a model" in refusal(tmp_path / f"{STEM}-00001-of-00002.safetensors")


def test_a_missing_shard_is_told(tmp_path: Path) -> None:
    index = write_shards(tmp_path, STEM, to_diffusers(flux_arrays()), 2)
    (tmp_path / f"{STEM}-00002-of-00002.safetensors").unlink()
    assert "00002-of-00002.safetensors: it cannot be read" in refusal(index)


@pytest.mark.parametrize(
    ("weight_map", "why"),
    [
        ({"a": "../secret.safetensors"}, "no weight_map of tensors"),
        ({"a": 7}, "no weight_map of tensors"),
        ([], "no weight_map of tensors"),
        ({"nothing": f"{STEM}-00001-of-00002.safetensors"}, "should lie in"),
        ({str(n): f"{n}.safetensors" for n in range(1000)}, "names 1000 files"),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path: Path, weight_map: object, why: str) -> None:
    index = write_shards(tmp_path, STEM, to_diffusers(flux_arrays()), 2)
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert why in refusal(index)
    index.write_text("{")
    assert "it is no JSON" in refusal(index)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    arrays = to_diffusers(flux_arrays())
    index = write_shards(tmp_path, STEM, arrays, 2)
    second = tmp_path / f"{STEM}-00002-of-00002.safetensors"
    model_files.write(second, arrays)
    assert "two files of the model hold the same tensor" in refusal(index)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a: a | {"transformer_blocks.0.x.weight": np.zeros(4, "f2")}, "no rule for"),
        (lambda a: {k: v for k, v in a.items() if "to_k" not in k}, "not complete"),
        (lambda a: a | {"proj_out.bias": np.zeros(65, "f2")}, "not complete"),
    ],
)
def test_a_diffusers_flux_that_is_not_whole_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Array]], dict[str, Array]], why: str
) -> None:
    arrays = change(to_diffusers(flux_arrays()))
    assert why in refusal(model_files.write(tmp_path / "x.safetensors", arrays))


def test_pieces_of_different_precision_are_refused(tmp_path: Path) -> None:
    arrays = to_diffusers(flux_arrays())
    name = "transformer_blocks.0.attn.to_k.weight"
    arrays[name] = model_files.to_bf16(arrays[name].astype("f4"))
    source = model_files.write(tmp_path / "x.safetensors", arrays)
    assert "to_q.weight is F16, transformer_blocks.0.attn.to_k.weight is BF16" in refusal(source)


def test_integers_are_refused_by_name(tmp_path: Path) -> None:
    tensors = {name: torch.from_numpy(a).to(torch.int8) for name, a in flux_arrays().items()}
    save_file(tensors, tmp_path / "x.safetensors")
    assert "the source is in I8" in refusal(tmp_path / "x.safetensors")


# --- the user's own types -------------------------------------------------------------------------


def test_an_override_sets_the_type_of_what_it_matches_and_the_last_one_counts(
    tmp_path: Path,
) -> None:
    source = model_files.write(tmp_path / "flux.safetensors", flux_arrays())
    made(source, tmp_path / "usual.gguf")
    wishes = ("double_blocks.*.weight=q8_0", "*img_attn.qkv.weight=Q6_K", "txt_in.weight=F32")
    made(source, tmp_path / "own.gguf", FileType.Q4_K_S, *wishes)
    usual, own = (gguf_file.read_header(tmp_path / f"{x}.gguf") for x in ("usual", "own"))
    assert own.tensor(QKV).type is TensorType.Q6_K
    assert own.tensor("double_blocks.0.txt_mlp.0.weight").type is TensorType.Q8_0
    assert own.tensor("single_blocks.0.linear1.weight").type is TensorType.Q4_K
    assert own.tensor("txt_in.weight").type is TensorType.F32
    assert usual.tensor(QKV).type is TensorType.Q4_K
    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "own.gguf").tensors}
    expected = flux_arrays()["txt_in.weight"].astype("f4")
    np.testing.assert_array_equal(tensors["txt_in.weight"].data, expected)


def test_an_f32_override_keeps_the_f32_weights_of_an_f32_source(tmp_path: Path) -> None:
    arrays = flux_arrays(dtype="F32")
    source = model_files.write(tmp_path / "flux.safetensors", arrays)
    made(source, tmp_path / "x.gguf", FileType.Q4_K_S, "txt_in.weight=F32")
    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "x.gguf").tensors}
    np.testing.assert_array_equal(tensors["txt_in.weight"].data, arrays["txt_in.weight"])


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ("dubble_blocks.*=Q6_K", "no tensor matches"),
        ("*.weight=Q7_K", "there is no tensor type Q7_K"),
        ("Q6_K", "is no PATTERN=TYPE"),
        ("=Q6_K", "is no PATTERN=TYPE"),
        ("txt_in.bias=Q8_0", "Q8_0 cannot hold txt_in.bias"),
        ("img_in.weight=Q4_K", "Q4_K cannot hold img_in.weight"),
    ],
)
def test_an_override_that_cannot_be_is_an_error(tmp_path: Path, wish: str, why: str) -> None:
    source = model_files.write(tmp_path / "flux.safetensors", flux_arrays())
    with pytest.raises(QuantizeError, match=why) as caught:
        made(source, tmp_path / "x.gguf", FileType.Q4_K_S, wish)
    assert caught.value.fix
