from collections import Counter
from dataclasses import replace

import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

from models import flux
from models.errors import ModelError
from models.flux import FLUX_DEV, FluxShape, Layout

SMALL = FluxShape(256, 2, 2, 3, 64, 512, 192, 1024, guidance=True)


def diffusers_shapes(shape: FluxShape) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = FluxTransformer2DModel(
            in_channels=shape.in_channels,
            out_channels=shape.out_channels,
            num_layers=shape.double_blocks,
            num_single_layers=shape.single_blocks,
            attention_head_dim=shape.head_dim,
            num_attention_heads=shape.heads,
            joint_attention_dim=shape.context,
            pooled_projection_dim=shape.pooled,
            guidance_embeds=shape.guidance,
        )
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_flux_dev_has_780_tensors_and_11_9_billion_weights() -> None:
    shapes = flux.tensor_shapes(FLUX_DEV)
    assert len(shapes) == 780
    weights = sum(rows * (size[0] if size else 1) for rows, *size in shapes.values())
    assert weights == 11_834_228_736 + 64_094_208 + 3_085_376


@pytest.mark.parametrize(
    "shape",
    [SMALL, replace(SMALL, guidance=False), replace(SMALL, in_channels=384), FLUX_DEV],
    ids=["small", "schnell", "fill", "dev"],
)
def test_the_pieces_are_the_parameters_of_diffusers_model(shape: FluxShape) -> None:
    pieces, ours = flux.diffusers_pieces(shape), flux.tensor_shapes(shape)
    theirs = diffusers_shapes(shape)
    assert set(pieces) == set(theirs)
    for name, piece in pieces.items():
        assert (piece.rows, *ours[piece.tensor][1:]) == theirs[name], name


def test_the_pieces_cover_every_reference_row_once() -> None:
    rows = Counter[tuple[str, int]]()
    for piece in flux.diffusers_pieces(SMALL).values():
        rows.update((piece.tensor, piece.start_row + row) for row in range(piece.rows))
    wanted = {
        (name, row) for name, size in flux.tensor_shapes(SMALL).items() for row in range(size[0])
    }
    assert set(rows) == wanted
    assert set(rows.values()) == {1}


def test_the_pieces_are_the_rows_that_diffusers_own_converter_takes() -> None:
    # The converter cuts along rows only, so one column that holds the row's number tells which.
    # It hard-codes FLUX.1's width.
    shape = replace(FLUX_DEV, double_blocks=1, single_blocks=1)
    numbered = {
        name: torch.arange(size[0])[:, None] for name, size in flux.tensor_shapes(shape).items()
    }
    converted = convert_flux_transformer_checkpoint_to_diffusers(dict(numbered))
    pieces = flux.diffusers_pieces(shape)
    assert set(converted) == set(pieces)
    for name, piece in pieces.items():
        rows = numbered[piece.tensor][piece.start_row : piece.start_row + piece.rows]
        if piece.swap_halves:
            rows = torch.cat(rows.chunk(2)[::-1])
        assert torch.equal(converted[name], rows), name


@pytest.mark.parametrize(
    "shape", [SMALL, replace(SMALL, guidance=False, in_channels=384), FLUX_DEV]
)
def test_a_shape_is_found_again_from_its_tensors(shape: FluxShape) -> None:
    assert flux.detect(flux.tensor_shapes(shape)) == shape


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"model.weight": (4, 4)},
        {"img_in.weight": (3,)},
        {**flux.tensor_shapes(SMALL), "img_in.weight": (256,)},
        {**flux.tensor_shapes(SMALL), "double_blocks.0.img_attn.norm.query_norm.scale": (0,)},
    ],
)
def test_what_is_no_flux_is_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ModelError, match=r"not those of a FLUX\.1"):
        flux.detect(shapes)


def test_missing_and_misfitting_tensors_are_named() -> None:
    shapes = flux.tensor_shapes(SMALL)
    del shapes["single_blocks.1.linear2.bias"]
    shapes["txt_in.bias"] = (7,)
    with pytest.raises(ModelError) as caught:
        flux.detect(shapes)
    assert "single_blocks.1.linear2.bias" in str(caught.value)
    assert "txt_in.bias is (7,), should be (256,)" in str(caught.value)


def test_a_far_block_number_shows_as_missing_tensors() -> None:
    shapes = flux.tensor_shapes(SMALL)
    shapes[f"double_blocks.{10**12}.img_mod.lin.bias"] = (1,)
    with pytest.raises(ModelError, match=r"double_blocks\.2\.img_mod\.lin\.weight"):
        flux.detect(shapes)


def test_tensors_that_no_flux_has_are_listed() -> None:
    shapes = {**flux.tensor_shapes(SMALL), "scaled_fp8": (0,)}
    assert flux.unexpected(shapes, flux.detect(shapes)) == ["scaled_fp8"]


def test_with_a_prefix_the_other_models_of_a_checkpoint_are_left_out() -> None:
    for prefix in ("model.diffusion_model.", "model."):
        names = [f"{prefix}img_in.bias", "first_stage_model.decoder.conv_in.bias"]
        assert flux.reference_names(names) == {"img_in.bias": names[0]}
    assert flux.reference_names(["img_in.bias"]) == {"img_in.bias": "img_in.bias"}


def test_the_layout_is_told_from_the_blocks_names() -> None:
    assert flux.layout(flux.tensor_shapes(SMALL)) is Layout.REFERENCE
    assert flux.layout(flux.diffusers_pieces(SMALL)) is Layout.DIFFUSERS
    assert flux.layout(["a", "b"]) is Layout.UNKNOWN
