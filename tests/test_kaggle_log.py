"""A run's log is lines, whatever state Kaggle keeps it in."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kaggle_kit import a_package, kaggle
from training.kaggle import cloud_run
from training.kaggle.cloud_log import log, parse
from training.kaggle.dataset_upload import upload

words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)


def kept(pieces: list[str]) -> list[dict[str, object]]:
    return [{"stream_name": "stdout", "time": 1.5, "data": piece} for piece in pieces]


@given(st.lists(words), st.data())
def test_lines_come_back_however_they_were_cut_into_pieces(
    lines: list[str], data: st.DataObject
) -> None:
    whole = "".join(f"{line}\n" for line in lines)
    ends = sorted(data.draw(st.sets(st.integers(0, len(whole)))) | {0, len(whole)})
    pieces = [whole[a:b] for a, b in itertools.pairwise(ends)]
    assert parse(json.dumps(kept(pieces))) == lines
    assert parse("\n".join(map(json.dumps, kept(pieces)))) == lines


@given(st.text())
def test_any_text_is_some_lines(text: str) -> None:
    assert all(line.strip() for line in parse(text))


def test_what_is_no_json_is_text() -> None:
    assert parse("[NbConvertApp] Converting\n\n 5 steps, done]") == [
        "[NbConvertApp] Converting",
        " 5 steps, done]",
    ]


def test_a_log_that_was_cut_short_keeps_what_is_whole() -> None:
    text = ",\n".join(map(json.dumps, kept(["one\n", "two\n", "three\n"])))
    assert parse(f"[{text[:-20]}")[:2] == ["one", "two"]


def test_of_a_progress_bar_the_last_state_is_shown() -> None:
    assert parse(json.dumps(kept(["step 1\rstep 2\r", "step 3\nend\r\n"]))) == ["step 3", "end"]


def test_a_log_is_read_while_it_runs_and_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path) as (stand_in, account):
        _, made = a_package(tmp_path)
        upload(account, made)
        cloud_run.push(account, made, resume=False, timeout_s=60)
        assert log(account, made.slug) == []
        stand_in.site.kernels[made.slug].versions[0].log += ["one\n", "two\n"]
        assert log(account, made.slug) == ["one", "two"]
        stand_in.site.finish(made.slug, log=["three\n"])
        assert log(account, made.slug) == ["one", "two", "three"]
