"""The micro set: shipped files that are a true FLUX.1 set, only small."""

import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from models import flux, lora, safetensors_file
from models.micro import clip_tokenizer, micro_set, spec, t5_tokenizer
from models.micro.grammar import WORDINGS, scenes
from models.micro.micro_set import SHIPPED, MicroSet

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> MicroSet:
    return micro_set.lay_out(tmp_path_factory.mktemp("models"))


def test_the_set_lies_in_comfyuis_folders(files: MicroSet) -> None:
    paths: tuple[Path, ...] = astuple(files)
    root = files.unet.parents[1]
    assert [path.relative_to(root).as_posix() for path in paths] == [
        "unet/vulcan-micro-F16.safetensors",
        "text_encoders/vulcan-micro-clip_l.safetensors",
        "text_encoders/vulcan-micro-t5.safetensors",
        "vae/vulcan-micro-ae.safetensors",
        "loras/vulcan-micro-lora.safetensors",
    ]
    assert sum(path.stat().st_size for path in paths) < 25e6
    assert files.lora.stat().st_size < 2e6


def test_the_set_is_all_that_is_shipped(files: MicroSet) -> None:
    shipped = astuple(micro_set.place(SHIPPED))
    for path, original in zip(astuple(files), shipped, strict=True):
        assert path.read_bytes() == original.read_bytes()
    assert set(SHIPPED.rglob("*.safetensors")) == set(shipped)


def test_only_what_is_missing_or_differs_is_written(tmp_path: Path) -> None:
    files = micro_set.lay_out(tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in astuple(files)}
    files.lora.unlink()
    damaged = bytearray(files.vae.read_bytes())
    damaged[-1] ^= 1
    files.vae.write_bytes(damaged)
    micro_set.lay_out(tmp_path)
    for path, (time, content) in before.items():
        assert path.read_bytes() == content
        assert (path.stat().st_mtime_ns == time) == (path not in (files.lora, files.vae))


