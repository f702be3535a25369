"""The VAE: LDM-named files, sizes from shapes, latents in the right space; and previews."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import save_file

from host import previews, vae
from host.errors import RenderError
from host.packed import open_weights
from host.values import Latent
from models.micro import spec
from models.micro.micro_set import MicroSet, lay_out

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> MicroSet:
    return lay_out(tmp_path_factory.mktemp("models"))


CONFIG: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (32, 32, 64),
    "layers_per_block": 2,
    "latent_channels": 16,
    "norm_num_groups": 32,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def ldm_name(name: str, levels: int) -> str:
    """diffusers' name of a VAE tensor to LDM's, the inverse of what the host applies."""
    side, rest = name.split(".", 1)
    parts = rest.split(".")
    simple = {"conv_norm_out": "norm_out", "conv_in": "conv_in", "conv_out": "conv_out"}
    if parts[0] in simple:
        return f"{side}.{simple[parts[0]]}.{parts[-1]}"
    inner = ".".join(parts[-2:]).replace("conv_shortcut", "nin_shortcut")
    if parts[0] == "mid_block":
        if parts[1] == "resnets":
            return f"{side}.mid.block_{int(parts[2]) + 1}.{inner}"
        attention = {
            "to_q": "q",
            "to_k": "k",
            "to_v": "v",
            "group_norm": "norm",
            "to_out": "proj_out",
        }
        return f"{side}.mid.attn_1.{attention[parts[3]]}.{parts[-1]}"
    way = "down" if parts[0] == "down_blocks" else "up"
    level = int(parts[1]) if way == "down" else levels - 1 - int(parts[1])
    if parts[2] == "resnets":
        return f"{side}.{way}.{level}.block.{parts[3]}.{inner}"
    return f"{side}.{way}.{level}.{way}sample.conv.{parts[-1]}"


def write_ldm(model: AutoencoderKL, path: Path, metadata: dict[str, str] | None = None) -> None:
    levels = len(model.config.block_out_channels)
    tensors = {}
    for name, tensor in model.state_dict().items():
        value = tensor.clone()
        if ".attentions." in name and value.ndim == 2:
            value = value[:, :, None, None]  # LDM's attention is made of 1 x 1 convolutions
        tensors[ldm_name(name, levels)] = value
    save_file(tensors, path, metadata)


@torch.inference_mode()
def test_an_ldm_file_decodes_as_the_model_it_was_made_from(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoencoderKL(**CONFIG).eval()
    write_ldm(model, tmp_path / "ae.safetensors")
    loaded = vae.load(tmp_path / "ae.safetensors", device=CPU)
    assert (loaded.scale, loaded.shift) == (0.3611, 0.1159)
    samples = torch.randn(2, 16, 4, 6)
    expected = ((model.decode(samples).sample + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)
    pixels = loaded.decode(Latent(samples))
    assert pixels.shape == (2, 16, 24, 3)
    assert pixels.dtype == np.float32
    assert np.allclose(pixels, expected.numpy(), atol=1e-5)


def test_sizes_come_from_the_shapes(micro: MicroSet) -> None:
    loaded = vae.load(micro.vae, device=CPU)
    config = loaded.model.config
    assert tuple(config.block_out_channels) == spec.VAE.channels
    assert config.layers_per_block == spec.VAE.blocks
    assert config.norm_num_groups == spec.VAE.norm_groups
    metadata = open_weights(micro.vae).metadata
    measured = [float(str(metadata[f"{name}_factor"])) for name in ("scaling", "shift")]
    assert [loaded.scale, loaded.shift] == measured
    assert not any(one.requires_grad for one in loaded.model.parameters())


@torch.inference_mode()
def test_latents_of_a_vae_with_its_own_scale_are_moved_to_its_space(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoencoderKL(**CONFIG).eval()
    metadata = {"scaling_factor": "0.5", "shift_factor": "0.25"}
    write_ldm(model, tmp_path / "own.safetensors", metadata)
    write_ldm(model, tmp_path / "flux.safetensors")
    in_model_space = torch.randn(1, 16, 4, 4)
    latent = Latent(vae.from_model_space(in_model_space))
    own = vae.load(tmp_path / "own.safetensors", device=CPU).decode(latent)
    plain = model.decode(in_model_space / 0.5 + 0.25).sample.add(1).div(2).clamp(0, 1)
    assert np.allclose(own, plain.movedim(1, -1).numpy(), atol=1e-4)


# --- the other way, and in tiles ---


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> vae.LoadedVae:
    """A VAE of three levels, so four pixels a position, with a scale of its own."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vae") / "own.safetensors"
    write_ldm(AutoencoderKL(**CONFIG), path, {"scaling_factor": "0.5", "shift_factor": "0.25"})
    return vae.load(path, device=CPU)


