"""What the nodes answer, against what a real ComfyUI 0.3.64 answered to the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from host.nodes import TABLE
from host.values import Latent
from tests.host_kit import folders_below
from tests.recorded_nodes import PICTURES, Array, answer, calls, given, numbers


class Place:
    """The part of a node's context that these nodes use."""

    def __init__(self, inputs: Path) -> None:
        below = folders_below(Path("/nowhere"))
        self.folders = type(below)(below.models, below.output, inputs, below.temp)


def run(node: str, **inputs: Any) -> tuple[Any, ...]:
    context: Any = Place(PICTURES)
    return TABLE[node].run(context, **inputs).outputs


def same(ours: Array, node: str, *arguments: str, output: int = 0, within: float = 0.0) -> None:
    theirs = answer(node, *arguments, output=output)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert np.allclose(ours, theirs, rtol=0, atol=within), np.abs(ours - theirs).max()


@pytest.mark.parametrize("name", [call[0] for call in calls("LoadImage")])
def test_every_kind_of_picture_is_read_as_comfyui_reads_it(name: str) -> None:
    pixels, mask = run("LoadImage", image=name)
    same(pixels, "LoadImage", name)
    same(mask, "LoadImage", name, output=1)


@pytest.mark.parametrize(("name", "channel"), calls("LoadImageMask"))
def test_a_channel_is_read_as_comfyui_reads_it(name: str, channel: str) -> None:
    same(*run("LoadImageMask", image=name, channel=channel), "LoadImageMask", name, channel)


@pytest.mark.parametrize(("method", "crop", "width", "height"), calls("ImageScale"))
def test_pictures_are_scaled_to_a_size(method: str, crop: str, width: str, height: str) -> None:
    (ours,) = run(
        "ImageScale",
        image=given(0),
        upscale_method=method,
        width=int(width),
        height=int(height),
        crop=crop,
    )
    same(ours, "ImageScale", method, crop, width, height, within=1e-6)


@pytest.mark.parametrize(("method", "factor"), calls("ImageScaleBy"))
def test_pictures_are_scaled_by_a_factor(method: str, factor: str) -> None:
    (ours,) = run("ImageScaleBy", image=given(0), upscale_method=method, scale_by=float(factor))
    same(ours, "ImageScaleBy", method, factor, within=1e-6)


def test_pictures_are_scaled_to_megapixels() -> None:
    (ours,) = run(
        "ImageScaleToTotalPixels", image=given(0), upscale_method="bilinear", megapixels=0.01
    )
    same(ours[:, ::7, ::7], "ImageScaleToTotalPixels", "bilinear", "0.01", within=1e-6)


@pytest.mark.parametrize("margins", calls("ImagePadForOutpaint"))
def test_margins_and_their_mask(margins: tuple[str, ...]) -> None:
    names = ("left", "top", "right", "bottom", "feathering")
    numbers_given = dict(zip(names, map(int, margins), strict=True))
    padded, mask = run("ImagePadForOutpaint", image=given(0), **numbers_given)
    same(padded, "ImagePadForOutpaint", *margins)
    same(mask, "ImagePadForOutpaint", *margins, output=1)


@pytest.mark.parametrize("place", calls("ImageCrop"))
def test_a_part_of_a_picture(place: tuple[str, ...]) -> None:
    numbers_given = dict(zip(("width", "height", "x", "y"), map(int, place), strict=True))
    same(*run("ImageCrop", image=given(0), **numbers_given), "ImageCrop", *place)


def test_pictures_and_masks_are_turned_into_one_another() -> None:
    same(*run("ImageInvert", image=given(0)), "ImageInvert")
    same(*run("ImageBatch", image1=given(0), image2=given(1)), "ImageBatch", within=1e-6)
    same(*run("MaskToImage", mask=given(4)), "MaskToImage")
    same(*run("InvertMask", mask=given(4)), "InvertMask")
    same(*run("SolidMask", value=0.3, width=5, height=4), "SolidMask")
    for channel in ("red", "green", "blue"):
        same(*run("ImageToMask", image=given(0), channel=channel), "ImageToMask", channel)


@pytest.mark.parametrize(("pixels", "tapered"), calls("GrowMask"))
def test_masks_grow_and_shrink(pixels: str, tapered: str) -> None:
    (ours,) = run("GrowMask", mask=given(4), expand=int(pixels), tapered_corners=tapered == "True")
    same(ours, "GrowMask", pixels, tapered)


# --- latents ---


def latent(masked: str = "none") -> Latent:
    plain = Latent(torch.from_numpy(given(2)))
    masks = {"one": given(3), "two": given(4)}
    if masked == "none":
        return plain
    (result,) = run("SetLatentNoiseMask", samples=plain, mask=masks[masked])
    assert isinstance(result, Latent)
    return result


