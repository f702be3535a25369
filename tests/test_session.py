"""One run's threads, where what they meet is not what a whole director meets every day."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs import settings
from core import session
from core.drop_folder import CLAIMED, DropFolder
from core.journal import Journal
from core.session import Session
from core.status import Board
from tests.journal_kit import enter, take
from tests.sample_request import REQUEST

Eventually = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Session]:
    folders = {name: str(tmp_path / name) for name in ("inbox", "outbox", "models")}
    flags = {"state": str(tmp_path / "state"), "folders": folders}
    journal = Journal(tmp_path / "state", time.time)
    folder = DropFolder(tmp_path / "inbox", time.monotonic, time.time_ns)
    loaded = settings.load(flags=flags, environ={})
    yield Session(loaded, Board(), journal, folder, once=False)
    folder.close()
    journal.close()


def test_preparing_that_begins_while_the_run_ends_is_ended_too(run: Session) -> None:
    run._stop()
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], text=True
    ) as child:
        run._note_child(child)
        assert child.wait(10) != 0


def test_a_retry_while_preparing_claims_the_file_again(run: Session, tmp_path: Path) -> None:
    enter(run._journal, [REQUEST], claim="00000000000000000001-000001-fox.txt")
    job = take(run._journal)
    assert job is not None
    run._journal.failed(job.id, "boom")
    place = tmp_path / "inbox" / "failed" / "fox.txt"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("a fox\n")
    run._journal.settle(job.claim, str(place))
    assert run._answer({"do": "retry", "jobs": [job.id]})["ok"]
    assert (tmp_path / "inbox" / CLAIMED / job.claim).exists()
    assert not place.exists()


def test_a_file_that_could_not_be_settled_is_tried_again_without_a_restart(
    run: Session, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SETTLE_AFTER", 0.05)
    enter(run._journal, [REQUEST])
    job = take(run._journal)
    assert job is not None
    run._journal.failed(job.id, "boom")

    class Full:
        troubles = 3

        def settle(self, name: str) -> None:
            raise OSError(28, "No space left on device")

        def settle_all(self) -> bool:
            self.troubles -= 1
            return self.troubles <= 0

    full = Full()
    monkeypatch.setattr(run, "_intake", full)
    run._on_ended(run._journal.job(job.id))
    eventually(lambda: full.troubles == 0)
    time.sleep(0.2)
    assert full.troubles == 0
