"""The pairs that a director draws with, with real files and a real journal."""

from dataclasses import replace
from pathlib import Path

import pytest

from bridge import workflow
from bridge.errors import WorkflowError
from bridge.request import LoraChoice, Request
from configs.settings import WORKFLOWS, Settings
from core import prompt_file, rerun, resolve
from core.a1111 import Place
from core.comparison import Verdict
from core.original import Original
from core.pair_files import Wanted
from core.pair_making import PairMaker, wanted_again
from core.pairs import Pairs
from core.provenance import Provenance
from core.record import Record
from core.resolve import Paired, Usual
from core.wish import PromptError
from models import store
from models.errors import ModelError
from models.pair_shelf import PairShelf
from tests import doctor_site, model_files, random_lora
from tests.model_files import TINY
from tests.test_pair_making import other_weights

USUAL = Usual("txt2img", 64, 64, 2, 3.5, 1.0, 2.0)


def silent(_what: str, _share: float) -> None:
    """Report to nobody."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    models = doctor_site.make_models(tmp_path)
    metadata = {"trigger_words": "zap"}
    model_files.write(models / "loras" / "word.safetensors", random_lora.weights(TINY), metadata)
    return doctor_site.settings(tmp_path, host={"models": str(tmp_path / "comfy")})


@pytest.fixture
def comfy(tmp_path: Path) -> Path:
    (tmp_path / "comfy" / "loras").mkdir(parents=True)
    return tmp_path / "comfy"


@pytest.fixture
def alone(settings: Settings) -> Settings:
    """Settings without a host's folder."""
    return settings.model_copy(update={"host": settings.host.model_copy(update={"models": None})})


def make(settings: Settings, name: str, *loras: tuple[str, float]) -> None:
    targets = (settings.host.models,) if settings.host.models else ()
    PairMaker(settings, silent).make(Wanted(name, loras=loras, targets=targets))


def requests(settings: Settings, text: str, name: str = "a.yaml") -> list[Request]:
    pairs = Pairs(settings, silent)
    usual = pairs.usual(lambda _: None)
    return resolve.requests(
        prompt_file.parse(name, text.encode()),
        usual.ready,
        replace(USUAL, pair=settings.pair),
        usual.find_lora,
        lambda index: index,
        find_pair=pairs.find,
    )


def test_a_prompt_file_names_its_pair_in_any_format(alone: Settings) -> None:
    make(alone, "a", ("word", 0.5), ("l", 1.5))
    for name, text in (
        ("a.yaml", "prompt: a fox\npair: a\n"),
        ("a.toml", 'prompt = "a fox"\npair = "a"\n'),
        ("a.json", '{"prompt": "a fox", "pair": "a"}'),
        ("a.md", "---\npair: a\n---\na fox\n"),
    ):
        (request,) = requests(alone, text, name)
        assert request.pair == "a"
        assert request.prompt == "zap, a fox"
        assert request.loras == (
            LoraChoice("word.safetensors", 0.5),
            LoraChoice("l.safetensors", 1.5),
        )


def test_a_wish_of_its_own_comes_before_the_pairs_loras(alone: Settings) -> None:
    make(alone, "a", ("word", 0.5))
    (request,) = requests(alone, "prompt: a fox\npair: a\nlora: [l, {name: word, strength: 2}]\n")
    assert [(lora.file, lora.strength) for lora in request.loras] == [
        ("l.safetensors", 1.0),
        ("word.safetensors", 2.0),
    ]
    (none,) = requests(alone, "prompt: a fox\npair: a\nlora: none\n")
    assert (none.loras, none.prompt) == ((), "a fox")


def test_a_grid_over_pairs_and_over_the_strength_of_all_their_loras(alone: Settings) -> None:
    make(alone, "a", ("word", 0.5), ("l", 1.5))
    make(alone, "b")
    found = requests(alone, "prompt: a fox\ngrid: {pair: [a, b]}\n")
    assert [dict(request.cell)["pair"] for request in found] == ["a", "b"]
    assert [len(request.loras) for request in found] == [2, 0]
    assert len({request.seed for request in found}) == 1
    found = requests(alone, "prompt: a\npair: a\ngrid: {lora.strength: [0.1, 0.2]}\n")
    assert [[lora.strength for lora in one.loras] for one in found] == [[0.1, 0.1], [0.2, 0.2]]


def test_an_unknown_pair_is_told_with_file_line_and_the_nearest(alone: Settings) -> None:
    make(alone, "portrait")
    with pytest.raises(PromptError, match=r"a\.yaml, line 2: pair: .*did you mean portrait"):
        requests(alone, "prompt: a fox\npair: portait\n")


def test_a_named_default_holds_unless_the_file_names_another(alone: Settings) -> None:
    make(alone, "a", ("word", 0.5))
    make(alone, "b")
    settings = alone.model_copy(update={"pair": "a"})
    found = requests(settings, "prompts: [x, {prompt: y, pair: b}]\n")
    assert [request.pair for request in found] == ["a", "b"]
    with pytest.raises(ModelError, match="there is no pair 'c'"):
        requests(alone.model_copy(update={"pair": "c"}), "prompt: x\n")


def test_a_workflow_that_cannot_take_the_pair_refuses_a_file_that_asks_for_it(
    alone: Settings,
) -> None:
    make(alone, "a")
    asked, usual = requests(alone, "prompts: [{prompt: x, pair: a}, y]\nlora: none\n")
    template = workflow.named(WORKFLOWS, "txt2img")
    for node in template.values():
        if node["class_type"] == "UnetLoaderGGUF":
            node["class_type"] = "UNETLoader"
    workflow.build(template, usual, "p")
    with pytest.raises(WorkflowError, match=r"no loader for x\.gguf of the pair a"):
        workflow.build(template, asked, "p")


