"""The engine: what it keeps, frees and loads again; its answers to what does not fit."""

from pathlib import Path

import pytest
import torch

from host.engine import Engine
from host.errors import RenderError
from host.values import Clip, Conditioning, Latent, Model, ModelFile, Vae
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
        self, model: Model | None = None, *, cfg: float = 1.0, previews: bool = False
    ) -> Latent:
        prompt = self.engine.encode(self.clip, "a red circle")
        steps = self.engine.sample(
            model or self.model,
            prompt,
            self.engine.zero_out(prompt),
            self.engine.empty_latent(32, 32, 1),
            seed=1,
            steps=2,
            cfg=cfg,
            scheduler="simple",
            denoise=1.0,
            previews=previews,
        )
        return list(steps)[-1].latent


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


def test_no_denoising_yields_nothing_and_a_given_latent_counts(loaded: Loaded) -> None:
    prompt = loaded.engine.encode(loaded.clip, "x")
    given = loaded.latent()

    def ends(denoise: float, latent: Latent) -> list[torch.Tensor]:
        steps = loaded.engine.sample(
            loaded.model,
            prompt,
            prompt,
            latent,
            seed=1,
            steps=2,
            cfg=1.0,
            scheduler="simple",
            denoise=denoise,
            previews=False,
        )
        return [step.latent.samples for step in steps]

    assert ends(0.0, given) == []
    empty = loaded.engine.empty_latent(32, 32, 1)
    little = ends(0.1, given)[-1]
    assert not torch.allclose(little, ends(0.1, empty)[-1])
    assert (little - given.samples).abs().mean() < (
        ends(1.0, given)[-1] - given.samples
    ).abs().mean()


def test_text_encoders_of_another_width_are_a_sentence(loaded: Loaded) -> None:
    narrow = Conditioning(torch.zeros(1, 4, 64), torch.zeros(1, 64))
    steps = loaded.engine.sample(
        loaded.model,
        narrow,
        narrow,
        loaded.engine.empty_latent(32, 32, 1),
        seed=1,
        steps=1,
        cfg=1.0,
        scheduler="simple",
        denoise=1.0,
        previews=False,
    )
    with pytest.raises(RenderError, match="do not fit"):
        next(steps)


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
