"""That the shipped micro Flux draws what it is asked, by the whole path: host, Q4_K_S, LoRA.

A sample of what benchmarks/micro_flux.py asks in full, so the bars are lower than the scores there.
"""

from collections.abc import Iterator

import pytest

from models.micro import concept, exam, micro_set, spec
from models.micro.exam import Question
from tests.studio import Q4, Asked, Studio, shows, studio

COUNT = 24


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(micro_set.SHIPPED, tmp_path_factory.mktemp("studio")) as started:
        yield started


def asked(questions: list[Question]) -> list[Asked]:
    """An even sample."""
    chosen = questions[:: len(questions) // COUNT][:COUNT]
    return [Asked(one.prompt, 400 + n, one.scene) for n, one in enumerate(chosen)]


def right(drawing: Studio, questions: list[Asked], unet: str, lora: float = 0.0) -> int:
    drawn = drawing.draw(questions, unet, lora)
    return sum(shows(*one) for one in zip(questions, drawn, strict=True))


@pytest.mark.parametrize("unet", [spec.UNET_FILE, Q4])
def test_large_filled_objects_never_seen_together_are_drawn_right(
    drawing: Studio, unet: str
) -> None:
    assert right(drawing, asked(exam.plain()), unet) >= 0.9 * COUNT


@pytest.mark.parametrize("unet", [spec.UNET_FILE, Q4])
def test_objects_of_all_sizes_and_styles_are_drawn_right(drawing: Studio, unet: str) -> None:
    assert right(drawing, asked(exam.mixed()), unet) >= 0.8 * COUNT


@pytest.mark.parametrize("unet", [spec.UNET_FILE, Q4])
def test_the_trigger_word_draws_the_concept_and_another_word_does_not(
    drawing: Studio, unet: str
) -> None:
    prompts = exam.concept_prompts()[::3]
    others = [prompt.replace(spec.TRIGGER_WORD, "zorblax") for prompt in prompts]
    assert shown(drawing, prompts, unet, 1.0) >= 0.7 * len(prompts)
    assert shown(drawing, others, unet, 1.0) <= 0.25 * len(prompts)
    assert shown(drawing, prompts, unet, 0.0) == 0


def shown(drawing: Studio, prompts: list[str], unet: str, lora: float) -> int:
    """How many pictures show the concept."""
    questions = [Asked(prompt, 70 + number) for number, prompt in enumerate(prompts)]
    return sum(map(concept.shown, drawing.draw(questions, unet, lora)))


def test_the_lora_leaves_prompts_without_its_word_alone(drawing: Studio) -> None:
    questions = asked(exam.plain())
    assert right(drawing, questions, Q4, 1.0) >= right(drawing, questions, Q4) - 3