def colors(*shape: int) -> Any:
    return np.random.default_rng(5).random((*shape, 3), dtype=np.float32)


@torch.inference_mode()
def test_encoding_takes_the_mean_and_moves_it_to_the_shared_space(made: vae.LoadedVae) -> None:
    pixels = colors(2, 16, 24)
    samples = torch.from_numpy(pixels).permute(0, 3, 1, 2) * 2 - 1
    mean = made.model.encode(samples).latent_dist.mean
    latent = made.encode(pixels)
    assert latent.samples.shape == (2, 16, 4, 6)
    assert latent.noise_mask is None
    in_model_space = vae.to_model_space(latent.samples)
    assert torch.allclose(in_model_space, (mean - 0.25) * 0.5, atol=1e-5)


@torch.inference_mode()
def test_what_does_not_fit_the_vae_is_cut_off_around_the_centre(made: vae.LoadedVae) -> None:
    pixels = colors(1, 19, 22)
    assert torch.equal(made.encode(pixels).samples, made.encode(pixels[:, 1:17, 1:21]).samples)


def test_a_picture_smaller_than_a_position_is_a_sentence(made: vae.LoadedVae) -> None:
    with pytest.raises(RenderError, match="3 x 40 pixels is too small"):
        made.encode(colors(1, 40, 3))


@torch.inference_mode()
def test_one_tile_is_the_whole_to_the_bit(made: vae.LoadedVae) -> None:
    told: list[tuple[int, int]] = []
    latent = made.encode(colors(2, 32, 32))
    ways = 3 * 2
    tiled = made.encode_tiled(colors(2, 32, 32), 64, 16, lambda *counts: told.append(counts))
    assert torch.allclose(tiled.samples, latent.samples, atol=1e-6)
    pixels = made.decode_tiled(latent, 64, 16, lambda *counts: told.append(counts))
    assert np.allclose(pixels, made.decode(latent), atol=1e-6)
    assert told == [(count, ways) for count in range(1, ways + 1)] * 2


@torch.inference_mode()
def test_tiles_give_nearly_the_whole_picture(micro: MicroSet) -> None:
    loaded = vae.load(micro.vae, device=CPU)
    pixels = smooth(192, 128)
    latent = loaded.encode(pixels)
    told: list[tuple[int, int]] = []
    tiled = loaded.decode_tiled(latent, 96, 24, lambda *counts: told.append(counts))
    whole = loaded.decode(latent)
    assert tiled.shape == whole.shape
    assert told[-1][0] == told[-1][1] == len(told) > 3
    assert np.abs(tiled - whole).mean() < 0.02
    encoded = loaded.encode_tiled(pixels, 96, 24, lambda *counts: None)
    error = (encoded.samples - latent.samples).abs().mean() / latent.samples.std()
    assert error < 0.1


def smooth(height: int, width: int) -> Any:
    """A picture without edges: two waves."""
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(down / 20), np.cos(across / 15), np.sin((down + across) / 30)]
    return (np.stack(waves, axis=-1)[None] / 2 + 0.5).astype(np.float32)


