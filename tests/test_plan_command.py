import json
import re
from pathlib import Path

import pytest

from configs.settings import ROOT
from core import arguments, commands, plan_report, prompt_file
from tests.test_estimate import rendered


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULCAN_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VULCAN_FOLDERS__MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("VULCAN_FOLDERS__WILDCARDS", str(tmp_path / "wildcards"))
    monkeypatch.setenv("COLUMNS", "160")


def plan(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = commands.COMMANDS["plan"](arguments.parse(["plan", *map(str, words)]))
    told = capsys.readouterr()
    return code, told.out, told.err


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_it_shows_each_image_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(
        tmp_path,
        "a.yaml",
        "prompt: a {red|red} fox\npriority: 3\ngrid: {lora.strength: 0.5..1/2, seed: [1, 2]}\n",
    )
    before = sorted(tmp_path.rglob("*"))
    code, said, _ = plan(capsys, path)
    assert code == 0
    assert "a.yaml: 4 images, priority 3" in said
    assert "columns: lora.strength 0.5, 1; rows: seed 1, 2" in said
    assert said.count("a red fox") == 4
    assert "time     unknown: nothing was rendered with this model yet" in said
    assert "is not there yet: sizes and steps are assumed" in " ".join(said.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_it_says_that_seeds_are_drawn_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said, _ = plan(capsys, write(tmp_path, "a.txt", "a fox\n"))
    assert "drawn" in said
    assert "prompts are examples" not in said
    _, said, _ = plan(capsys, write(tmp_path, "a.txt", "a {red|blue} fox\n"))
    assert "prompts are examples" in " ".join(said.split())


def test_long_plans_are_cut_unless_all_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "a.yaml", "prompt: a fox\ncount: 50\n")
    _, said, _ = plan(capsys, path)
    assert said.count("a fox") == 20
    assert "... and 30 more" in said
    _, said, _ = plan(capsys, path, "--all")
    assert said.count("a fox") == 50


def test_the_time_comes_from_the_journals_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULCAN_MODEL__SOURCE", str(tmp_path / "x.gguf"))
    rendered(tmp_path / "state", 2.0)
    path = write(tmp_path, "a.yaml", "prompt: a\nwidth: 64\nheight: 64\nsteps: 3\ncount: 100\n")
    _, said, _ = plan(capsys, path)
    assert "about 3 min on embedded (by 1 earlier job)" in said


def test_json_is_one_object_a_file_with_all_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path, "a.yaml", "prompt: a fox\ncount: 30\nbatch: 2\nseed: 1\n")
    code, said, _ = plan(capsys, good, write(tmp_path, "b.txt", "a {b|c\n"), "--json")
    first, second = map(json.loads, said.splitlines())
    assert code == 1
    assert (first["event"], first["jobs"], first["images"]) == ("plan", 30, 60)
    assert first["requests"][2]["seed"] == 3
    assert not first["seeds_drawn_later"]
    assert (second["event"], second["line"]) == ("error", 1)


def test_a_bad_file_is_told_and_the_next_one_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [
        write(tmp_path, "a.yaml", "prompt: a __what__\n"),
        write(tmp_path, "b.yaml", "prompt: a\nworkflow: nothing\n"),
        write(tmp_path, "c.yaml", "prompt: a\nimage: nothing.png\n"),
        write(tmp_path, "d.exe", "x"),
        tmp_path / "nothing.txt",
        tmp_path,
    ]
    code, said, complaints = plan(capsys, *bad, write(tmp_path, "z.txt", "a fox\n"))
    assert code == 1
    assert "z.txt: 1 image" in said
    for told in ("wildcards, is not there", "nothing.json", "no nothing.png", "no prompt file"):
        assert told in complaints
    assert complaints.count("director: ") == len(bad)


def test_the_picture_beside_the_file_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "a.png", "pixels")
    _, said, _ = plan(capsys, write(tmp_path, "a.txt", "a fox\n"))
    assert "image a.png" in said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.25, "0.2 s"), (40, "40 s"), (720, "12 min"), (12000, "3 h 20 min")]
)
def test_times_are_written_as_people_say_them(seconds: float, said: str) -> None:
    assert plan_report.duration(seconds) == said


def _examples() -> list[tuple[str, str]]:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    section = page.split("### Prompt files")[1].split("\n### ")[0]
    return [(kind, text) for kind, text in re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)]


@pytest.mark.parametrize(("kind", "text"), [one for one in _examples() if one[0] != "sh"])
def test_every_example_of_the_readme_is_a_prompt_file(
    kind: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "wildcards"
    folder.mkdir()
    write(folder, "animals.txt", "fox\nowl\n")
    assert prompt_file.parse(f"a.{kind}", text.encode())
    write(tmp_path, "sketch.png", "")
    code, _, complaints = plan(capsys, write(tmp_path, f"a.{kind}", text))
    assert (code, complaints) == (0, "")


def test_the_readme_has_examples_of_each_kind() -> None:
    assert {"yaml", "txt"} <= {kind for kind, _ in _examples()}
