"""The trainer in this process, on the micro Flux: gradients, bases, what never changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from host.packed import PackedLinear
from models import store
from models.micro.micro_set import MicroSet
from tests import training_kit
from tests.diffusers_kit import count_lora_layers
from training import adapter, encoding, export, material
from training.bases import base, frozen
from training.bases.base import Base
from training.batches import Batches
from training.dataset import picture_set
from training.errors import TrainingError
from training.ranks import Ranks
from training.recipe import Precision, Recipe, Targets
from training.run_folder import RunFolder
from training.run_plan import Assets, Backend, Plan, read_assets, read_plan
from training.trainer import Material, Trainer

CPU = torch.device("cpu")
SHORT: dict[str, Any] = {
    "steps": 4,
    "batch": 2,
    "prior_share": 0.0,
    "precision": "fp32",
    "samples": 0,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> MicroSet:
    return training_kit.models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def encoded(files: MicroSet, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose pictures are encoded."""
    folder = tmp_path_factory.mktemp("runs") / "encoded"
    pictures = training_kit.photos(folder.parent / "photos", 5)
    run = training_kit.run(folder, files, pictures, **SHORT)
    found = material.find(run, read_plan(run.plan), read_assets(run.assets), read(run))
    list(encoding.encode_captions(found.cache, list(found.captions), read_assets(run.assets), CPU))
    list(encoding.encode_pictures(found.cache, list(found.pictures), read_assets(run.assets), CPU))
    return run


def read(run: RunFolder) -> picture_set.PictureSet:
    return picture_set.read(read_assets(run.assets).pictures, read_plan(run.plan).trigger)


@pytest.fixture(autouse=True)
def plain_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # two would spin while other programs have a core
    yield
    torch.set_num_threads(before)


def trainer(
    run: RunFolder, backend: Backend = Backend.GGUF, unet: Path | None = None, **changed: object
) -> Trainer:
    plan, assets = read_plan(run.plan), read_assets(run.assets)
    recipe = Recipe(**{**plan.recipe.model_dump(), **changed})
    found = material.find(run, plan, assets, read(run))
    loaded = base.load(unet or assets.unet, backend, recipe.precision, CPU)
    adapter.put_on(loaded, recipe.rank, recipe.targets, recipe.seed)
    batches = Batches(found.pictures, recipe.batch, recipe.seed)
    return Trainer(loaded, recipe, Material(found.cache, batches, None), Ranks())


def bytes_of(loaded: Base) -> dict[str, torch.Tensor]:
    named = loaded.unet.transformer.named_parameters()
    return {name: one.detach().clone() for name, one in named if "lora_" not in name}


# --- what is trained, and what is not ---


def test_every_lora_tensor_gets_a_gradient_and_the_base_never_changes(encoded: RunFolder) -> None:
    assets = read_assets(encoded.assets)
    file = store.sha256(assets.unet)
    own = trainer(encoded)
    before = bytes_of(own.base)
    updates = own.updates()
    next(updates)
    ups = {name: one.grad for name, one in own.standing.lora.items() if "lora_B" in name}
    assert ups
    assert all(grad is not None and grad.any() for grad in ups.values())
    next(updates)  # the downs' gradients are 0 while the ups are
    assert all(one.grad is not None and one.grad.any() for one in own.standing.lora.values())
    after = bytes_of(own.base)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert store.sha256(assets.unet) == file


def test_only_the_lora_is_trained_and_in_float32(encoded: RunFolder) -> None:
    own = trainer(encoded, precision=Precision.BFLOAT16)
    trained = adapter.parameters(own.base)
    assert all("lora_" in name and one.dtype is torch.float32 for name, one in trained.items())


@pytest.mark.parametrize(("targets", "layers"), [(Targets.ALL, 27), (Targets.ATTENTION, 17)])
def test_the_lora_is_on_all_linear_layers_of_the_blocks_but_modulation(
    encoded: RunFolder, targets: Targets, layers: int
) -> None:
    own = trainer(encoded, targets=targets)
    names = {name.split(".lora_")[0] for name in own.standing.lora}
    # One double block: 8 in attention, 4 in feed-forward; three single ones: 3 and 2.
    assert len(names) == layers
    assert not [name for name in names if "norm" in name or "blocks" not in name]


def test_the_first_lora_depends_on_the_seed_alone(encoded: RunFolder) -> None:
    torch.manual_seed(1)
    first = adapter.tensors(trainer(encoded, seed=5).base)
    torch.manual_seed(2)
    second = adapter.tensors(trainer(encoded, seed=5).base)
    other = adapter.tensors(trainer(encoded, seed=6).base)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


