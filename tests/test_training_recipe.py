from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import recipe
from training.errors import TrainingError
from training.recipe import Preset, Recipe


@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize("micro", [False, True])
def test_every_preset_is_a_whole_recipe(preset: Preset, micro: bool) -> None:
    found = recipe.load(preset, {}, micro=micro)
    assert found.rank >= 16
    assert (max(found.resolution) == 64) is micro


@pytest.mark.parametrize("preset", list(Preset))
def test_every_value_of_a_preset_says_where_it_is_from(preset: Preset) -> None:
    text = (recipe.PRESETS / f"{preset}.toml").read_text()
    values = text.split("[training]")[1].split("[micro]")[0].strip().splitlines()
    told = {line.split(" = ")[0] for line in values if "#" in line}
    assert told >= set(Recipe.model_fields) - {"prior_share", "seed"}


def test_a_flag_goes_over_the_preset_and_is_read_as_toml() -> None:
    found = recipe.load(Preset.STYLE, {"rank": "8", "flip": "false", "resolution": "[512, 768]"})
    assert (found.rank, found.flip, found.resolution) == (8, False, (512, 768))
    assert recipe.load(Preset.STYLE, {"timesteps": "sigmoid"}).timesteps == "sigmoid"


def test_an_unknown_value_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(TrainingError, match="did you mean learning_rate"):
        recipe.load(Preset.CONCEPT, {"learn_rate": "1e-4"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("rank", "0"), ("steps", "many"), ("caption_dropout", "2"), ("resolution", "[100]")],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(TrainingError, match=name):
        recipe.load(Preset.CONCEPT, {name: value})


@given(st.dictionaries(st.sampled_from(sorted(Recipe.model_fields)), st.text(max_size=20)))
def test_whatever_a_flag_says_the_answer_is_a_recipe_or_a_sentence(given: dict[str, str]) -> None:
    with suppress(TrainingError):
        assert isinstance(recipe.load(Preset.CHARACTER, given), Recipe)
