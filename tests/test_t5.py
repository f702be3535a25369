import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel

from host import text_encoders
from models import gguf_file, t5
from models.errors import ModelError
from models.micro import micro_set
from models.micro import spec as micro
from models.t5 import T5Shape
from models.tensor_types import FileType, TensorType
from quantize import convert, t5_recipe
from quantize.errors import QuantizeError
from tests import model_files
from tests.model_files import Array

ROOT = Path(__file__).resolve().parents[1]
SMALL = T5Shape(words=40, width=256, inner=256, heads=4, buckets=32, mlp=512, layers=8)
EMBEDDING = "shared.weight"


def arrays(shape: T5Shape = SMALL, seed: int = 0) -> dict[str, Array]:
    stream = np.random.default_rng(seed)
    sizes = t5.source_shapes(shape)
    return {n: (stream.standard_normal(s) * 0.1).astype(np.float16) for n, s in sizes.items()}


def made(
    source: Path, target: Path, file_type: FileType = FileType.Q4_K_S, by_name: bool = False
) -> bytes:
    plan = convert.plan(source, target, file_type, by_name=by_name)
    list(convert.run(plan, workers=2, force=True))
    return target.read_bytes()


def test_the_names_are_those_of_transformers_and_of_the_gguf_package() -> None:
    config = T5Config(
        vocab_size=40, d_model=256, d_kv=64, d_ff=512, num_layers=8, num_heads=4,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    with torch.device("meta"):
        state = T5EncoderModel(config).state_dict()
    theirs = {n: tuple(x.shape) for n, x in state.items() if n != "encoder.embed_tokens.weight"}
    assert t5.source_shapes(SMALL) == theirs
    mapped = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5ENCODER, SMALL.layers)
    for theirs_name, ours in t5.gguf_names(SMALL).items():
        assert mapped.get_name(theirs_name, try_suffixes=(".weight",)) == ours


def test_t5_xxl_has_219_tensors_and_4_76_billion_weights() -> None:
    shapes = t5.tensor_shapes(t5.XXL)
    assert len(shapes) == 219
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 4_762_310_656


LLAMA = """
import ctypes, sys
import llama_cpp

source, target, *types = sys.argv[1:]
for kind in types:
    wish = llama_cpp.llama_model_quantize_default_params()
    wish.ftype, wish.nthread, wish.allow_requantize = int(kind), 1, False
    made = f"{target}-{kind}".encode()
    assert llama_cpp.llama_model_quantize(source.encode(), made, ctypes.byref(wish)) == 0
"""


def test_every_file_is_byte_for_byte_what_libllama_makes_of_the_f16_one(tmp_path: Path) -> None:
    source = model_files.write(tmp_path / "t5.safetensors", arrays())
    made(source, tmp_path / "F16.gguf", FileType.F16)
    kinds = [kind for kind in FileType if kind not in (FileType.F16, FileType.BF16)]
    command = [sys.executable, "-c", LLAMA, str(tmp_path / "F16.gguf"), str(tmp_path / "theirs")]
    subprocess.run([*command, *(str(int(kind)) for kind in kinds)], check=True, capture_output=True)
    for kind in kinds:
        # libllama sorts tensors by name.
        ours = made(source, tmp_path / "ours.gguf", kind, by_name=True)
        assert ours == (tmp_path / f"theirs-{int(kind)}").read_bytes(), kind.name


def test_norms_stay_f32_and_positions_as_stored_and_the_embedding_is_q6_k(tmp_path: Path) -> None:
    source = model_files.write(tmp_path / "t5.safetensors", arrays())
    made(source, tmp_path / "x.gguf")
    types = {
        tensor.name: tensor.type for tensor in gguf_file.read_header(tmp_path / "x.gguf").tensors
    }
    assert types["token_embd.weight"] is TensorType.Q6_K
    assert types["enc.blk.0.attn_rel_b.weight"] is TensorType.F16
    assert types["enc.blk.0.attn_norm.weight"] is types["enc.output_norm.weight"] is TensorType.F32
    assert types["enc.blk.0.attn_v.weight"] is TensorType.Q5_K
    assert types["enc.blk.5.attn_v.weight"] is TensorType.Q4_K


def test_blocks_are_told_by_number_not_by_the_order_of_their_names() -> None:
    kinds = {
        block: t5_recipe.tensor_type(
            f"enc.blk.{block}.attn_v.weight", (4096, 4096), TensorType.F16, FileType.Q4_K_S, 24
        )
        for block in (0, 3, 4, 10)
    }
    assert kinds == {
        0: TensorType.Q5_K,
        3: TensorType.Q5_K,
        4: TensorType.Q4_K,
        10: TensorType.Q4_K,
    }


