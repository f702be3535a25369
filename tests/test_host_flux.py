"""The packed unet against FLUX.1's architecture written down once more, with explicit weights."""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from host import flux
from host.errors import RenderError
from host.flux import Prompts, Unet
from host.loras import Adapters, total_strengths
from host.packed import PackedLinear, open_weights
from host.values import ModelFile
from models.errors import ModelError
from models.flux import FluxShape, tensor_shapes
from models.micro import spec
from models.micro.micro_set import MicroSet, lay_out
from models.tensor_types import FileType
from quantize import convert
from tests import flux_reference, model_files

CPU = torch.device("cpu")
SHAPE = spec.FLUX


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> MicroSet:
    return lay_out(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def quantised(micro: MicroSet) -> Path:
    target = micro.unet.with_name("micro-Q4_K_S.gguf")
    list(convert.run(convert.plan(micro.unet, target, FileType.Q4_K_S), workers=1))
    return target


@pytest.fixture(scope="module")
def explicit(quantised: Path) -> dict[str, Tensor]:
    """The file's weights, unpacked by the gguf package."""
    weights = {}
    for tensor in gguf.GGUFReader(quantised).tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        shape = tuple(int(size) for size in reversed(tensor.shape))
        weights[tensor.name] = torch.from_numpy(np.array(values, np.float32).reshape(shape))
    return weights


def load(path: Path) -> Unet:
    return flux.load(path, dtype=torch.float32, device=CPU)


def scene(height: int = 8, width: int = 6) -> tuple[Tensor, Tensor, Prompts]:
    """A batch of two latents with their noise levels and prompts."""
    stream = torch.Generator().manual_seed(7)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=stream)

    prompts = Prompts(draw(2, 5, SHAPE.context), draw(2, SHAPE.pooled), torch.tensor([3.5, 1.0]))
    return draw(2, 16, height, width), torch.tensor([0.9, 0.3]), prompts


def expected(weights: Mapping[str, Tensor], height: int = 8, width: int = 6) -> Tensor:
    latent, sigma, prompts = scene(height, width)
    rows, columns = height // 2, width // 2
    ids = torch.zeros(5 + rows * columns, 3)
    for row in range(rows):
        for column in range(columns):
            ids[5 + row * columns + column] = torch.tensor([0, row, column])
    tokens = flux.patchify(latent)
    predicted = flux_reference.forward(
        weights, SHAPE, tokens, prompts.context, sigma, prompts.guidance, prompts.pooled, ids
    )
    return flux.unpatchify(predicted, rows, columns)


def run(unet: Unet, height: int = 8, width: int = 6) -> Tensor:
    with torch.inference_mode():
        return flux.velocity(unet, *scene(height, width))


def close(mine: Tensor, theirs: Tensor) -> bool:
    return bool((mine - theirs).abs().max() < 1e-4 * theirs.abs().max())


def test_the_packed_unet_computes_what_its_explicit_weights_would(
    quantised: Path, explicit: dict[str, Tensor]
) -> None:
    assert close(run(load(quantised)), expected(explicit))


def test_half_precision_safetensors_go_through_the_same_layers(micro: MicroSet) -> None:
    tensors = open_weights(micro.unet).tensors
    weights = {name: one.unpack(torch.float32) for name, one in tensors.items()}
    assert close(run(load(micro.unet)), expected(weights))


def test_a_prefixed_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    shape = model_files.TINY
    arrays = model_files.flux_arrays(shape)
    plain = model_files.write(tmp_path / "plain.safetensors", arrays)
    prefixed = {f"model.diffusion_model.{name}": array for name, array in arrays.items()}
    wrapped = model_files.write(tmp_path / "wrapped.safetensors", prefixed)
    assert torch.equal(run(load(plain)), run(load(wrapped)))


def test_weights_stay_packed_in_memory(quantised: Path) -> None:
    unet = load(quantised)
    held = sum(one.nbytes for one in unet.transformer.parameters())
    assert held < 1.05 * quantised.stat().st_size
    linears = [one for one in unet.transformer.modules() if isinstance(one, nn.Linear)]
    assert all(isinstance(one, PackedLinear) for one in linears)


def test_odd_sizes_are_padded_and_cut_again(quantised: Path) -> None:
    assert run(load(quantised), 5, 7).shape == (2, 16, 5, 7)


def test_a_batch_gives_what_each_picture_gives_alone(quantised: Path) -> None:
    unet = load(quantised)
    latent, sigma, prompts = scene()
    with torch.inference_mode():
        together = flux.velocity(unet, latent, sigma, prompts)
        for one in range(2):
            alone = Prompts(
                prompts.context[one : one + 1],
                prompts.pooled[one : one + 1],
                prompts.guidance[one : one + 1],
            )
            single = flux.velocity(unet, latent[one : one + 1], sigma[one : one + 1], alone)
            assert torch.allclose(together[one : one + 1], single, atol=1e-4)


def test_a_schnell_has_no_guidance(tmp_path: Path) -> None:
    from dataclasses import replace

    shape = replace(model_files.TINY, guidance=False)
    path = model_files.write(tmp_path / "s.safetensors", model_files.flux_arrays(shape))
    unet = load(path)
    assert unet.transformer.config.guidance_embeds is False
    assert torch.isfinite(run(unet)).all()


