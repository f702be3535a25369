from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import axes
from core.axes import AxisError, Cell
from core.wish import Wish


def wish(grid: dict[str, Any], **more: Any) -> Wish:
    made = Wish.model_validate({"prompt": "a fox", **more, "grid": grid})
    axes.check(made)
    return made


def cells(grid: dict[str, Any], **more: Any) -> list[Cell]:
    return list(axes.cells(wish(grid, **more)))


def test_the_first_axis_runs_fastest() -> None:
    found = cells({"steps": [4, 8], "seed": [1, 2, 3]})
    assert [cell.where for cell in found] == [
        (("steps", str(steps)), ("seed", str(seed))) for seed in (1, 2, 3) for steps in (4, 8)
    ]
    assert [(cell.wish.steps, cell.wish.seed) for cell in found][:3] == [(4, 1), (8, 1), (4, 2)]


def test_without_a_grid_there_is_one_cell_which_is_the_wish() -> None:
    (cell,) = cells({})
    assert cell.where == ()
    assert cell.wish.prompt == "a fox"


VALUES: dict[str, list[Any]] = {
    "seed": [1, 2, 2**64 - 1],
    "steps": [1, 20],
    "guidance": [0, 3.5],
    "cfg": [1.5, 2],
    "width": [64, 128],
    "height": [64, 128],
    "sampler": ["euler", "dpmpp_2m"],
    "scheduler": ["simple", "beta"],
    "denoise": [0.5, 1],
    "negative": ["", "blur"],
    "workflow": ["one", "two"],
    "prompt": ["an owl", "a cat"],
    "lora": ["none", "x", {"name": "x", "strength": 0.5}],
    "slots.detail": [0.1, "much", True],
    "slots.25.steps": [1, 2],
}


@given(
    st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True),
    st.dictionaries(st.sampled_from(["steps", "seed", "guidance"]), st.integers(1, 90)),
)
def test_each_cell_differs_from_the_file_in_exactly_its_own_values(
    names: list[str], own: dict[str, Any]
) -> None:
    base = wish({}, **own, slots={"kept": 1})
    for cell in cells({name: VALUES[name] for name in names}, **own, slots={"kept": 1}):
        assert [axis for axis, _ in cell.where] == names
        wanted = {"prompt": "a fox", **own, "slots": {"kept": 1}}
        for axis, told in cell.where:
            value = next(one for one in VALUES[axis] if axes.text_of(one) == told)
            if axis.startswith("slots."):
                wanted["slots"] = {**wanted["slots"], axis.removeprefix("slots."): value}
            else:
                wanted[axis] = value
        assert cell.wish == Wish.model_validate({**wanted, "grid": ()})
        assert cell.wish.slots["kept"] == base.slots["kept"]


def test_lora_strength_sets_the_pairs_and_the_named_ones() -> None:
    assert [cell.wish.strength for cell in cells({"lora.strength": [0, 0.5]})] == [0.0, 0.5]
    both = cells({"lora.strength": [0.6, 1.0], "lora": ["x", "y"]})
    assert [(one.name, one.strength) for cell in both for one in cell.wish.lora or ()] == [
        ("x", 0.6),
        ("x", 1.0),
        ("y", 0.6),
        ("y", 1.0),
    ]


@pytest.mark.parametrize(
    ("given_", "counted"),
    [
        ("1..4", [1, 2, 3, 4]),
        ("0.4..1/4", [0.4, 0.6, 0.8, 1.0]),
        ("-1..1/3", [-1, 0, 1]),
        (["1..2", 9], [1, 2, 9]),
        ([0.5, "1..2/2"], [0.5, 1, 2]),
    ],
)
def test_ranges_are_counted_out_with_both_ends(given_: Any, counted: list[float]) -> None:
    (axis,) = wish({"lora.strength": given_}).grid
    assert list(axes.values_of(*axis)) == counted


def test_nested_tables_are_the_same_axes() -> None:
    assert wish({"lora": {"strength": [1, 2]}}).grid == (("lora.strength", (1, 2)),)


@pytest.mark.parametrize(
    ("grid", "more", "says"),
    [
        ({"stesp": [1]}, {}, "stesp: is no axis; did you mean steps?"),
        ({"qqq": [1]}, {}, "there are seed, steps"),
        ({"slots.": [1]}, {}, "is no axis"),
        ({"steps": []}, {}, "has no values"),
        ({"steps": [4, 0]}, {}, "0 cannot be a value; Input should be greater"),
        ({"width": [65]}, {}, "multiple of 16"),
        ({"seed": [1, 1.0]}, {}, "has 1 twice"),
        ({"seed": "4..1"}, {}, "is no range"),
        ({"seed": "many"}, {}, "no number and no range"),
        ({"cfg": "0.5..1"}, {}, "is no range"),
        ({"seed": "1..99999999999"}, {}, "more than 10000"),
        ({"lora.strength": [11]}, {}, "less than or equal to 10"),
        ({"lora.strength": [1]}, {"lora": "none"}, "needs a LoRA"),
        ({"seed": [1, 2]}, {"count": 2}, "same pictures again"),
        ({"var.x": ["a"]}, {}, "does not use"),
        ({"var.x": ["a"]}, {"prompt": "${x}", "expand": "off"}, "does not use"),
        ({"var.x": [1]}, {"prompt": "${x}"}, "expected a text"),
        ({"prompt": ["a", "b"]}, {"expand": "combinatorial"}, "cannot stand beside"),
        ({"slots.a": [[1]]}, {}, "is a text, a number"),
    ],
)
def test_axes_that_cannot_be_are_refused(grid: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(AxisError) as caught:
        wish(grid, **more)
    assert says in str(caught.value)
