"""The VAE: single files with LDM's names (``ae.safetensors``) to diffusers' AutoencoderKL.

Sizes are read from the tensors' shapes; what shapes cannot tell (norm groups, shift and scale of
the latents) from the metadata, else FLUX.1's own values. Computes in float32: float16 overflows in
the decoder.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

from host.errors import RenderError
from host.images import Pixels, multiple_inside
from host.packed import open_weights
from host.tiles import Tick, in_three_ways
from host.values import Latent

FLUX_SCALE = 0.3611
FLUX_SHIFT = 0.1159
"""Scale and shift between FLUX.1's latents and its VAE's; every LATENT is in that VAE's space."""

FLUX_NORM_GROUPS = 32

SPARE_TILE = 512
"""Side in pixels of the tiles that are used when the memory does not do for the whole picture."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedVae:
    """A VAE with the numbers that place its latents.

    Attributes:
        model: diffusers' VAE.
        scale: model latent = (VAE latent - shift) * scale.
        shift: see ``scale``.
    """

    model: AutoencoderKL
    scale: float
    shift: float

    @property
    def ratio(self) -> int:
        """Pixels along each side of what one latent position stands for."""
        return int(2 ** (len(self.model.config.block_out_channels) - 1))

    @torch.inference_mode()
    def decode(self, latent: Latent) -> Pixels:
        """Return pixels, float32, shape (batch, height, width, 3), 0 to 1.

        Where the memory does not do for the whole, in tiles, as ComfyUI does it.
        """
        samples = self._own_space(latent.samples)
        try:
            # One picture at a time: the decoder's activations are by far the largest of all stages.
            return _to_pixels(torch.cat([self._decoded(one[None]) for one in samples]))
        except torch.OutOfMemoryError:
            logger.warning("decoding needs more memory than there is: going on in tiles")
        return self.decode_tiled(latent, SPARE_TILE, SPARE_TILE // 4, _untold)

    @torch.inference_mode()
    def decode_tiled(self, latent: Latent, size: int, overlap: int, tick: Tick) -> Pixels:
        """Do the same in tiles; size and overlap in pixels, ``tick`` is told of every tile."""
        samples = self._own_space(latent.samples)
        size, overlap = size // self.ratio, overlap // self.ratio
        return _to_pixels(in_three_ways(samples, self._decoded, self.ratio, size, overlap, tick))

    @torch.inference_mode()
    def encode(self, pixels: Pixels) -> Latent:
        """Return the latent of pictures, float32, shape (batch, height, width, 3), 0 to 1.

        Sides that are no multiple of :attr:`ratio` are cut around the centre. In tiles where the
        memory does not do for the whole.

        Raises:
            RenderError: a picture is too small.
        """
        samples = self._from_pixels(pixels)
        try:
            own = torch.cat([self._encoded(one[None]) for one in samples])
            return Latent(self._shared_space(own))
        except torch.OutOfMemoryError:
            logger.warning("encoding needs more memory than there is: going on in tiles")
        return self.encode_tiled(pixels, SPARE_TILE, SPARE_TILE // 8, _untold)

    @torch.inference_mode()
    def encode_tiled(self, pixels: Pixels, size: int, overlap: int, tick: Tick) -> Latent:
        """Do the same in tiles; size and overlap in pixels, ``tick`` is told of every tile."""
        samples = self._from_pixels(pixels)
        own = in_three_ways(samples, self._encoded, 1 / self.ratio, size, overlap, tick)
        return Latent(self._shared_space(own))

    def _decoded(self, samples: torch.Tensor) -> torch.Tensor:
        decoded: torch.Tensor = self.model.decode(samples.to(self.model.device)).sample
        return decoded.float()

    def _encoded(self, pixels: torch.Tensor) -> torch.Tensor:
        # The mean, not a draw: the same picture is the same latent every time, as in ComfyUI.
        encoded: torch.Tensor = self.model.encode(pixels.to(self.model.device)).latent_dist.mode()
        return encoded.float().cpu()

    def _from_pixels(self, pixels: Pixels) -> torch.Tensor:
        """Return what the encoder takes: -1 to 1, shape (batch, 3, height, width), cut to fit."""
        height, width = pixels.shape[1:3]
        if min(height, width) < self.ratio:
            raise RenderError(
                f"a picture of {width} x {height} pixels is too small to be encoded",
                fix=f"Scale it to at least {self.ratio} x {self.ratio}",
            )
        rows, columns = (multiple_inside(side, self.ratio) for side in (height, width))
        samples = torch.from_numpy(np.array(pixels[:, rows, columns, :3]))
        return samples.movedim(-1, 1) * 2 - 1

    def _shared_space(self, samples: torch.Tensor) -> torch.Tensor:
        if (self.scale, self.shift) == (FLUX_SCALE, FLUX_SHIFT):
            return samples
        return from_model_space((samples - self.shift) * self.scale)

    def _own_space(self, samples: torch.Tensor) -> torch.Tensor:
        if (self.scale, self.shift) == (FLUX_SCALE, FLUX_SHIFT):
            return samples
        return to_model_space(samples) / self.scale + self.shift


def _untold(done: int, total: int) -> None:
    """Tell nobody of a tile."""


def _to_pixels(decoded: torch.Tensor) -> Pixels:
    pixels = decoded.add(1).div(2).clamp(0, 1).movedim(1, -1)
    array: Pixels = pixels.float().cpu().contiguous().numpy()
    return array


def to_model_space(samples: torch.Tensor) -> torch.Tensor:
    """Return what the unet works on, from a LATENT."""
    return (samples - FLUX_SHIFT) * FLUX_SCALE


def from_model_space(samples: torch.Tensor) -> torch.Tensor:
    """Undo :func:`to_model_space`."""
    return samples / FLUX_SCALE + FLUX_SHIFT


def load(path: Path, *, device: torch.device) -> LoadedVae:
    """Load a VAE.

    Raises:
        ModelError: the file is damaged.
        RenderError: it is no VAE that fits Flux.
    """
    file = open_weights(path)
    tensors = {name: packed.unpack(torch.float32) for name, packed in file.tensors.items()}
    config = infer_config({name: tuple(one.shape) for name, one in tensors.items()}, path)
    groups = int(_number(file.metadata, "norm_num_groups", FLUX_NORM_GROUPS, path))
    try:
        model = AutoencoderKL(**config, norm_num_groups=groups)
        model.load_state_dict(convert_ldm_vae_checkpoint(tensors, config))
    except (KeyError, RuntimeError, ValueError) as error:
        raise RenderError("the VAE cannot be loaded", path=path, why=str(error)) from error
    model.requires_grad_(requires_grad=False)
    return LoadedVae(
        model.to(device).eval(),
        _number(file.metadata, "scaling_factor", FLUX_SCALE, path),
        _number(file.metadata, "shift_factor", FLUX_SHIFT, path),
    )


def infer_config(shapes: Mapping[str, tuple[int, ...]], path: Path) -> dict[str, object]:
    """Return the arguments of AutoencoderKL for tensors of these shapes.

    Raises:
        RenderError: they are not those of a VAE with LDM's names.
    """
    levels = _count(shapes, "decoder.up.")
    try:
        channels = tuple(
            shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)
        )
        latent = shapes["decoder.conv_in.weight"][1]
        blocks = _count(shapes, "encoder.down.0.block.")
    except (KeyError, IndexError):
        levels = 0
    if not levels:
        raise RenderError(
            "the file is no VAE that is known here",
            path=path,
            fix="Use FLUX.1's ae.safetensors",
        )
    return {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": channels,
        "layers_per_block": blocks,
        "latent_channels": latent,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "mid_block_add_attention": "decoder.mid.attn_1.q.weight" in shapes,
    }


def _count(names: Mapping[str, object], prefix: str) -> int:
    found = {name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)}
    return len(found)


def _number(metadata: Mapping[str, object], key: str, default: float, path: Path) -> float:
    try:
        return float(str(metadata.get(key, default)))
    except ValueError:
        why = f"{key} in its metadata is no number"
        raise RenderError("the VAE cannot be loaded", path=path, why=why) from None
