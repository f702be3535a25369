"""The commands on the queue, without a director and beside one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core import arguments, commands
from core.job import State
from core.journal import Journal, JournalError
from core.records import Records
from tests.journal_kit import enter, take
from tests.sample_request import REQUEST

Eventually = Callable[..., None]
DIRECTOR = Path(__file__).resolve().parents[1] / "core" / "director.py"


def main(argv: list[str]) -> int:
    """Run a command in this process; expected errors come as they are raised."""
    chosen = arguments.parse(argv)
    return commands.COMMANDS[chosen.command](chosen)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a job that failed, one that is done and one that waits."""
    folder = tmp_path / "state"
    monkeypatch.setenv("VULCAN_STATE", str(folder))
    monkeypatch.setenv("VULCAN_FOLDERS__INBOX", str(tmp_path / "inbox"))
    journal = Journal(folder, time.time)
    enter(journal, [REQUEST] * 3)
    failed, done = take(journal), take(journal)
    assert failed
    assert done
    journal.failed(failed.id, "boom [not markup]")
    journal.rendered(done.id, [])
    journal.done(done.id)
    journal.close()
    return folder


def jobs_as_json(capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, object]]:
    assert main(["jobs", "--json", *more]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_jobs_are_listed_with_whole_short_ids(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = jobs_as_json(capsys)
    assert [job["state"] for job in listed] == ["failed", "done", "queued"]
    assert main(["jobs", "--state", "failed"]) == 0
    told = capsys.readouterr().out
    assert str(listed[0]["id"])[:8] in told
    assert "boom [not markup]" in told
    assert len(told.splitlines()) == 2


def test_status_without_a_director_says_so(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    told = capsys.readouterr().out
    assert "no director is running" in told
    assert "1 waiting, 0 on the host, 1 done, 1 failed" in told
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["director"] is None


def test_without_a_journal_the_reason_is_told_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULCAN_STATE", str(tmp_path / "none"))
    for command in ("status", "jobs"):
        with pytest.raises(JournalError, match="no director has run"):
            main([command])
    assert not (tmp_path / "none").exists()


def test_cancel_retry_pause_and_prune_work_without_a_director(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed, done, waiting = (str(job["id"]) for job in jobs_as_json(capsys))
    assert main(["cancel", waiting[:8]]) == 0
    assert main(["cancel", done[:8]]) == 1
    assert "is done already" in capsys.readouterr().err
    assert main(["retry", "failed"]) == 0
    assert main(["pause"]) == 0
    records = Records.beside(state)
    assert records.paused()
    assert {job.id: job.state for job in records.all()} == {
        failed: State.QUEUED,
        done: State.DONE,
        waiting: State.CANCELLED,
    }
    records.close()
    assert main(["resume"]) == 0
    assert main(["prune", "--days", "0"]) == 0


def test_commands_reach_a_running_director(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setenv("VULCAN_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VULCAN_FOLDERS__INBOX", str(tmp_path / "inbox"))
    monkeypatch.setenv("VULCAN_FOLDERS__MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("VULCAN_HOST__USE", "http://127.0.0.1:1")  # nobody is there

    def ask(*command: str) -> str:
        told = subprocess.run(
            [sys.executable, str(DIRECTOR), *command], capture_output=True, text=True, check=True
        )
        return told.stdout

    running = subprocess.Popen(
        [sys.executable, str(DIRECTOR)], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        eventually((tmp_path / "state" / "control.sock").exists, 30)
        ask("pause")
        (tmp_path / "inbox" / "a.txt").write_text("a fox\nan owl\n")
        eventually(lambda: len(ask("jobs", "--json").splitlines()) == 2, 60)
        first, second = (json.loads(line)["id"] for line in ask("jobs", "--json").splitlines())
        ask("cancel", first[:8], second)
        told = json.loads(ask("status", "--json"))
        assert told["director"] == running.pid
        assert (told["paused"], told["counts"]["cancelled"]) == (True, 2)
        assert "127.0.0.1:1" in told["hosts"]["http://127.0.0.1:1"]["reason"]
        eventually((tmp_path / "inbox" / "failed" / "a.txt").exists)
        ask("retry", first)
        eventually(lambda: not (tmp_path / "inbox" / "failed" / "a.txt").exists())
        assert not (tmp_path / "inbox" / "failed" / "a.txt.error.md").exists()
    finally:
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "state" / "control.sock").exists()