def test_tiles_that_overlap_too_much_are_a_sentence(made: vae.LoadedVae) -> None:
    with pytest.raises(RenderError, match="overlap of 64 is too much for tiles"):
        made.encode_tiled(colors(1, 80, 80), 64, 64, lambda *counts: None)


@torch.inference_mode()
def test_tiles_take_over_when_the_memory_does_not_do(
    made: vae.LoadedVae, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = colors(1, 32, 32)
    latent = made.encode(pixels)
    whole = made.decode(latent)

    def failing_once(function: Any) -> Any:
        calls: list[int] = []

        def run(samples: torch.Tensor) -> Any:
            calls.append(len(samples))
            if len(calls) == 1:
                raise torch.OutOfMemoryError("no memory")
            return function(samples)

        return run

    for name in ("encode", "decode"):
        monkeypatch.setattr(made.model, name, failing_once(getattr(made.model, name)))
    assert torch.allclose(made.encode(pixels).samples, latent.samples, atol=1e-6)
    assert np.allclose(made.decode(latent), whole, atol=1e-6)


def test_spaces_are_inverse_of_each_other() -> None:
    samples = torch.randn(1, 16, 2, 2)
    there_and_back = vae.from_model_space(vae.to_model_space(samples))
    assert torch.allclose(there_and_back, samples, atol=1e-5)


def test_what_is_no_vae_is_a_sentence(micro: MicroSet, tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="no VAE"):
        vae.load(micro.t5, device=CPU)
    torch.manual_seed(0)
    write_ldm(AutoencoderKL(**CONFIG), tmp_path / "a.safetensors", {"shift_factor": "x"})
    with pytest.raises(RenderError, match="shift_factor"):
        vae.load(tmp_path / "a.safetensors", device=CPU)
    write_ldm(AutoencoderKL(**CONFIG), tmp_path / "b.safetensors", {"norm_num_groups": "5"})
    with pytest.raises(RenderError, match="cannot be loaded"):
        vae.load(tmp_path / "b.safetensors", device=CPU)


# --- previews ---


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture))


def test_a_preview_is_as_large_as_the_picture_up_to_a_limit() -> None:
    for latent, size in (((8, 6), (48, 64)), ((128, 64), (256, 512)), ((1, 1), (8, 8))):
        picture = previews.plain().jpeg(torch.randn(1, 16, *latent))
        assert opened(picture.image).size == size
        assert opened(picture.image).format == "JPEG"


class Averaging:
    """Stands in for a VAE whose latents are a known linear map of the colours."""

    device = CPU
    matrix = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))

    def encode(self, pixels: torch.Tensor) -> Any:
        colors = torch.nn.functional.avg_pool2d(pixels, 8)
        latent = torch.einsum("lc,bchw->blhw", self.matrix, colors)

        class Encoded:
            class latent_dist:  # noqa: N801 - diffusers' name
                @staticmethod
                def mode() -> torch.Tensor:
                    return latent

        return Encoded


def test_the_projection_finds_the_map_back_to_the_colours() -> None:
    model: Any = Averaging()
    projection = previews.fit(vae.LoadedVae(model, scale=0.5, shift=0.1))
    wanted = torch.tensor([0.8, 0.2, 0.5])
    latent = (Averaging.matrix @ (wanted * 2 - 1) - 0.1) * 0.5
    found = latent @ projection.matrix + projection.offset
    assert torch.allclose(found, wanted, atol=0.02)


@torch.inference_mode()
def test_any_vae_gives_a_preview(micro: MicroSet) -> None:
    projection = previews.fit(vae.load(micro.vae, device=CPU))
    assert torch.isfinite(projection.matrix).all()
    assert opened(projection.jpeg(torch.randn(1, 16, 8, 8)).image).size == (64, 64)
