"""The prompt files that come with Vulcan: the micro Flux must understand all of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from bridge.request import Request
from core import prompt_file, resolve
from core.demo import COMPARISON, SAMPLES, WITHOUT_LORA
from core.resolve import UsableLora
from models.micro import grammar, spec
from models.micro.grammar import WORDINGS, Background, Size
from tests.test_resolve import READY, USUAL

FILES = sorted(SAMPLES.iterdir())
UNDERSTOOD = {
    scene.caption(number) for scene in grammar.scenes() for number in range(len(WORDINGS))
}
ONLY_WITH_LORA = {
    grammar.say(wording, size, "", "", spec.TRIGGER_WORD, background)
    for wording in WORDINGS
    for size in Size
    for background in Background
}


def requests(text: bytes, name: str, seed: int = 0) -> list[Request]:
    def find(name: str) -> UsableLora:
        assert f"{name}.safetensors" == spec.LORA_FILE
        return UsableLora(spec.LORA_FILE, 1.0, (), "")

    own = replace(READY, loras=())
    return resolve.requests(prompt_file.parse(name, text), own, USUAL, find, lambda n: n + seed)


@pytest.mark.parametrize("path", [*FILES, COMPARISON], ids=lambda path: path.name)
@pytest.mark.parametrize("seed", range(3))
def test_every_prompt_is_one_that_the_micro_flux_or_its_lora_was_taught(
    path: Path, seed: int
) -> None:
    for request in requests(path.read_bytes(), path.name, seed):
        assert request.prompt in UNDERSTOOD | ONLY_WITH_LORA


def test_there_is_a_sample_for_each_way_to_ask() -> None:
    wishes = {path.name: prompt_file.parse(path.name, path.read_bytes()) for path in FILES}
    assert {path.suffix for path in FILES} == {".md", ".txt", ".yaml"}
    flat = [wish for of_one in wishes.values() for wish in of_one]
    assert any(wish.count > 1 for wish in flat)
    assert any(wish.grid and "{" in wish.prompt.replace("${", "") for wish in flat)
    strengths = [
        wish.lora[0].strength if wish.lora else 0 for wish in wishes["lora-strengths.yaml"]
    ]
    assert strengths == [0, 0.5, 1.0]


def test_the_comparison_differs_in_nothing_but_the_lora() -> None:
    text = COMPARISON.read_bytes()
    usual = prompt_file.parse("a.yaml", text)
    without = prompt_file.parse("b.yaml", WITHOUT_LORA.encode() + b"\n" + text)
    assert {wish.lora for wish in usual} == {None}
    assert [wish.model_dump() | {"lora": ()} for wish in usual] == [
        wish.model_dump() for wish in without
    ]
    assert all(wish.seed is not None for wish in usual)


def test_the_comparison_has_prompts_with_the_loras_word_and_others() -> None:
    asked = {request.prompt for request in requests(COMPARISON.read_bytes(), "a.yaml")}
    assert asked & UNDERSTOOD
    assert asked & ONLY_WITH_LORA