def test_what_is_no_text_to_image_flux_is_a_sentence(tmp_path: Path) -> None:
    from dataclasses import replace

    fill = replace(model_files.TINY, in_channels=384)
    path = model_files.write(tmp_path / "fill.safetensors", model_files.flux_arrays(fill))
    with pytest.raises(RenderError, match="384 channels"):
        load(path)
    arrays = model_files.flux_arrays(model_files.TINY)
    arrays.pop("img_in.weight")
    with pytest.raises(ModelError, match=r"FLUX\.1"):
        load(model_files.write(tmp_path / "part.safetensors", arrays))


# --- LoRAs ---


def lora_file(
    path: Path, layers: Mapping[str, tuple[Tensor, Tensor]], **alphas: float
) -> ModelFile:
    """Write a LoRA; keys end in the family's own way of saying down and up."""
    arrays = {}
    for key, (down, up) in layers.items():
        stem, first, second = key.split("|")
        arrays[f"{stem}{first}.weight"] = down.numpy()
        arrays[f"{stem}{second}.weight"] = up.numpy()
        if stem in alphas:
            arrays[f"{stem}.alpha"] = np.array(alphas[stem], np.float32)
    return ModelFile.of(model_files.write(path, arrays))


def pair(rows: int, width: int, seed: int, rank: int = 4) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    down = torch.randn(rank, width, generator=stream) * 0.2
    return down, torch.randn(rows, rank, generator=stream) * 0.2


KOHYA = "|.lora_down|.lora_up"
PEFT = "|.lora_A|.lora_B"


def changed(
    weights: Mapping[str, Tensor], name: str, pair: tuple[Tensor, Tensor], scale: float, start: int
) -> dict[str, Tensor]:
    """W + scale * up @ down, by hand."""
    down, up = pair
    weight = weights[name].clone()
    weight[start : start + up.shape[0]] += scale * up @ down
    return {**weights, name: weight}


