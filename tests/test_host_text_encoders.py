"""CLIP-L and T5 from single files, against transformers with full weights."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from host import text_encoders, tokenizer_files
from host.errors import RenderError
from host.packed import open_weights
from host.text_encoders import T5, ClipL
from models.micro import spec
from models.micro.micro_set import MicroSet, lay_out

CPU = torch.device("cpu")
TEXT = "a red circle on white, vulcan; überall 火"


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> MicroSet:
    return lay_out(tmp_path_factory.mktemp("models"))


def clip(path: Path, models_dir: Path = Path("nowhere")) -> ClipL:
    file = open_weights(path)
    return text_encoders.load_clip(file, models_dir, dtype=torch.float32, device=CPU)


def t5(path: Path, models_dir: Path = Path("nowhere")) -> T5:
    return text_encoders.load_t5(open_weights(path), models_dir, dtype=torch.float32, device=CPU)


@torch.inference_mode()
def test_clips_pooled_output_is_transformers_at_the_end_token(micro: MicroSet) -> None:
    weights = {
        name.removeprefix("text_model."): one for name, one in load_file(micro.clip_l).items()
    }
    loaded = clip(micro.clip_l)
    ids = loaded.tokenizer.encode(TEXT).ids
    config = CLIPTextConfig(
        vocab_size=len(weights["embeddings.token_embedding.weight"]),
        hidden_size=spec.CLIP.width,
        intermediate_size=spec.CLIP.mlp,
        num_hidden_layers=spec.CLIP.layers,
        num_attention_heads=spec.CLIP.width // 64,
        max_position_embeddings=77,
    )
    full = CLIPTextModel(config).eval()
    full.load_state_dict({name: one.float() for name, one in weights.items()})
    hidden = full(input_ids=torch.tensor([ids])).last_hidden_state
    end = loaded.tokenizer.encode("").ids[1]
    assert len(ids) == 77
    assert torch.allclose(loaded.encode(TEXT), hidden[:, ids.index(end)], atol=1e-5)


@torch.inference_mode()
def test_t5_is_transformers_without_a_mask(micro: MicroSet) -> None:
    weights = {name: one.float() for name, one in load_file(micro.t5).items()}
    words, width = weights["shared.weight"].shape
    config = T5Config(
        vocab_size=words,
        d_model=width,
        d_kv=width // spec.T5.heads,
        d_ff=spec.T5.mlp,
        num_layers=spec.T5.layers,
        num_heads=spec.T5.heads,
        feed_forward_proj="gated-gelu",
    )
    full = T5EncoderModel(config).eval()
    missing = full.load_state_dict(weights, strict=False)
    assert set(missing.missing_keys) <= {"encoder.embed_tokens.weight"}
    loaded = t5(micro.t5)
    ids = loaded.tokenizer.encode(TEXT).ids
    assert len(ids) == spec.T5.tokens
    expected = full(input_ids=torch.tensor([ids])).last_hidden_state
    assert torch.allclose(loaded.encode(TEXT), expected, atol=1e-5)


def to_llama_cpp(micro: MicroSet, target: Path) -> dict[str, torch.Tensor]:
    """Write the T5 as GGUF in Q8_0 under llama.cpp's names; return what it then holds."""
    names = {theirs: ours for ours, theirs in text_encoders._LLAMA_CPP.items()}
    writer = gguf.GGUFWriter(target, "t5encoder")
    held = {}
    for name, weight in load_file(micro.t5).items():
        stem = name.removesuffix(".weight")
        if stem.startswith("encoder.block."):
            _, _, number, layer = stem.split(".", 3)
            stem = f"enc.blk.{number}.{names[layer]}"
        else:
            stem = names[stem]
        values = weight.float().numpy()
        wide = values.ndim == 2 and values.shape[1] % 32 == 0
        kind = gguf.GGMLQuantizationType.Q8_0 if wide else gguf.GGMLQuantizationType.F32
        packed = gguf.quantize(values, kind)
        writer.add_tensor(f"{stem}.weight", packed, raw_dtype=kind)
        held[name] = torch.from_numpy(np.array(gguf.dequantize(packed, kind)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def put_tokenizer(models_dir: Path, name: str, text: str) -> None:
    path = models_dir / "tokenizers" / name / "tokenizer.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)


@torch.inference_mode()
def test_a_t5_in_gguf_has_llama_cpps_names_and_stays_packed(
    micro: MicroSet, tmp_path: Path
) -> None:
    held = to_llama_cpp(micro, tmp_path / "t5.gguf")
    put_tokenizer(tmp_path, "t5xxl", str(open_weights(micro.t5).metadata["tokenizer"]))
    save_file(held, tmp_path / "same.safetensors")
    packed = t5(tmp_path / "t5.gguf", tmp_path)
    assert torch.allclose(
        packed.encode(TEXT), t5(tmp_path / "same.safetensors", tmp_path).encode(TEXT), atol=1e-5
    )


def bare(text: str) -> str:
    """A tokenizer without truncation and padding, as the hub's are."""
    data = json.loads(text)
    return json.dumps({**data, "truncation": None, "padding": None})


@torch.inference_mode()
def test_real_tokenizers_are_padded_as_comfyui_does_it(micro: MicroSet, tmp_path: Path) -> None:
    for name, path in (("clip_l", micro.clip_l), ("t5xxl", micro.t5)):
        put_tokenizer(tmp_path, name, bare(str(open_weights(path).metadata["tokenizer"])))
        weights = load_file(path)
        save_file(weights, tmp_path / f"{name}.safetensors")
    one = clip(tmp_path / "clip_l.safetensors", tmp_path)
    assert torch.allclose(one.encode(TEXT), clip(micro.clip_l).encode(TEXT), atol=1e-5)
    assert len(one.tokenizer.encode("word " * 200).ids) == 77
    other = t5(tmp_path / "t5xxl.safetensors", tmp_path)
    assert other.encode("a").shape == (1, 256, spec.T5.width)
    assert other.encode("word " * 400).shape[1] > 400


def test_either_order_of_files_is_told_by_what_they_hold(micro: MicroSet) -> None:
    assert text_encoders.is_t5(open_weights(micro.t5))
    assert not text_encoders.is_t5(open_weights(micro.clip_l))


def test_a_file_that_is_no_text_encoder_is_a_sentence(micro: MicroSet) -> None:
    words = Tokenizer(models.WordLevel({"[b]": 0, "[e]": 1, "a": 2}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[b] $A [e]", special_tokens=[("[b]", 0), ("[e]", 1)]
    )
    file = open_weights(micro.vae)
    file.metadata["tokenizer"] = words.to_str()  # type: ignore[index] # a dict at heart
    with pytest.raises(RenderError, match="no CLIP-L"):
        text_encoders.load_clip(file, Path("x"), dtype=torch.float32, device=CPU)
    with pytest.raises(RenderError, match="no T5"):
        text_encoders.load_t5(file, Path("x"), dtype=torch.float32, device=CPU)


def test_without_a_tokenizer_the_error_says_where_to_put_one(
    micro: MicroSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(repository: str, name: str) -> str:
        raise OSError(f"no route to {repository} {name}")

    monkeypatch.setattr(tokenizer_files, "hf_hub_download", unreachable)
    save_file(load_file(micro.t5), tmp_path / "t5.safetensors")
    with pytest.raises(RenderError, match="no tokenizer") as caught:
        t5(tmp_path / "t5.safetensors", tmp_path)
    assert "tokenizers/t5xxl/tokenizer.json" in str(caught.value)
    put_tokenizer(tmp_path, "t5xxl", "{broken")
    with pytest.raises(RenderError, match="damaged"):
        t5(tmp_path / "t5.safetensors", tmp_path)