def same_latent(ours: Latent, *call: str, within: float = 0.0) -> None:
    same(ours.samples.numpy(), *call, within=within)
    theirs = numbers()
    mask, index = theirs.get("/".join([*call, "mask"])), theirs.get("/".join([*call, "index"]))
    assert (ours.noise_mask is None) == (mask is None)
    if ours.noise_mask is not None:
        assert np.array_equal(ours.noise_mask.numpy(), answer(*call, output="mask"))
    assert ours.batch_index == (None if index is None else tuple(index.tolist()))


@pytest.mark.parametrize(("method", "width", "height", "crop"), calls("LatentUpscale"))
def test_latents_are_scaled_to_a_size(method: str, width: str, height: str, crop: str) -> None:
    (ours,) = run(
        "LatentUpscale",
        samples=latent(),
        upscale_method=method,
        width=int(width),
        height=int(height),
        crop=crop,
    )
    same_latent(ours, "LatentUpscale", method, width, height, crop, within=1e-5)


@pytest.mark.parametrize(("method", "factor"), calls("LatentUpscaleBy"))
def test_latents_are_scaled_by_a_factor(method: str, factor: str) -> None:
    (ours,) = run(
        "LatentUpscaleBy", samples=latent(), upscale_method=method, scale_by=float(factor)
    )
    same_latent(ours, "LatentUpscaleBy", method, factor, within=1e-5)


@pytest.mark.parametrize("call", calls("LatentFromBatch"))
def test_a_part_of_a_batch_keeps_its_masks_and_its_noise(call: tuple[str, ...]) -> None:
    masked, first, length, *again = call
    (ours,) = run(
        "LatentFromBatch", samples=latent(masked), batch_index=int(first), length=int(length)
    )
    if again:
        (ours,) = run("LatentFromBatch", samples=ours, batch_index=1, length=1)
    same_latent(ours, "LatentFromBatch", *call)


@pytest.mark.parametrize("call", calls("RepeatLatentBatch"))
def test_a_repeated_batch_counts_its_noise_on(call: tuple[str, ...]) -> None:
    masked, *part, amount = call
    some = latent(masked)
    if part:
        first, length = map(int, part)
        (some,) = run("LatentFromBatch", samples=some, batch_index=first, length=length)
    (ours,) = run("RepeatLatentBatch", samples=some, amount=int(amount))
    same_latent(ours, "RepeatLatentBatch", *call)


def test_a_noise_mask_is_kept_as_it_was_given() -> None:
    same_latent(latent("two"), "SetLatentNoiseMask")


def test_scaling_a_latent_keeps_its_mask() -> None:
    (ours,) = run("LatentUpscaleBy", samples=latent("two"), upscale_method="area", scale_by=2.0)
    assert np.array_equal(ours.noise_mask.numpy(), given(4)[:, None])


# --- what the VAE's nodes do around the VAE ---


@pytest.mark.parametrize(("masked", "grow"), calls("VAEEncodeForInpaint"))
def test_what_is_to_be_drawn_is_grey_and_marked(masked: str, grow: str) -> None:
    from host.inpainting import prepare

    mask = given(3) if masked == "one" else given(4)
    ours = prepare(answer("big"), mask, int(grow), 8)
    same(ours.pixels, "VAEEncodeForInpaint", masked, grow, within=1e-6)
    same(ours.noise_mask.numpy(), "VAEEncodeForInpaint", masked, grow, output=1)


def wave(factor: float, *shape: int) -> torch.Tensor:
    return torch.sin(torch.arange(float(np.prod(shape))) * factor).reshape(shape)


@pytest.mark.parametrize("call", calls("tiled_scale"))
def test_tiles_are_put_together_as_comfyui_does_it(call: tuple[str, ...]) -> None:
    from host.tiles import Tiling, tiled

    def upwards(tile: torch.Tensor) -> torch.Tensor:
        colors = tile[:, :3] + tile.mean()
        return torch.nn.functional.interpolate(colors, scale_factor=8, mode="bilinear")

    def downwards(tile: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(tile, 8) + tile.mean()

    way, height, width, overlap = call
    tiling = Tiling(int(height), int(width), int(overlap))
    if way == "up":
        ours = tiled(wave(0.7, 1, 4, 23, 31), upwards, 8, tiling)[:, :1, ::9, ::11]
    else:
        ours = tiled(wave(0.3, 1, 3, 200, 136), downwards, 1 / 8, tiling)[:, :1, ::2]
    same(ours.numpy(), "tiled_scale", *call, within=1e-4)
