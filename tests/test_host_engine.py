"""The engine: what it keeps, frees and loads again; its answers to what does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from host import schedules
from host.engine import Engine, Report
from host.errors import RenderError
from host.values import (
    Clip,
    Conditioning,
    Guider,
    Latent,
    Model,
    ModelFile,
    Noise,
    Sampler,
    Sigmas,
    Vae,
)
from models.micro.micro_set import MicroSet, lay_out


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> MicroSet:
    return lay_out(tmp_path_factory.mktemp("models"))


@pytest.fixture
def engine(micro: MicroSet) -> Engine:
    return Engine(micro.unet.parents[1], torch.device("cpu"), torch.float32)


class Loaded:
    """Everything a picture needs."""

    def __init__(self, engine: Engine, micro: MicroSet) -> None:
        self.engine = engine
        self.model: Model = engine.load_unet(ModelFile.of(micro.unet))
        files = ModelFile.of(micro.t5), ModelFile.of(micro.clip_l)
        self.clip: Clip = engine.load_clips(*files)
        self.vae: Vae = engine.load_vae(ModelFile.of(micro.vae))

    def latent(
        self,
        model: Model | None = None,
        *,
        cfg: float = 1.0,
        previews: bool = False,
        start: Latent | None = None,
        denoise: float = 1.0,
        sampler: str = "euler",
        report: Report = lambda number, total, picture: None,
    ) -> Latent:
        prompt = self.engine.encode(self.clip, "a red circle")
        model = model or self.model
        return self.engine.sample(
            Guider(model, prompt, self.engine.zero_out(prompt), cfg),
            Noise(1),
            Sampler(sampler),
            self.engine.levels(model, "simple", 2, denoise),
            start or self.engine.empty_latent(32, 32, 1),
            report=report,
            previews=previews,
        )[0]


@pytest.fixture
def loaded(engine: Engine, micro: MicroSet) -> Loaded:
    return Loaded(engine, micro)


def test_text_encoders_are_told_apart_in_either_order(loaded: Loaded, micro: MicroSet) -> None:
    assert loaded.clip == Clip(ModelFile.of(micro.clip_l), ModelFile.of(micro.t5))
    for pair in ((micro.t5, micro.t5), (micro.clip_l, micro.vae)):
        with pytest.raises(RenderError, match="not Flux's two text encoders"):
            loaded.engine.load_clips(*(ModelFile.of(path) for path in pair))


def test_what_was_freed_comes_back_by_name(loaded: Loaded, micro: MicroSet) -> None:
    model = loaded.engine.add_lora(loaded.model, ModelFile.of(micro.lora), 0.7)
    first = loaded.latent(model).samples
    plain = loaded.latent().samples
    loaded.engine.free()
    # Unet and LoRA are now loaded inside inference mode, another LoRA outside of it.
    assert torch.equal(loaded.latent(model).samples, first)
    copy = micro.lora.with_name("copy.safetensors")
    copy.write_bytes(micro.lora.read_bytes())
    both = loaded.engine.add_lora(model, ModelFile.of(copy), 0.1)
    assert not torch.equal(loaded.latent(both).samples, first)
    assert torch.equal(loaded.latent().samples, plain)
    assert not torch.equal(first, plain)


def test_a_guidance_scale_of_one_ignores_the_negative_prompt(loaded: Loaded) -> None:
    one, three = loaded.latent(cfg=1.0).samples, loaded.latent(cfg=3.0).samples
    assert not torch.equal(one, three)
    assert torch.equal(loaded.latent(cfg=1.0 + 1e-12).samples, one)


def test_previews_do_not_change_the_picture(loaded: Loaded) -> None:
    assert torch.equal(loaded.latent(previews=True).samples, loaded.latent().samples)


def test_guidance_is_part_of_the_prompt(loaded: Loaded) -> None:
    prompt = loaded.engine.encode(loaded.clip, "x")
    assert prompt.guidance is None
    assert loaded.engine.with_guidance(prompt, 2.0).guidance == 2.0
    zeros = loaded.engine.zero_out(loaded.engine.with_guidance(prompt, 2.0))
    assert zeros.guidance == 2.0
    assert not zeros.context.any()
    assert not zeros.pooled.any()


def test_no_denoising_leaves_the_latent_and_a_little_keeps_most_of_it(loaded: Loaded) -> None:
    given = loaded.latent(sampler="dpmpp_2m", cfg=3.0)
    assert loaded.latent(start=given, denoise=0.0) is given
    little = loaded.latent(start=given, denoise=0.1).samples
    assert not torch.allclose(little, loaded.latent(denoise=0.1).samples)
    much = loaded.latent(start=given).samples
    assert (little - given.samples).abs().mean() < (much - given.samples).abs().mean()


def test_a_mask_keeps_what_it_does_not_cover(loaded: Loaded) -> None:
    given = loaded.latent(sampler="dpmpp_2m")
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    masked = replace(given, noise_mask=mask)
    for sampler in ("euler", "heun", "dpmpp_2m"):
        made = loaded.latent(start=masked, sampler=sampler)
        assert torch.allclose(made.samples[..., :2], given.samples[..., :2], atol=1e-4)
        assert not torch.allclose(made.samples[..., 2:], given.samples[..., 2:], atol=1e-2)
        assert made.noise_mask is mask


def test_heun_asks_the_model_twice_and_reports_once_a_step(loaded: Loaded) -> None:
    reports: list[tuple[int, int, bool]] = []
    loaded.latent(
        sampler="heun",
        previews=True,
        report=lambda number, total, picture: reports.append((number, total, picture is not None)),
    )
    assert reports == [(1, 2, True), (2, 2, True)]


def test_a_shift_of_noise_levels_belongs_to_the_model(loaded: Loaded) -> None:
    plain = loaded.engine.levels(loaded.model, "simple", 4, 1.0)
    shifted = loaded.engine.levels(replace(loaded.model, shift=0.5), "simple", 4, 1.0)
    assert plain.levels == schedules.simple(schedules.flux_table(), 4)
    assert shifted.levels == schedules.simple(schedules.flux_table(0.5), 4)


def test_a_unet_without_guidance_is_schnell_and_has_its_levels(
    engine: Engine, micro: MicroSet
) -> None:
    tensors = load_file(micro.unet)
    schnell = micro.unet.with_name("schnell.safetensors")
    kept = {name: one for name, one in tensors.items() if not name.startswith("guidance_in")}
    assert len(kept) < len(tensors)
    save_file(kept, schnell)
    model = engine.load_unet(ModelFile.of(schnell))
    assert engine.levels(model, "simple", 4, 1.0).levels == (1.0, 0.75, 0.5, 0.25, 0.0)
    shifted = engine.levels(replace(model, shift=1.15), "simple", 4, 1.0)
    assert shifted.levels == schedules.simple(schedules.flux_table(), 4)


def test_each_text_encoder_can_have_a_text_of_its_own(loaded: Loaded) -> None:
    both = loaded.engine.encode(loaded.clip, "a red circle", "a blue square")
    for text, same in (("a red circle", "context"), ("a blue square", "pooled")):
        alone = loaded.engine.encode(loaded.clip, text)
        for part in ("context", "pooled"):
            assert torch.equal(getattr(both, part), getattr(alone, part)) == (part == same)


def test_text_encoders_of_another_width_are_a_sentence(loaded: Loaded) -> None:
    narrow = Conditioning(torch.zeros(1, 4, 64), torch.zeros(1, 64))
    with pytest.raises(RenderError, match="do not fit"):
        loaded.engine.sample(
            Guider(loaded.model, narrow),
            Noise(1),
            Sampler("euler"),
            Sigmas((1.0, 0.0)),
            loaded.engine.empty_latent(32, 32, 1),
            report=lambda number, total, picture: None,
        )


def test_a_file_that_is_replaced_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = ModelFile.of(path)
    assert ModelFile.of(path) == before
    path.write_bytes(b"22")
    assert ModelFile.of(path) != before
    path.unlink()
    assert ModelFile.of(path).stamp == ""


def test_devices_are_described(engine: Engine) -> None:
    (device,) = engine.devices()
    assert device.type in ("cpu", "cuda")
    assert device.total > 0
