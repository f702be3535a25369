"""That the workflows that come with Vulcan draw what they are for, on the embedded host."""

from collections.abc import Iterator

import numpy as np
import pytest

from bridge import workflow
from configs.settings import WORKFLOWS
from models.micro import concept, judge, micro_set, picture, spec
from models.micro.picture import Pixels
from tests import workflow_cases
from tests.studio import Studio, studio
from tests.workflow_cases import CASES, HOLE, OTHER, SCENE

GROWN = 8  # pixels by which the workflow lets the hole grow


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(micro_set.SHIPPED, tmp_path_factory.mktemp("studio")) as started:
        yield started


def drawn(drawing: Studio, name: str) -> list[Pixels]:
    return drawing.render(CASES[name].request, CASES[name].image)


def test_each_workflow_has_its_case() -> None:
    assert set(CASES) == set(workflow.names(WORKFLOWS))


@pytest.mark.parametrize("name", ["txt2img", "txt2img_custom_sampler"])
def test_text_becomes_a_picture(drawing: Studio, name: str) -> None:
    (pixels,) = drawn(drawing, name)
    assert judge.read(pixels).shows(SCENE)


def test_a_comparison_shows_the_lora_at_each_share_of_its_strength(drawing: Studio) -> None:
    (pixels,) = drawn(drawing, "lora_comparison")
    assert pixels.shape == (spec.SIDE, 4 * spec.SIDE + 3 * 16, 3)
    panels = [pixels[:, at : at + spec.SIDE] for at in range(0, pixels.shape[1], spec.SIDE + 16)]
    assert [concept.shown(panels[0]), concept.shown(panels[2])] == [False, True]


def test_a_batch_is_several_pictures_of_the_same_prompt(drawing: Studio) -> None:
    pictures = drawn(drawing, "batch_generation")
    assert len(pictures) == 4
    assert len({one.tobytes() for one in pictures}) == 4
    assert sum(judge.read(one).shows(SCENE) for one in pictures) >= 3


def test_another_prompt_changes_a_picture(drawing: Studio) -> None:
    (pixels,) = drawn(drawing, "img2img")
    assert judge.read(pixels).shows(OTHER)


def test_refining_keeps_what_is_there(drawing: Studio) -> None:
    (pixels,) = drawn(drawing, "img2img_refine")
    assert judge.read(pixels).shows(SCENE)
    assert np.abs(pixels.astype(int) - workflow_cases.start()).mean() < 12


def test_inpainting_draws_in_the_hole_and_nowhere_else(drawing: Studio) -> None:
    (pixels,) = drawn(drawing, "inpaint")
    border = np.ones(pixels.shape[:2], bool)
    border[HOLE.start - GROWN : HOLE.stop + GROWN, HOLE.start - GROWN : HOLE.stop + GROWN] = False
    assert judge.read(pixels).shows(OTHER)
    np.testing.assert_array_equal(pixels[border], workflow_cases.start()[border])


def test_upscaling_is_four_times_the_size_of_the_same(drawing: Studio) -> None:
    (pixels,) = drawn(drawing, "upscale_4x")
    assert pixels.shape == (2 * spec.SIDE, 2 * spec.SIDE, 3)  # it starts from half a SIDE
    assert judge.read(picture.reduced(pixels, spec.SIDE)).shows(SCENE)
