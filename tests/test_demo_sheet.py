from dataclasses import replace
from pathlib import Path

import pytest

from bridge.request import LoraChoice
from core import demo_sheet
from core.contact_sheet import Box
from core.demo_sheet import Column
from core.job import Job, State
from tests.test_grid import jobs_of

LORA = (LoraChoice("l.safetensors", 1.0),)
COLUMNS = (
    Column("FP16", "f16.gguf", lora=False),
    Column("Q4", "q4.gguf", lora=False),
    Column("Q4 + LoRA", "q4.gguf", lora=True),
)
PROMPTS = ("a large red circle", "a small vulcan")


def rendered(column: Column, *prompts: str, seed: int = 5) -> list[Job]:
    """The jobs of one prompt file, rendered in the way of a column."""
    asked = [{"prompt": prompt, "seed": seed, "lora": "none"} for prompt in prompts]
    loras = LORA if column.lora else ()
    return [
        replace(
            job,
            paths=(Path(f"{column.label}: {job.request.prompt}, {seed}.png"),),
            request=replace(job.request, unet=column.unet, loras=loras),
        )
        for job in jobs_of(*asked)
    ]


def test_a_picture_stands_where_its_prompt_and_what_made_it_meet() -> None:
    jobs = [job for column in reversed(COLUMNS) for job in reversed(rendered(column, *PROMPTS))]
    sheet = demo_sheet.sheet(jobs, COLUMNS)
    assert sheet.columns == ("FP16", "Q4", "Q4 + LoRA")
    assert sheet.rows == ("a large red circle (seed 5)", "a small vulcan (seed 5)")
    assert [str(box.picture) for box in sheet.boxes] == [
        f"{column.label}: {prompt}, 5.png" for prompt in PROMPTS for column in COLUMNS
    ]


def test_pictures_of_different_seeds_never_share_a_row() -> None:
    jobs = rendered(COLUMNS[0], "a", seed=1) + rendered(COLUMNS[1], "a", seed=2)
    sheet = demo_sheet.sheet(jobs, COLUMNS[:2])
    assert sheet.rows == ("a (seed 1)", "a (seed 2)")
    assert [box.why for box in sheet.boxes] == ["", "not made", "not made", ""]


def test_what_was_not_made_says_why() -> None:
    (made,) = rendered(COLUMNS[0], "a")
    (refused,) = rendered(COLUMNS[1], "a")
    (stopped,) = rendered(COLUMNS[2], "a")
    refused = replace(refused, state=State.FAILED, paths=(), error="no such sampler")
    stopped = replace(stopped, state=State.CANCELLED, paths=())
    sheet = demo_sheet.sheet([made, refused, stopped], COLUMNS)
    assert sheet.boxes == (
        Box(made.paths[0]),
        Box(None, "no such sampler"),
        Box(None, "cancelled"),
    )


def test_what_belongs_in_no_column_is_left_out() -> None:
    (job,) = rendered(Column("Q8", "q8.gguf", lora=False), "a")
    sheet = demo_sheet.sheet([job], COLUMNS)
    assert sheet.boxes == (Box(None, "not made"),) * 3


def test_the_guide_tells_rows_with_the_loras_word_from_the_others() -> None:
    rows = ("a circle", "a vulcan", "vulcans", "a small vulcan")
    plain, called = demo_sheet.guide(rows, "vulcan")
    assert plain.startswith("rows 1 and 3: every column shows")
    assert called.startswith("rows 2 and 4: only the last column shows a volcano")


@pytest.mark.parametrize(
    ("called", "told"),
    [
        ([1], "row 1"),
        ([1, 2], "rows 1 and 2"),
        ([2, 3, 4], "rows 2 to 4"),
        ([1, 2, 4], "rows 1, 2 and 4"),
        ([1, 2, 3, 4], "rows 1 to 4"),
    ],
)
def test_the_guide_names_rows_as_people_do(called: list[int], told: str) -> None:
    rows = ["a vulcan" if number in called else "a star" for number in range(1, 5)]
    *_, last = demo_sheet.guide(rows, "vulcan")
    assert last.split(":")[0] == told
