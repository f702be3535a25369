"""What a training is made of: names, values and where each comes from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import prompt_file, training_config, training_setup, training_sheet
from core.training_config import Origin
from core.wish import Wish
from tests.train_kit import plan
from training import recipe
from training.errors import TrainingError
from training.recipe import Preset


def test_plans_that_differ_are_told_apart_value_by_value() -> None:
    other = plan(trigger="sks", recipe=recipe.load(Preset.CHARACTER, {"rank": 8}, micro=True))
    assert training_setup.differences(plan(), plan()) == []
    assert training_setup.differences(plan(), other) == [
        "trigger was ohwx and is sks",
        "rank was 16 and is 8",
    ]


@given(st.text(max_size=80))
def test_a_name_that_is_taken_is_one_that_a_plan_can_have(name: str) -> None:
    try:
        training_setup._refuse_bad_name(name)
    except TrainingError:
        with pytest.raises(ValueError, match="name"):
            plan(name=name)
    else:
        assert plan(name=name).name == name


@given(st.lists(st.tuples(st.from_regex(r"\A[a-z_]+\Z"), st.text(max_size=9))))
def test_flags_are_read_as_names_and_values(pairs: list[tuple[str, str]]) -> None:
    read = training_setup.overrides([f"{name}={value}" for name, value in pairs])
    assert read == {name: value.strip() for name, value in pairs}


def test_every_value_says_where_it_comes_from() -> None:
    values = recipe.load(Preset.CHARACTER, {"steps": "7"}, micro=True)
    found = training_config.values(plan(recipe=values), ["steps"], is_micro=True)
    origins = {one.name: (one.told, one.origin) for one in found}
    assert set(origins) == set(recipe.Recipe.model_fields)
    assert origins["steps"] == ("7", Origin.FLAG)
    assert origins["resolution"] == ("[64]", Origin.MICRO)
    assert origins["rank"] == ("16", Origin.PRESET)
    full = training_config.values(plan(recipe=values), [], is_micro=False)
    assert {one.origin for one in full} == {Origin.PRESET}


@pytest.mark.parametrize("preset", Preset)
@pytest.mark.parametrize("is_micro", [True, False])
def test_the_sheet_s_prompt_file_is_one_and_asks_for_a_grid(preset: Preset, is_micro: bool) -> None:
    asked = training_sheet.content(plan(preset=preset, trigger="__{odd}"), is_micro=is_micro)
    (wish,) = prompt_file.parse("sheet.json", asked)
    assert isinstance(wish, Wish)
    assert wish.pair == "ohwx"
    assert [name for name, _ in wish.grid] == ["lora.strength", "prompt"]
    assert all("__{odd}" in text for _, texts in wish.grid[1:] for text in texts)