def test_it_can_be_laid_out_from_the_command_line(files: MicroSet, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "models.micro", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = [Path(line) for line in done.stdout.splitlines()]
    assert printed == list(astuple(micro_set.place(tmp_path)))
    for path, same in zip(astuple(files), printed, strict=True):
        assert path.read_bytes() == same.read_bytes()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    done = subprocess.run(
        [sys.executable, "-m", "models.micro", str(tmp_path / "models")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The micro set cannot be laid out: ")
    assert done.stderr.count("\n") == 1


def test_the_unet_is_a_true_flux_and_fits_the_lora(files: MicroSet) -> None:
    shapes = safetensors_file.read_header(files.unet).shapes
    assert flux.detect(shapes) == spec.FLUX
    read = lora.read(files.lora, spec.FLUX)
    assert lora.problems(read, shapes) == []
    assert read.trigger_words == ("vulcan",)
    assert {layer.rank for layer in read.layers} == {spec.LORA_RANK}


def test_every_block_weight_fills_whole_super_blocks(files: MicroSet) -> None:
    for name, shape in safetensors_file.read_header(files.unet).shapes.items():
        if "_blocks." in name and len(shape) == 2:
            assert shape[1] % 256 == 0, name


def floats(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in load_file(path).items()}


def tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_str(safetensors_file.read_header(path).metadata["tokenizer"])


def load_clip(path: Path) -> Any:
    words = tokenizer(path)
    config = CLIPTextConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=spec.CLIP.width,
        intermediate_size=spec.CLIP.mlp,
        num_hidden_layers=spec.CLIP.layers,
        num_attention_heads=spec.CLIP.width // 64,
        bos_token_id=words.token_to_id(clip_tokenizer.START),
        eos_token_id=words.token_to_id(clip_tokenizer.END),
    )
    model = CLIPTextModel(config).eval()
    own = set(model.state_dict())
    tensors = floats(path)
    if not own & set(tensors):  # transformers 5 dropped the outer name
        tensors = {name.removeprefix("text_model."): value for name, value in tensors.items()}
    model.load_state_dict(tensors)
    return model


def load_t5(path: Path) -> Any:
    config = T5Config(
        vocab_size=tokenizer(path).get_vocab_size(),
        d_model=spec.T5.width,
        d_kv=spec.T5.width // spec.T5.heads,
        d_ff=spec.T5.mlp,
        num_layers=spec.T5.layers,
        num_heads=spec.T5.heads,
        feed_forward_proj="gated-gelu",
    )
    model = T5EncoderModel(config).eval()
    tensors = floats(path)
    model.load_state_dict(tensors | {"encoder.embed_tokens.weight": tensors["shared.weight"]})
    return model


def load_vae(path: Path) -> Any:
    metadata = safetensors_file.read_header(path).metadata
    model = AutoencoderKL(
        block_out_channels=list(spec.VAE.channels),
        layers_per_block=spec.VAE.blocks,
        latent_channels=spec.VAE.latent,
        norm_num_groups=int(metadata["norm_num_groups"]),
        scaling_factor=float(metadata["scaling_factor"]),
        shift_factor=float(metadata["shift_factor"]),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    sizes = {"down_block_types": [0] * 4, "up_block_types": [0] * 4, "layers_per_block": 1}
    model.load_state_dict(convert_ldm_vae_checkpoint(floats(path), sizes))
    return model


def load_unet(path: Path) -> Any:
    tensors = floats(path)
    parameters = {}
    for name, piece in flux.diffusers_pieces(spec.FLUX).items():
        rows = tensors[piece.tensor][piece.start_row : piece.start_row + piece.rows]
        parameters[name] = torch.cat(rows.chunk(2)[::-1]) if piece.swap_halves else rows
    model = FluxTransformer2DModel(
        num_layers=spec.FLUX.double_blocks,
        num_single_layers=spec.FLUX.single_blocks,
        num_attention_heads=spec.FLUX.heads,
        joint_attention_dim=spec.FLUX.context,
        pooled_projection_dim=spec.FLUX.pooled,
        guidance_embeds=True,
    ).eval()
    model.load_state_dict(parameters)
    return model


@torch.no_grad()
def test_every_part_loads_into_its_library_and_gives_values_of_a_sane_size(
    files: MicroSet,
) -> None:
    prompt, stream = "a red circle on a blue background", torch.Generator().manual_seed(0)
    ids = torch.tensor([tokenizer(files.clip_l).encode(prompt).ids])
    pooled = load_clip(files.clip_l)(ids).pooler_output
    text = load_t5(files.t5)(torch.tensor([tokenizer(files.t5).encode(prompt).ids]))[0]
    velocity = load_unet(files.unet)(
        hidden_states=torch.randn(1, 64, 64, generator=stream),
        timestep=torch.tensor([0.9]),
        guidance=torch.tensor([3.5]),
        pooled_projections=pooled,
        encoder_hidden_states=text,
        txt_ids=torch.zeros(spec.T5.tokens, 3),
        img_ids=torch.cartesian_prod(torch.zeros(1), torch.arange(8.0), torch.arange(8.0)),
        return_dict=False,
    )[0]
    vae = load_vae(files.vae)
    picture = vae.decode(torch.randn(1, 16, 16, 16, generator=stream)).sample
    latent = vae.encode(picture.clamp(-1, 1)).latent_dist.mode()
    shapes = [tuple(one.shape) for one in (pooled, text, velocity, picture, latent)]
    assert shapes == [
        (1, spec.CLIP.width),
        (1, spec.T5.tokens, spec.T5.width),
        (1, 64, 64),
        (1, 3, 128, 128),
        (1, 16, 16, 16),
    ]
    for values in (pooled, text, velocity, picture, latent):
        assert values.isfinite().all()
        assert 1e-3 < values.std() < 1e2


def test_the_vaes_metadata_say_where_its_latents_lie(files: MicroSet) -> None:
    metadata = safetensors_file.read_header(files.vae).metadata
    assert 0.01 < float(metadata["scaling_factor"]) < 100
    assert abs(float(metadata["shift_factor"])) < 10
    assert int(metadata["norm_num_groups"]) == spec.VAE.norm_groups


def test_words_of_the_list_are_one_token_each(files: MicroSet) -> None:
    clip, t5 = tokenizer(files.clip_l), tokenizer(files.t5)
    for word in spec.WORDS:
        assert clip.encode(word).tokens[1:3] == [f"{word}</w>", clip_tokenizer.END]
        assert t5.encode(word.upper()).tokens[:2] == [f"▁{word}", t5_tokenizer.END]


def test_no_caption_is_too_long_for_a_text_encoder(files: MicroSet) -> None:
    captions = [scene.caption(way) for scene in scenes() for way in range(len(WORDINGS))]
    for path, limit in ((files.clip_l, spec.CLIP.tokens), (files.t5, spec.T5.tokens)):
        words = tokenizer(path)
        words.no_padding()
        words.no_truncation()
        assert max(len(one.ids) for one in words.encode_batch(captions)) <= limit


def test_every_word_of_a_caption_is_of_the_list() -> None:
    texts = (scene.caption(way) for scene in scenes() for way in range(len(WORDINGS)))
    assert {word for text in texts for word in text.replace(",", "").split()} <= set(spec.WORDS)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=300))
def test_any_text_can_be_tokenised_to_the_fixed_length(files: MicroSet, text: str) -> None:
    clip, t5 = tokenizer(files.clip_l).encode(text), tokenizer(files.t5).encode(text)
    assert len(clip.ids) == 77
    assert clip.tokens[0] == clip_tokenizer.START
    assert clip_tokenizer.END in clip.tokens
    assert len(t5.ids) == spec.T5.tokens
    assert t5_tokenizer.END in t5.tokens
    assert t5_tokenizer.UNKNOWN not in t5.tokens or t5_tokenizer.UNKNOWN in text


def test_tokenizers_tell_texts_apart(files: MicroSet) -> None:
    for path in (files.clip_l, files.t5):
        words = tokenizer(path)
        texts = ["a red fox", "a red owl", "ein roter Fuchs", "赤い狐", ""]
        assert len({tuple(words.encode(text).ids) for text in texts}) == len(texts)


def test_weights_are_finite(files: MicroSet) -> None:
    for path in astuple(files):
        assert all(np.isfinite(tensor.numpy()).all() for tensor in load_file(path).values())
