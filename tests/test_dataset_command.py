"""`dataset validate` and `dataset prepare` as a user sees them."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from core import arguments, dataset_command
from models.errors import ModelError
from tests import captioner_kit, dataset_kit
from training.errors import TrainingError

MICRO = ("--micro", "--set", "resolution=[64]", "--set", "bucket_step=16")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def run(*words: object) -> int:
    return dataset_command.run(arguments.parse(["dataset", *map(str, words)]))


def sound(folder: Path) -> Path:
    """A set for the micro Flux, whose pictures have 64 pixels."""
    return dataset_kit.folder(folder, 13, 64, 64)


def test_a_sound_set_is_told_in_a_few_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sound(tmp_path / "set")
    assert run("validate", folder, "--name", "ohwx", "--type", "concept", *MICRO) == 0
    shown = capsys.readouterr().out
    assert "13 pictures, 13 with captions" in shown
    assert "a concept called 'ohwx'" in shown
    assert "0 errors" in shown
    assert shown.splitlines()[-1] == "page: dataset-report/ohwx.html"
    assert Path("dataset-report/ohwx.html").is_file()
    assert json.loads(Path("dataset-report/ohwx.json").read_text())["trigger"] == "ohwx"


def test_errors_give_exit_code_1_and_advice_within_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folder = sound(tmp_path / "set")
    for number in range(9):
        (folder / f"empty {number}.png").touch()
    assert run("validate", folder, "--name", "ohwx", *MICRO) == 1
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[1:])) <= 80
    shown = " ".join(" ".join(lines).split())
    assert "empty 0.png: cannot be read as a picture: it is empty" in shown
    assert "and 4 more of this kind -> Replace it" in shown


def test_json_is_one_object_with_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sound(tmp_path / "set")
    (folder / "0.txt").write_text("a long caption " * 20)
    assert run("validate", folder, "--name", "ohwx", *MICRO, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["pictures"]) == 13
    long = next(one for one in facts["warnings"] if one["code"] == "long-caption")
    assert "tokens of T5; more than 24" in long["text"], "the micro T5 counts and cuts"
    assert "about" not in long["text"]


def test_a_report_replaces_an_older_one_and_nothing_else(tmp_path: Path) -> None:
    folder, page = sound(tmp_path / "set"), tmp_path / "mine.html"
    common = ("validate", folder, "--name", "ohwx", *MICRO, "--report", page)
    assert run(*common) == run(*common) == 0
    page.write_text("mine")
    with pytest.raises(TrainingError, match="something else is there"):
        run(*common)
    assert page.read_text() == "mine"


def test_a_terminal_without_utf8_and_odd_names_break_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sound(tmp_path / "set")
    (folder / "花\n\u202e.png").touch()
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert run("validate", folder, "--name", "ohwx", *MICRO) == 1
    stream.flush()
    assert b"?\\n\\u202e.png: cannot be read" in stream.buffer.getvalue()


def test_a_copy_with_captions_of_a_captioner_is_fit_for_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sound(tmp_path / "set")
    for number in range(13):
        (folder / f"{number}.txt").unlink()
    model = captioner_kit.florence_2(tmp_path / "florence")
    words = ("--name", "ohwx", "--type", "concept", *MICRO, "--out", tmp_path / "copy")
    captioned = ("--caption", "florence-2", "--captioner", model)
    assert run("prepare", folder, *words, *captioned) == 0
    shown = capsys.readouterr().out
    assert "captions written by the captioner: 13" in shown
    assert (tmp_path / "copy" / "3.txt").read_text().startswith("ohwx, ")
    assert run("validate", tmp_path / "copy", *words[:-2]) == 0
    assert not list(folder.glob("*.txt"))


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    folder = sound(tmp_path / "set")
    with pytest.raises(TrainingError, match="cannot be written there"):
        run("prepare", folder, "--name", "ohwx", "--out", folder / "in")
    assert not Path("dataset-report").exists()


def test_the_director_tells_a_refusal_in_one_line(tmp_path: Path) -> None:
    program = Path(dataset_command.__file__).with_name("director.py")
    words = ("dataset", "validate", tmp_path / "none", "--name", "ohwx")
    done = subprocess.run(
        [sys.executable, program, *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"director: {tmp_path / 'none'}: there is no such folder.\n"


@pytest.mark.parametrize(
    "words",
    [
        ("--set", "resolution=[70]"),
        ("--set", "resolutoin=[512]"),
        ("--yunet", "none.onnx"),
        ("--t5", "none.safetensors"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path: Path, words: tuple[str, str]) -> None:
    folder = sound(tmp_path / "set")
    with pytest.raises((TrainingError, ModelError)) as caught:
        run("validate", folder, "--name", "ohwx", *words)
    assert "\n" not in str(caught.value)


def test_a_name_of_nothing_is_refused(tmp_path: Path) -> None:
    for name in ("", " ", "a\x00b"):
        with pytest.raises(SystemExit):
            run("validate", tmp_path, "--name", name)