CASES = {
    "kohya, fused q k v, alpha": (
        "lora_unet_double_blocks_0_img_attn_qkv" + KOHYA,
        "double_blocks.0.img_attn.qkv.weight",
        0,
        3 * SHAPE.hidden,
        2.0,
    ),
    "kohya, q k v and mlp of a single block": (
        "lora_unet_single_blocks_1_linear1" + KOHYA,
        "single_blocks.1.linear1.weight",
        0,
        3 * SHAPE.hidden + SHAPE.mlp,
        None,
    ),
    "peft, only k": (
        "transformer.transformer_blocks.0.attn.to_k" + PEFT,
        "double_blocks.0.img_attn.qkv.weight",
        SHAPE.hidden,
        SHAPE.hidden,
        None,
    ),
    "peft, the mlp of a single block": (
        "transformer.single_transformer_blocks.2.proj_mlp" + PEFT,
        "single_blocks.2.linear1.weight",
        3 * SHAPE.hidden,
        SHAPE.mlp,
        None,
    ),
    "reference, the last modulation": (
        "diffusion_model.final_layer.adaLN_modulation.1" + PEFT,
        "final_layer.adaLN_modulation.1.weight",
        0,
        2 * SHAPE.hidden,
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("strength", [1.0, -0.6])
def test_a_lora_is_w_plus_strength_times_scale_times_up_down(
    quantised: Path, explicit: dict[str, Tensor], tmp_path: Path, case: str, strength: float
) -> None:
    key, name, start, rows, alpha = CASES[case]
    layer = pair(rows, explicit[name].shape[1], seed=len(case))
    alphas = {key.split("|")[0]: alpha} if alpha else {}
    file = lora_file(tmp_path / "l.safetensors", {key: layer}, **alphas)
    unet = load(quantised)
    plain = run(unet)
    Adapters(unet, torch.float32).activate({file: strength})
    scale = strength * (alpha / 4 if alpha else 1.0)
    by_hand = expected(changed(explicit, name, layer, scale, start))
    assert close(run(unet), by_hand)
    assert not close(plain, by_hand)


def test_a_modulation_in_diffusers_order_is_turned_round(
    quantised: Path, explicit: dict[str, Tensor], tmp_path: Path
) -> None:
    down, up = pair(2 * SHAPE.hidden, SHAPE.hidden, seed=3)
    key = "transformer.norm_out.linear" + PEFT
    file = lora_file(tmp_path / "l.safetensors", {key: (down, up)})
    unet = load(quantised)
    Adapters(unet, torch.float32).activate({file: 1.0})
    turned = (down, up.roll(SHAPE.hidden, 0))
    name = "final_layer.adaLN_modulation.1.weight"
    assert close(run(unet), expected(changed(explicit, name, turned, 1.0, 0)))


def test_strength_zero_and_no_lora_are_the_untouched_model(
    quantised: Path, micro: MicroSet
) -> None:
    unet = load(quantised)
    untouched = run(unet)
    adapters = Adapters(unet, torch.float32)
    file = ModelFile.of(micro.lora)
    adapters.activate({file: 1.0})
    strong = run(unet)
    assert not torch.equal(strong, untouched)
    adapters.activate({file: 0.5})
    assert not torch.equal(run(unet), strong)
    adapters.activate(total_strengths(((file, 0.0),)))
    assert torch.equal(run(unet), untouched)
    adapters.activate({file: 1.0})
    assert torch.equal(run(unet), strong)


def test_loras_stack_and_the_same_one_adds_up(
    quantised: Path, explicit: dict[str, Tensor], tmp_path: Path
) -> None:
    name = "double_blocks.0.img_attn.qkv.weight"
    one, two = (pair(3 * SHAPE.hidden, SHAPE.hidden, seed) for seed in (1, 2))
    key = "lora_unet_double_blocks_0_img_attn_qkv" + KOHYA
    first = lora_file(tmp_path / "1.safetensors", {key: one})
    second = lora_file(tmp_path / "2.safetensors", {key: two})
    unet = load(quantised)
    stack = ((first, 0.5), (second, 1.0), (first, 0.25))
    Adapters(unet, torch.float32).activate(total_strengths(stack))
    weights = changed(explicit, name, one, 0.75, 0)
    assert close(run(unet), expected(changed(weights, name, two, 1.0, 0)))


def test_a_lora_in_two_namings_of_the_same_rows_applies_both(
    quantised: Path, explicit: dict[str, Tensor], tmp_path: Path
) -> None:
    name = "double_blocks.0.img_attn.qkv.weight"
    whole, part = pair(3 * SHAPE.hidden, SHAPE.hidden, 1), pair(SHAPE.hidden, SHAPE.hidden, 2, 3)
    layers = {
        "lora_unet_double_blocks_0_img_attn_qkv" + KOHYA: whole,
        "transformer.transformer_blocks.0.attn.to_v" + PEFT: part,
    }
    unet = load(quantised)
    file = lora_file(tmp_path / "l.safetensors", layers)
    Adapters(unet, torch.float32).activate({file: 1.0})
    weights = changed(explicit, name, whole, 1.0, 0)
    assert close(run(unet), expected(changed(weights, name, part, 1.0, 2 * SHAPE.hidden)))


def test_old_loras_make_room(quantised: Path, tmp_path: Path) -> None:
    from host.loras import MAX_ADAPTERS

    unet = load(quantised)
    untouched = run(unet)
    adapters = Adapters(unet, torch.float32)
    key = "transformer.transformer_blocks.0.attn.to_q" + PEFT
    outputs = []
    files = []
    for number in range(MAX_ADAPTERS + 2):
        layer = pair(SHAPE.hidden, SHAPE.hidden, number)
        files.append(lora_file(tmp_path / f"{number}.safetensors", {key: layer}))
        adapters.activate({files[-1]: 1.0})
        outputs.append(run(unet))
    layer_of = unet.transformer.transformer_blocks[0].attn.to_q
    assert len(layer_of.lora_A) == MAX_ADAPTERS
    adapters.activate({files[0]: 1.0})
    assert torch.equal(run(unet), outputs[0])
    adapters.activate({})
    assert torch.equal(run(unet), untouched)


def test_a_lora_with_keys_that_do_not_apply_is_refused_by_name(
    quantised: Path, tmp_path: Path
) -> None:
    layers = {
        "transformer.transformer_blocks.0.attn.to_q" + PEFT: pair(SHAPE.hidden, SHAPE.hidden, 1),
        "transformer.transformer_blocks.7.attn.to_q" + PEFT: pair(SHAPE.hidden, SHAPE.hidden, 1),
    }
    file = lora_file(tmp_path / "l.safetensors", layers)
    with pytest.raises(RenderError, match=r"transformer_blocks\.7\.attn\.to_q"):
        Adapters(load(quantised), torch.float32).load(file)
    narrow = {"transformer.transformer_blocks.0.attn.to_q" + PEFT: pair(SHAPE.hidden, 128, 1)}
    file = lora_file(tmp_path / "n.safetensors", narrow)
    with pytest.raises(RenderError, match=r"\(4, 128\)"):
        Adapters(load(quantised), torch.float32).load(file)


def test_what_applies_in_part_does_only_where_the_host_is_told_to(
    quantised: Path, tmp_path: Path
) -> None:
    layer = pair(SHAPE.hidden, SHAPE.hidden, 1)
    whole = {"transformer.transformer_blocks.0.attn.to_q" + PEFT: layer}
    more = whole | {"transformer.nowhere.to_q" + PEFT: layer, "base_model.model.x" + PEFT: layer}
    results = []
    for layers, partial in ((whole, False), (more, True)):
        unet = load(quantised)
        file = lora_file(tmp_path / f"{partial}.safetensors", layers)
        adapters = Adapters(unet, torch.float32, partial)
        adapters.activate({file: 1.0})
        results.append(run(unet))
    assert torch.equal(*results)


def test_the_reference_itself_knows_every_tensor() -> None:
    shape = FluxShape(256, 2, 1, 1, 64, 256, 256, 1024, guidance=True)
    assert set(tensor_shapes(shape)) == set(model_files.flux_arrays(shape))