# --- the backward pass ---


def packed_layer() -> PackedLinear:
    from host.packed import Packed

    weight = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    packed = Packed(weight.half().view(torch.uint8).view(-1), torch.float16, (32, 64))
    return PackedLinear(packed, torch.ones(32), torch.float32)


def test_a_frozen_layer_has_the_gradient_of_a_plain_one() -> None:
    results = []
    for freeze in (False, True):
        after = torch.nn.Linear(32, 8, bias=False)
        with torch.no_grad():
            after.weight.fill_(0.1)
        model = torch.nn.Sequential(packed_layer(), torch.nn.GELU(), after)
        if freeze:
            frozen.freeze(model)
        seen = torch.linspace(-1, 1, 64 * 3).view(3, 64).requires_grad_()
        model(seen).square().sum().backward()
        assert seen.grad is not None
        results.append(seen.grad)
    assert torch.equal(*results)


def test_a_frozen_layer_keeps_no_unpacked_weight_for_the_backward_pass() -> None:
    layer = packed_layer()
    kept: list[tuple[int, ...]] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    def run() -> list[tuple[int, ...]]:
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            layer(torch.ones(2, 64, requires_grad=True)).sum()
        return list(kept)

    assert any(64 in shape and 32 in shape for shape in run()), "torch's own keeps it"
    frozen.freeze(layer_holder := torch.nn.Sequential(layer))
    assert type(layer_holder[0]) is frozen.FrozenLinear
    assert not any(64 in shape and 32 in shape for shape in run())