def test_a_changed_file_fails_the_prompt_file_and_a_new_pair_is_taken_up(alone: Settings) -> None:
    make(alone, "a", ("word", 0.5))
    pairs = Pairs(alone, silent)
    first = pairs.find("a")
    assert pairs.find("a") is first
    other_weights(alone.folders.models / "loras" / "word.safetensors")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"changed since it was paired.*pair a --again"):
            pairs.find("a")
    PairMaker(alone, silent).make(wanted_again(PairShelf(alone.folders.models).load("a")))
    second = pairs.find("a")
    assert second.ready.loras[0].sha256 != first.ready.loras[0].sha256


def test_nothing_is_read_again_while_nothing_changed(
    alone: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(alone, "a", ("word", 0.5))
    monkeypatch.setattr(store, "sha256", lambda path: pytest.fail(f"{path} is read again"))
    Pairs(alone, silent).find("a")


def test_looking_only_reads_no_content_and_publishes_nothing(
    settings: Settings, alone: Settings, comfy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(alone, "a", ("word", 0.5))
    monkeypatch.setattr(store, "sha256", lambda path: pytest.fail(f"{path} is read"))
    (alone.state / "sha256.json").unlink()
    Pairs(settings, silent, only_look=True).find("a").find_lora("l")
    assert list(comfy.rglob("*.*")) == []


def published(comfy: Path) -> set[str]:
    return {path.name for path in comfy.rglob("*") if path.suffix in store.MODEL_SUFFIXES}


def test_a_director_publishes_a_pair_that_its_host_does_not_have(
    settings: Settings, alone: Settings, comfy: Path
) -> None:
    make(alone, "a", ("word", 0.5))
    ready = Pairs(settings, silent).find("a").ready
    assert published(comfy) == {
        ready.unet, *ready.text_encoders, ready.vae, *(lora.file for lora in ready.loras)
    }  # fmt: skip
    assert ready.unet == f"x-{ready.unet_sha256[:8]}.gguf"
    (comfy / "loras" / ready.loras[0].file).unlink()
    assert Pairs(settings, silent).find("a").ready == ready
    assert ready.loras[0].file in published(comfy)


def test_what_the_settings_say_is_published_too_and_so_are_loras_that_prompts_name(
    settings: Settings, comfy: Path
) -> None:
    first, second = requests(settings, "prompts: [x, {prompt: y, lora: word}]\n")
    assert {first.unet, first.vae, first.loras[0].file, second.loras[0].file} <= published(comfy)
    assert second.loras[0].file.startswith("word-")
    assert first.pair == ""
    loras = Path("loras") / second.loras[0].file
    gone = PairMaker(settings, silent).prune()
    assert set(gone) == {settings.folders.models / loras, comfy / loras}
    assert {first.unet, first.loras[0].file} <= published(comfy)
    assert second.loras[0].file not in published(comfy)


def test_a_job_of_an_old_version_is_recorded_with_what_it_was_drawn_with(
    alone: Settings, comfy: Path, settings: Settings
) -> None:
    make(settings, "a", ("word", 0.5))
    pairs = Pairs(settings, silent)
    (old,) = requests(settings, "prompt: x\npair: a\n")
    before = pairs.hashes_of(old)
    assert before.loras == {old.loras[0].file: store.sha256(comfy / "loras" / old.loras[0].file)}
    assert before.unet == store.sha256(comfy / "unet" / old.unet)
    (settings.state / "journal.sqlite").unlink(missing_ok=True)
    kept = (comfy / "loras" / old.loras[0].file).read_bytes()
    other_weights(settings.folders.models / "loras" / "word.safetensors")
    PairMaker(settings, silent).make(wanted_again(PairShelf(settings.folders.models).load("a")))
    (comfy / "loras" / old.loras[0].file).write_bytes(kept)  # as an unfinished job keeps it
    assert pairs.hashes_of(old) == before


# Pictures made again


def original(request: Request, paired: Paired, pairs: Pairs) -> Original:
    made = Provenance(pairs.hashes_of(request), "", "ComfyUI 1")
    return Original(Path("x.png"), b"", Record(request, made, Place(), ""))


def test_a_picture_of_a_pair_is_asked_for_with_that_pair(alone: Settings) -> None:
    make(alone, "a", ("word", 0.5))
    (request,) = requests(alone, "prompt: x\npair: a\nseed: 3\n")
    pairs = Pairs(alone, silent)
    picture = original(request, pairs.find("a"), pairs)
    assert not [finding for finding in rerun.look(picture, alone) if finding.stops]
    name = rerun.ask(picture, alone)
    text = (alone.folders.inbox / name).read_text()
    assert '"pair": "a"' in text
    (again,) = requests(alone, text, "a.json")
    assert replace(again, asked=(), prompt="") == replace(request, asked=(), prompt="")
    other_weights(alone.folders.models / "loras" / "word.safetensors")
    stops = [finding for finding in rerun.look(picture, alone) if finding.stops]
    assert [(one.what, one.verdict) for one in stops] == [
        ("lora word.safetensors", Verdict.DIFFERS)
    ]


def test_a_picture_of_a_pair_that_is_gone_is_held_against_the_usual_one(alone: Settings) -> None:
    make(alone, "a", ("word", 0.5))
    (request,) = requests(alone, "prompt: x\npair: a\n")
    pairs = Pairs(alone, silent)
    picture = original(request, pairs.find("a"), pairs)
    PairMaker(alone, silent).remove("a")
    assert not [finding for finding in rerun.look(picture, alone) if finding.stops]
    assert '"pair"' not in (alone.folders.inbox / rerun.ask(picture, alone)).read_text()
