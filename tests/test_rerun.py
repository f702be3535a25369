"""Waiting for a picture that is made again, against the real journal and drop folder's places."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.answers import ImageRef
from bridge.request import InputImage
from configs import settings as configs
from configs.settings import Settings
from core import png_text, record, rerun
from core.a1111 import Place
from core.journal import Journal
from core.original import Original
from core.provenance import Hashes, Provenance
from core.rerun import RerunError
from tests import journal_kit
from tests.fake_host import png
from tests.sample_request import REQUEST

MADE = Provenance(Hashes("aa"), "bb", "ComfyUI 1")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folders = {name: str(tmp_path / name) for name in ("inbox", "outbox", "models")}
    return configs.load(None, {"state": str(tmp_path / "state"), "folders": folders}, {})


def picture(path: Path, seed: int = 1, place: Place | None = None) -> Original:
    asked = replace(REQUEST, seed=seed)
    text = record.write(asked, MADE, place or Place())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_text.with_texts(png(seed), {"vulcan": text}))
    return Original(path, path.read_bytes(), record.read(text))


def enter(journal: Journal, file: str) -> str:
    """Enter a file's one job and return its id."""
    journal_kit.enter(journal, [REQUEST], f"1-{file}", file)
    return journal.of_claim(f"1-{file}")[0].id


def finish(settings: Settings, name: str, paths: list[Path]) -> None:
    """Stand in for a director that makes what a file asks for."""
    journal = Journal(settings.state, time.time)
    job = enter(journal, name)
    journal.take([job], "host")
    journal.rendered(job, [ImageRef("x.png", "", "output")])
    journal.intends(job, paths)
    journal.done(job)
    journal.close()
    (settings.folders.inbox / name).unlink()


def test_it_starts_a_director_where_none_runs_and_compares_what_it_made(
    settings: Settings, tmp_path: Path
) -> None:
    then = picture(tmp_path / "fox.png")
    name = rerun.ask(then, settings)
    assert name == "fox.rerun.json"
    now = picture(settings.folders.outbox / "again.png")

    def director() -> int:
        finish(settings, name, [now.path])
        return 0

    rerun.wait([name], settings, director)
    result = rerun.judge(then, name, [], settings)
    assert result.difference.identical
    assert result.path == now.path
    assert rerun.ask(then, settings) == "fox.rerun-2.json", "the journal knows the first name"


def test_it_waits_for_a_director_that_runs_and_takes_over_when_that_one_dies(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = picture(tmp_path / "fox.png")
    name = rerun.ask(then, settings)
    running = Journal(settings.state, time.time)
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            running.close()

    def director() -> int:
        assert len(waited) == 3
        finish(settings, name, [then.path])
        return 1  # another job of the inbox failed; ours did not

    monkeypatch.setattr("core.rerun.time.sleep", pause)
    rerun.wait([name], settings, director)
    assert rerun.judge(then, name, [], settings).difference.identical


def test_a_director_that_ends_without_it_is_said_and_the_file_stays(
    settings: Settings, tmp_path: Path
) -> None:
    name = rerun.ask(picture(tmp_path / "fox.png"), settings)
    with pytest.raises(RerunError, match="ended with 1"):
        rerun.wait([name], settings, lambda: 1)
    assert (settings.folders.inbox / name).is_file()


def test_a_refused_and_a_vanished_file_are_told_with_the_reason(
    settings: Settings, tmp_path: Path
) -> None:
    then = picture(tmp_path / "fox.png")
    name = rerun.ask(then, settings)
    failed = settings.folders.inbox / "failed"
    failed.mkdir()
    (settings.folders.inbox / name).rename(failed / name)
    with pytest.raises(RerunError, match="is gone"):
        rerun.judge(then, name, [], settings)
    (failed / f"{name}.error.md").write_text("# x was not used\n\nno such LoRA\n\nCorrect it.\n")
    rerun.wait([name], settings, lambda: pytest.fail("nothing is left to wait for"))
    with pytest.raises(RerunError, match=r"no such LoRA$"):
        rerun.judge(then, name, [], settings)


def test_a_failed_job_is_told_with_its_reason(settings: Settings, tmp_path: Path) -> None:
    then = picture(tmp_path / "fox.png")
    journal = Journal(settings.state, time.time)
    journal.failed(enter(journal, "a.json"), "out of memory")
    journal.close()
    with pytest.raises(RerunError, match="failed: out of memory"):
        rerun.judge(then, "a.json", [], settings)


def test_of_several_pictures_the_one_of_the_same_number_is_compared(
    settings: Settings, tmp_path: Path
) -> None:
    then = picture(tmp_path / "fox_2.png", seed=2, place=Place(2, 2))
    name = rerun.ask(then, settings)
    made = [picture(settings.folders.outbox / f"{n}.png", seed=n).path for n in (1, 2)]
    finish(settings, name, made)
    assert rerun.judge(then, name, [], settings).path == made[1]
    other = rerun.ask(then, settings)
    finish(settings, other, made[:1])
    with pytest.raises(RerunError, match="number 2"):
        rerun.judge(then, other, [], settings)


def test_an_input_picture_is_found_by_its_content_or_asked_for(
    settings: Settings, tmp_path: Path
) -> None:
    then = picture(tmp_path / "fox.png")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of b"x"
    image = InputImage("pose.png", "", digest)
    asked = replace(then.record, request=replace(REQUEST, image=image))
    with pytest.raises(RerunError, match="put that picture beside it"):
        rerun.ask(replace(then, record=asked), settings)
    (tmp_path / "pose.png").write_bytes(b"not the one")
    with pytest.raises(RerunError, match="put that picture beside it"):
        rerun.ask(replace(then, record=asked), settings)
    kept = settings.state / "input" / f"{digest}.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"x")
    rerun.ask(replace(then, record=asked), settings)
    assert (settings.folders.inbox / "fox.rerun.png").read_bytes() == b"x"


@pytest.mark.parametrize("stem", [".hidden", "x" * 250, "\u4e2d" * 80, "..."])
def test_any_name_of_a_picture_gives_one_that_the_inbox_takes(
    settings: Settings, tmp_path: Path, stem: str
) -> None:
    name = rerun.ask(picture(tmp_path / f"{stem}.png"), settings)
    assert not name.startswith(".")
    assert len(os.fsencode(name)) < 150


def test_a_workflow_that_is_not_here_is_said_before_anything_is_asked(
    settings: Settings, tmp_path: Path
) -> None:
    then = picture(tmp_path / "fox.png")
    other = replace(then.record, request=replace(REQUEST, workflow="../secret"))
    with pytest.raises(RerunError, match="secret"):
        rerun.ask(replace(then, record=other), settings)
    assert not settings.folders.inbox.exists()