def test_shards_a_second_embedding_and_a_decoder_make_no_difference(tmp_path: Path) -> None:
    once = arrays()
    model_files.write(tmp_path / "t5.safetensors", once)
    plain = made(tmp_path / "t5.safetensors", tmp_path / "plain.gguf", by_name=True)
    (tmp_path / "text_encoder_2").mkdir()
    more = once | {
        "encoder.embed_tokens.weight": once[EMBEDDING],
        "decoder.block.0.layer.0.SelfAttention.q.weight": once[EMBEDDING],
        "lm_head.weight": once[EMBEDDING],
    }
    index = model_files.write_shards(tmp_path / "text_encoder_2", "model", more, 3)
    assert made(index.parent, tmp_path / "shards.gguf", by_name=True) == plain
    renamed = {n.replace("shared.", "encoder.embed_tokens."): array for n, array in once.items()}
    model_files.write(tmp_path / "renamed.safetensors", renamed)
    assert made(tmp_path / "renamed.safetensors", tmp_path / "r.gguf", by_name=True) == plain


def test_scaled_fp8_is_scaled(tmp_path: Path) -> None:
    scale = torch.tensor(0.002)
    scaled: dict[str, torch.Tensor] = {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    plain: dict[str, torch.Tensor] = {}
    for name, array in arrays().items():
        values = torch.from_numpy(array)
        scaled[name] = plain[name] = values
        if "SelfAttention.q" in name:
            scaled[name] = (values.float() / scale).to(torch.float8_e4m3fn)
            scaled[name.replace("weight", "scale_weight")] = scale.clone()
            plain[name] = (scaled[name].float() * scale).half()
    for name, tensors in (("scaled", scaled), ("plain", plain)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    ours, theirs = (
        made(tmp_path / f"{name}.safetensors", tmp_path / f"{name}.gguf", by_name=True)
        for name in ("scaled", "plain")
    )
    assert ours == theirs


def test_a_tokenizer_beside_the_source_is_taken_along_and_none_is_made_up(tmp_path: Path) -> None:
    source = model_files.write(tmp_path / "t5.safetensors", arrays())
    made(source, tmp_path / "x.gguf")
    assert not [k for k in gguf_file.read_header(tmp_path / "x.gguf").metadata if "tokenizer" in k]
    (tmp_path / "tokenizer.json").write_text('{"model": "☃"}', encoding="utf-8")
    made(source, tmp_path / "x.gguf")
    metadata = gguf_file.read_header(tmp_path / "x.gguf").metadata
    assert metadata["tokenizer.huggingface.json"] == '{"model": "☃"}'
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xff")
    with pytest.raises(QuantizeError, match="tokenizer is damaged"):
        made(source, tmp_path / "x.gguf")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a: {n: x for n, x in a.items() if ".3.layer.1.layer_n" not in n}, "not complete"),
        (lambda a: {n.replace("wi_0", "wi"): x for n, x in a.items()}, "not those of a T5"),
        (lambda a: a | {"vae.conv": np.zeros(4, "f2")}, "no rule for vae.conv"),
        (lambda a: a | {EMBEDDING: np.zeros(7, "f2")}, "not those of a T5"),
    ],
)  # fmt: skip
def test_another_or_broken_t5_is_refused(tmp_path: Path, change: object, why: str) -> None:
    assert callable(change)
    source = model_files.write(tmp_path / "t5.safetensors", change(arrays()))
    with pytest.raises(ModelError, match=why) as caught:
        convert.plan(source, tmp_path / "x.gguf", FileType.Q4_K_S)
    assert caught.value.fix


def test_the_micro_t5_encodes_the_same_as_a_gguf(tmp_path: Path) -> None:
    micro_set.lay_out(tmp_path)
    source = tmp_path / "text_encoders" / micro.T5_FILE
    target = tmp_path / "text_encoders" / "micro.gguf"
    made(source, target, FileType.Q8_0)
    codes = []
    for path in (source, target):
        encoder = text_encoders.load_t5(
            text_encoders.open_encoder(path),
            tmp_path,
            dtype=torch.float32,
            device=torch.device("cpu"),
        )
        codes.append(encoder.encode("a red circle"))
    error = (codes[0] - codes[1]).norm() / codes[0].norm()
    assert float(error) < 0.02
