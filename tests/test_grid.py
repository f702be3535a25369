import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core import axes, contact_sheet, grid, resolve
from core.job import Job, State
from core.wish import Wish
from tests.test_resolve import READY, USUAL, find


def jobs_of(*wishes: dict[str, Any], folder: Path | None = None) -> list[Job]:
    """What the director would have once all is rendered; pictures where a folder is given."""
    read = [Wish.model_validate({"prompt": "a fox", **wish}) for wish in wishes]
    for wish in read:
        axes.check(wish)
    requests = resolve.requests(read, READY, USUAL, find, draw_seed=lambda index: 1000 + index)
    return [
        Job(
            id=f"job-{index}",
            claim="000-a.yaml",
            file="a.yaml",
            batch="",
            index=index,
            name=f"2026-01-02_a_{index:03}",
            state=State.DONE,
            priority=0,
            needs="",
            request=request,
            host="",
            attempts=1,
            losses=0,
            strikes=(),
            images=(),
            paths=(_picture(folder / f"{index}.png", index),) if folder else (),
            error="",
            moved=0,
            sent=None,
            started=None,
            finished=None,
        )
        for index, request in enumerate(requests, start=1)
    ]


def colour(index: int) -> tuple[int, int, int]:
    return (index * 37 % 256, index * 59 % 256, index * 83 % 256)


def _picture(path: Path, index: int) -> Path:
    Image.new("RGB", (64, 64), colour(index)).save(path)
    return path


def test_columns_are_the_first_axis_and_rows_the_second() -> None:
    (sheet,) = grid.sheets(jobs_of({"grid": {"steps": [4, 8, 12], "seed": [1, 2]}}))
    assert sheet.columns == ("steps 4", "steps 8", "steps 12")
    assert sheet.rows == ("seed 1", "seed 2")
    assert len(sheet.boxes) == 6


def test_the_title_has_the_prompt_and_what_is_the_same_everywhere() -> None:
    (sheet,) = grid.sheets(jobs_of({"seed": 7, "grid": {"steps": [4, 8]}}))
    assert sheet.title == (
        "vulcan, a fox",
        "128 x 96, seed 7, guidance 3.5, pair.safetensors 0.8, u.gguf",
    )
    assert sheet.rows == ("",)


def test_every_picture_stands_under_its_own_labels(tmp_path: Path) -> None:
    jobs = jobs_of({"grid": {"steps": [4, 8, 12], "cfg": [1, 2]}}, folder=tmp_path)
    (sheet,) = grid.sheets(random.Random(1).sample(jobs, len(jobs)))
    for job in jobs:
        steps, cfg = (f"{axis} {value}" for axis, value in job.request.cell)
        place = sheet.rows.index(cfg) * 3 + sheet.columns.index(steps)
        assert sheet.boxes[place].picture == job.paths[0]
        assert steps == f"steps {job.request.steps}"
        assert cfg == f"cfg {job.request.cfg:g}"


def test_further_axes_and_further_grids_are_sheets_of_their_own() -> None:
    axes_ = {"steps": [1, 2], "cfg": [1, 2], "sampler": ["euler", "heun"]}
    sheets = grid.sheets(jobs_of({"grid": axes_, "count": 2}))
    assert len(sheets) == 4
    assert [sheet.title[-1] for sheet in sheets[:2]] == ["sampler euler", "sampler heun"]
    assert sheets[0].title[1] != sheets[2].title[1], "another seed"


def test_a_cell_without_picture_says_why(tmp_path: Path) -> None:
    jobs = jobs_of({"grid": {"steps": [1, 2, 3]}}, folder=tmp_path)
    jobs[1] = replace(jobs[1], state=State.FAILED, paths=())
    (sheet,) = grid.sheets([jobs[0], jobs[1]])
    assert [box.why for box in sheet.boxes] == ["", "failed"]


GRIDS = st.dictionaries(
    st.sampled_from(["steps", "seed", "cfg", "guidance", "lora.strength", "sampler"]),
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    min_size=1,
    max_size=3,
)