def test_recomputing_activations_changes_no_loss(
    encoded: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [made.loss for made in trainer(encoded).updates()]
    monkeypatch.setattr(base, "SMALL", 0)
    again = trainer(encoded)
    assert again.base.unet.transformer.is_gradient_checkpointing
    assert [made.loss for made in again.updates()] == plain


def test_accumulated_batches_are_one_larger_batch(encoded: RunFolder) -> None:
    own = trainer(encoded, accumulate=2, steps=1)
    (made,) = own.updates()
    single = trainer(encoded)
    updates = single.updates()
    first = next(updates)
    # The same first LoRA sees batch 0, and, reset to it, batch 1.
    reset = trainer(encoded)
    reset.standing.step = 1
    second = next(reset.updates())
    assert made.loss == pytest.approx((first.loss + second.loss) / 2, rel=1e-5)


# --- precision and bases ---


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_half_precision_trains_to_nearly_the_same_loss(
    encoded: RunFolder, precision: Precision
) -> None:
    exact = [made.loss for made in trainer(encoded).updates()]
    half = list(trainer(encoded, precision=precision).updates())
    assert not any(made.skipped for made in half)
    assert [made.loss for made in half] == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("backend", [Backend.BF16, Backend.NF4])
def test_other_bases_are_trained_on_the_plain_file(
    encoded: RunFolder, files: MicroSet, backend: Backend
) -> None:
    own = trainer(encoded, backend, files.unet, learning_rate=3e-3, warmup=0)
    before = bytes_of(own.base)
    made = list(own.updates())
    assert all(one.norm > 0 for one in made)
    after = bytes_of(own.base)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sum("transformer_blocks" in name for name in before) > 20


def test_nf4_rounds_as_bitsandbytes_does(files: MicroSet) -> None:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    exact = base.load(files.unet, Backend.BF16, Precision.FLOAT32, CPU).unet.transformer
    packed = base.load(files.unet, Backend.NF4, Precision.FLOAT32, CPU).unet.transformer
    name = "single_transformer_blocks.0.proj_mlp"
    weight = exact.get_submodule(name).unpacked()
    expected = dequantize_4bit(*quantize_4bit(weight, quant_type="nf4", compress_statistics=True))
    layer: Any = packed.get_submodule(name)
    assert torch.equal(dequantize_4bit(layer.weight, layer.weight.quant_state), expected)
    assert not torch.equal(expected, weight)


@pytest.mark.parametrize("backend", [Backend.BF16, Backend.NF4])
def test_a_quantised_file_is_no_base_for_the_others(encoded: RunFolder, backend: Backend) -> None:
    with pytest.raises(TrainingError, match="quantised already"):
        base.load(read_assets(encoded.assets).unet, backend, Precision.FLOAT32, CPU)


def test_a_gradient_that_stays_infinite_ends_the_training_with_a_sentence(
    encoded: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = trainer(encoded, steps=100)
    first = {name: one.detach().clone() for name, one in own.standing.lora.items()}
    poison = torch.tensor(float("nan"))
    monkeypatch.setattr(
        Trainer,
        "_lesson",
        lambda _self, _own, _number: poison * sum(one.sum() for one in own.standing.lora.values()),
    )
    with pytest.raises(TrainingError, match="20 times in a row"):
        list(own.updates())
    assert all(torch.equal(first[name], one) for name, one in own.standing.lora.items())


# --- the file ---


def exported(encoded: RunFolder, tmp_path: Path, plan: Plan | None = None) -> Path:
    own = trainer(encoded)
    list(own.updates())
    path = tmp_path / "lora.safetensors"
    assets: Assets = read_assets(encoded.assets)
    made = export.write(
        path, adapter.tensors(own.base), plan or read_plan(encoded.plan), read(encoded), assets.unet
    )
    assert made.layers == 27
    assert made.sha256 == store.sha256(path)
    return path


def test_all_of_an_exported_lora_loads_in_comfyui_and_diffusers(
    encoded: RunFolder, tmp_path: Path
) -> None:
    from models import flux, lora, lora_fit
    from models.micro import spec

    path = exported(encoded, tmp_path)
    found = lora.read(path, spec.FLUX)
    fit = lora_fit.judge(found, flux.tensor_shapes(spec.FLUX))
    assert not fit.findings
    assert len(fit.applied) == len(fit.in_diffusers) == fit.total == 27
    assert count_lora_layers(path, spec.FLUX) == 27
    assert {layer.scale_in_comfyui for layer in found.layers} == {1.0}


def test_an_exported_lora_says_what_it_is(encoded: RunFolder, tmp_path: Path) -> None:
    from models import lora_hashes, lora_metadata, safetensors_file

    path = exported(encoded, tmp_path)
    metadata = safetensors_file.read_header(path).metadata
    plan = read_plan(encoded.plan)
    assert lora_metadata.trigger_words(metadata) == (plan.trigger,)
    assert not lora_metadata.goes_in_front(metadata)
    assert metadata["vulcan.base_sha256"] == store.sha256(read_assets(encoded.assets).unet)
    assert metadata["vulcan.dataset_hash"] == read(encoded).hash
    assert metadata["modelspec.architecture"] == "flux-1-dev/lora"
    assert metadata["sshs_model_hash"] == lora_hashes.of(path).tensors
    assert Recipe.model_validate_json(metadata["vulcan.config"]) == plan.recipe
    about = lora_metadata.read(metadata)
    assert (about.steps, about.images, about.base) == ("4", "5", plan.base_name)


def test_the_same_training_gives_the_same_bytes(encoded: RunFolder, tmp_path: Path) -> None:
    first = exported(encoded, tmp_path).read_bytes()
    assert exported(encoded, tmp_path).read_bytes() == first


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_what_float16_cannot_hold_is_not_exported(
    encoded: RunFolder, tmp_path: Path, value: float
) -> None:
    tensors = adapter.tensors(trainer(encoded).base)
    name = next(iter(tensors))
    tensors[name].view(-1)[3] = value
    path = tmp_path / "lora.safetensors"
    with pytest.raises(TrainingError, match="float16 cannot hold"):
        export.write(path, tensors, read_plan(encoded.plan), read(encoded), path)
    assert not path.exists()


def test_a_lora_that_changes_nothing_is_not_exported(encoded: RunFolder, tmp_path: Path) -> None:
    tensors = adapter.tensors(trainer(encoded).base)
    path = tmp_path / "lora.safetensors"
    with pytest.raises(TrainingError, match="changes nothing"):
        export.write(path, tensors, read_plan(encoded.plan), read(encoded), path)


def test_a_lora_that_would_not_all_load_is_told(encoded: RunFolder, tmp_path: Path) -> None:
    own = trainer(encoded)
    list(own.updates())
    tensors = adapter.tensors(own.base)
    tensors = {name.removeprefix("transformer."): one for name, one in tensors.items()}
    assets = read_assets(encoded.assets)
    with pytest.raises(TrainingError, match="does not fit its own base"):
        export.write(
            tmp_path / "a.safetensors", tensors, read_plan(encoded.plan), read(encoded), assets.unet
        )


def test_a_damaged_cache_is_told_by_name(encoded: RunFolder, tmp_path: Path) -> None:
    from training import latent_cache

    path = tmp_path / "caption.safetensors"
    save_file({"context": torch.ones(2)}, path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(TrainingError, match="the cache cannot be read"):
        latent_cache.read(path)
