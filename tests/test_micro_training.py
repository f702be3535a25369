"""The micro Flux's training, with a recipe of a few steps: it runs, stops, goes on, exports."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from host import schedules
from models import flux, lora
from models.micro import micro_set, spec
from models.micro.grammar import Background, Colour, Shape, Size, Style, scenes
from tests import random_lora
from training.micro import (
    captions,
    concept_lora,
    course,
    export,
    load,
    networks,
    pictures,
    sampling,
    text_stage,
    unet_stage,
)
from training.micro.captions import caption, unknown
from training.micro.examples import prepare
from training.micro.recipe import Recipe, StageRecipe
from training.micro.sampling import Scale
from training.micro.stage import Progress, Stage
from training.randomness import generator, stream

TINY = StageRecipe(4, 4, 1e-3, 1e-3)
RECIPE = Recipe(text=TINY, vae=TINY, decoder=TINY, unet=TINY, guidance=TINY, examples=8)


def silent(_progress: Progress) -> None:
    """Tell nobody."""


class StoppedError(Exception):
    """What stands for a Ctrl-C, a power cut or the end of a session."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("training")
    course.run(RECIPE, work, "cpu", silent, fast=False)
    return work


def test_a_course_ends_with_a_whole_set_and_the_curve(trained: Path) -> None:
    files = micro_set.place(trained / "models")
    for path in (files.unet, files.clip_l, files.t5, files.vae):
        assert path.is_file()
    lines = (trained / "curve.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["unet-00004", "guidance-00004"]
    assert (trained / "unet-00004.png").is_file()


def test_a_course_that_is_stopped_goes_on_to_the_very_same_files(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.micro.stage.SAVE_EVERY", -1.0)  # after every step
    for stage in ("text", "vae", "decoder", "unet", "guidance"):
        stop_in(stage, after=2, work=tmp_path, monkeypatch=monkeypatch)
    course.run(RECIPE, tmp_path, "cpu", silent, fast=False)
    one, other = (micro_set.place(folder / "models") for folder in (trained, tmp_path))
    for first, again in list(zip(astuple(one), astuple(other), strict=True))[:4]:
        assert first.read_bytes() == again.read_bytes(), first.name


def stop_in(stage: str, after: int, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Stage._step

    def stopping(self: Stage, number: int, optimisers: list[torch.optim.Optimizer]) -> float:
        if self.name == stage and number >= after:
            raise StoppedError
        return step(self, number, optimisers)

    monkeypatch.setattr(Stage, "_step", stopping)
    with pytest.raises(StoppedError):
        course.run(RECIPE, work, "cpu", silent, fast=False)
    monkeypatch.setattr(Stage, "_step", step)


def test_a_folder_keeps_to_one_recipe(trained: Path) -> None:
    with pytest.raises(course.OtherRecipeError, match="another recipe"):
        course.run(replace(RECIPE, seed=1), trained, "cpu", silent, fast=False)


def test_another_seed_gives_another_model() -> None:
    one, same, other = (networks.make(seed) for seed in (0, 0, 1))
    weights = [made.unet.x_embedder.weight for made in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_exported_files_load_back_as_what_was_trained(tmp_path: Path) -> None:
    made = networks.make(seed=3)
    files = micro_set.place(tmp_path)
    export.write(made, Scale(0.25, 0.5), files)
    again, scale = load.load(files)
    assert scale == Scale(0.25, 0.5)
    for name in ("t5", "clip", "vae", "unet"):
        own, read = (getattr(one, name).state_dict() for one in (made, again))
        for key, value in own.items():
            assert torch.equal(value.half().float(), read[key].float()), (name, key)


def test_every_stage_lowers_its_loss() -> None:
    torch.manual_seed(0)
    recipe = replace(RECIPE, text=StageRecipe(30, 16, 2e-3))
    made = networks.make(0)
    stage = text_stage.stage(recipe, made.t5, made.clip)
    before = stage.loss(0).item()
    optimisers = stage._optimisers()
    for step in range(30):
        stage._step(step, optimisers)
    assert stage.loss(0).item() < 0.7 * before


def test_guidance_one_is_the_prompt_alone_and_more_leads_away_from_no_prompt(
    trained: Path, tmp_path: Path
) -> None:
    made, _ = load.load(micro_set.place(trained / "models"))
    torch.nn.init.normal_(made.unet.proj_out.weight, std=0.1)  # hardly trained, it is near 0
    examples = prepare(RECIPE, made, tmp_path)
    batch = unet_stage._batch(0, "x", 0, TINY, examples, "cpu")
    asked = torch.tensor([1.0, 1.0, 3.0, 3.0])
    guided = unet_stage.guided_answer(made.unet, batch, examples, asked)
    said = unet_stage.answer(made.unet, batch, torch.ones(4))
    assert torch.allclose(guided[:2], said[:2], atol=1e-4)
    assert not torch.allclose(guided[2:], said[2:], atol=1e-4)


def test_examples_are_made_once_and_lie_around_zero(trained: Path, tmp_path: Path) -> None:
    made = networks.make(0)
    first = prepare(RECIPE, made, tmp_path)
    changed = (tmp_path / "examples.safetensors").stat().st_mtime_ns
    again = prepare(RECIPE, made, tmp_path)
    assert (tmp_path / "examples.safetensors").stat().st_mtime_ns == changed
    assert torch.equal(first.latents, again.latents)
    assert abs(float(first.latents.float().mean())) < 0.05
    assert abs(float(first.latents.float().std()) - 1) < 0.05


def test_no_training_picture_shows_a_held_out_scene() -> None:
    drawn = stream(0, "test")
    shown = {pictures.random_scene(drawn) for _ in range(3000)}
    assert not any(scene.held_out for scene in shown)
    assert {scene.shape for scene in shown} == set(Shape)
    assert len(pictures.TRAINED) + sum(scene.held_out for scene in scenes()) == len(list(scenes()))


def test_a_caption_says_what_its_classes_say() -> None:
    drawn = stream(0, "captions")
    for _ in range(300):
        scene = pictures.random_scene(drawn)
        made = caption(scene, drawn)
        for kind, place in zip(captions.PARTS, made.said, strict=True):
            members = [part.value for part in kind]
            said = members[place] if place < len(members) else None
            if kind is Style and said == Style.FILLED:
                continue  # meant where nothing is said
            assert said is None or said in made.text.split() or f"{said}," in made.text, made
    assert {Colour, Background, Size} <= set(captions.PARTS)


def test_unknown_words_name_no_part_of_a_scene() -> None:
    drawn = stream(0, "words")
    meant = {part.value for kind in captions.PARTS for part in kind}
    words = {unknown(drawn) for _ in range(500)}
    assert not words & meant
    assert spec.TRIGGER_WORD in captions.MEANINGLESS
    assert len(words) > 200


def test_clips_padding_behind_the_end_changes_nothing() -> None:
    made, words = networks.make(0), text_stage.Words()
    long = "a picture of a small outlined orange triangle on brown"
    alone = text_stage.encode(made.t5, made.clip.eval(), words, ["a red circle"])[1]
    beside = text_stage.encode(made.t5, made.clip, words, ["a red circle", long])[1]
    assert torch.allclose(alone[0], beside[0], atol=1e-5)


def test_tokens_and_latents_are_two_orders_of_the_same_values() -> None:
    latents = torch.randn(2, 16, 16, 16, generator=generator(0, "x"))
    assert torch.equal(sampling.unpatchify(sampling.patchify(latents)), latents)


def test_levels_are_those_of_the_embedded_host() -> None:
    table = schedules.flux_table()
    assert np.allclose(sampling.levels(8), schedules.simple(table, 8), atol=1e-6)
    assert np.allclose(sampling.levels(20), schedules.simple(table, 20), atol=1e-6)


def test_the_optimisers_share_all_weights_and_no_weight_twice() -> None:
    unet = networks.unet()
    stage = Stage("x", TINY, {"unet": unet}, lambda _: torch.zeros(()), unet_stage.in_blocks)
    adam, muon = stage._optimisers()
    held = [id(value) for one in (adam, muon) for g in one.param_groups for value in g["params"]]
    assert sorted(held) == sorted(id(value) for value in unet.parameters())
    assert all(value.ndim == 2 for group in muon.param_groups for value in group["params"])


def test_a_checkpoint_holds_tensors_only(trained: Path) -> None:
    for path in trained.glob("*.safetensors"):
        assert load_file(path)


def test_a_concept_lora_fits_every_block_and_leaves_the_base_alone(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concept_lora, "PICTURES", 6)
    monkeypatch.setattr(concept_lora, "PRIORS", 6)
    made, scale = load.load(micro_set.place(trained / "models"))
    before = {name: value.clone() for name, value in made.unet.state_dict().items()}
    recipe = concept_lora.ConceptRecipe(stage=StageRecipe(3, 4, 0.0, 1e-3), taught=2)
    target = tmp_path / "concept.safetensors"
    for _ in concept_lora.train(made, scale, recipe, tmp_path, target):
        pass
    read = lora.read(target, spec.FLUX)
    assert lora.problems(read, flux.tensor_shapes(spec.FLUX)) == []
    assert read.trigger_words == (spec.TRIGGER_WORD,)
    assert {layer.rank for layer in read.layers} == {spec.LORA_RANK}
    assert len(read.layers) == len(random_lora.targets(spec.FLUX))
    ups = [value for name, value in load_file(target).items() if ".lora_B." in name]
    assert any(value.any() for value in ups)
    after = {
        name.replace(".base_layer", ""): value
        for name, value in made.unet.state_dict().items()
        if ".lora_" not in name
    }
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_prior_prompts_never_hold_the_trigger_word() -> None:
    drawn = stream(0, "prior")
    texts = [concept_lora.prior_text(drawn) for _ in range(500)]
    assert not any(spec.TRIGGER_WORD in text.split() for text in texts)