@given(st.lists(GRIDS, min_size=1, max_size=3), st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_grids_beside_one_another_are_told_apart(
    each: list[dict[str, list[int]]], count: int
) -> None:
    wishes: list[dict[str, Any]] = []
    for number, one in enumerate(each):
        named = {a: [f"s{v}" for v in vs] if a == "sampler" else vs for a, vs in one.items()}
        times = 1 if "seed" in one else count
        wishes.append({"prompt": f"picture {number}", "grid": named, "count": times})
    found = grid.grids(jobs_of(*wishes, {"prompt": "no grid"}))
    wanted = [wish for wish in wishes for _ in range(wish["count"])]
    assert [one.axes for one in found] == [tuple(wish["grid"]) for wish in wanted]
    for got, wish in zip(found, wanted, strict=True):
        assert {job.request.prompt for job in got.jobs.values()} == {f"vulcan, {wish['prompt']}"}
        seeds = {job.request.seed for job in got.jobs.values()}
        assert len(seeds) == len(wish["grid"].get("seed", [0]))


def test_the_same_settings_with_other_values_are_another_grid() -> None:
    first, second = {"steps": [1, 2], "cfg": [1, 2]}, {"steps": [3, 4], "cfg": [3, 4]}
    found = grid.grids(jobs_of({"seed": 1, "grid": first}, {"seed": 1, "grid": second}))
    assert [len(one.jobs) for one in found] == [4, 4]


def test_the_sheet_is_written_once_under_the_files_name(tmp_path: Path) -> None:
    jobs = jobs_of({"grid": {"steps": [1, 2], "cfg": [1, 2]}}, folder=tmp_path)
    path = grid.save(tmp_path / "outbox", jobs)
    assert path == tmp_path / "outbox" / "2026-01-02_a_grid.png"
    before = path.read_bytes()
    assert grid.save(tmp_path / "outbox", jobs) == path
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_another_files_sheet_of_the_same_name_is_kept(tmp_path: Path) -> None:
    jobs = jobs_of({"grid": {"steps": [1, 2]}}, folder=tmp_path)
    first = grid.save(tmp_path, jobs)
    later = [replace(job, claim="999-a.yaml") for job in jobs]
    second = grid.save(tmp_path, later)
    assert first != second == tmp_path / "2026-01-02_a_grid~2.png"
    assert grid.save(tmp_path, later) == second


def test_a_file_without_grids_gets_no_sheet(tmp_path: Path) -> None:
    assert grid.save(tmp_path / "outbox", jobs_of({})) is None
    assert not (tmp_path / "outbox").exists()


def test_a_picture_that_is_gone_or_no_picture_is_an_empty_box(tmp_path: Path) -> None:
    jobs = jobs_of({"grid": {"steps": [1, 2]}}, folder=tmp_path)
    jobs[0].paths[0].unlink()
    jobs[1].paths[0].write_bytes(b"RIFF, but no picture")
    assert grid.save(tmp_path, jobs)


@pytest.mark.parametrize(("columns", "rows"), [(2, 1), (20, 20), (1, 400)])
def test_colours_are_where_their_labels_are_whatever_the_size(
    tmp_path: Path, columns: int, rows: int
) -> None:
    shared = {n: _picture(tmp_path / f"{n}.png", n) for n in range(1, 8)}
    boxes = tuple(contact_sheet.Box(shared[1 + n % 7]) for n in range(columns * rows))
    labels = tuple(map(str, range(columns))), tuple(map(str, range(rows)))
    sheet = contact_sheet.Sheet(("a title",), *labels, boxes)
    drawn = Image.open(io.BytesIO(contact_sheet.draw_grids([sheet]))).convert("RGB")
    side = contact_sheet._side([sheet])
    assert drawn.width * drawn.height < 60_000_000
    step = side + contact_sheet.GAP
    for number in random.Random(2).sample(range(len(boxes)), min(20, len(boxes))):
        row, column = divmod(number, columns)
        x = contact_sheet.LABEL + contact_sheet.GAP + column * step + side // 2
        y = drawn.height - (rows - row) * step + side // 2
        assert drawn.getpixel((x, y)) == colour(1 + number % 7)
