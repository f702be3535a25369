"""Trainings in the journal's database: beside a director, and in databases of earlier versions."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.journal import Journal
from core.journal_file import JournalError
from core.records import Records
from core.training_record import PHASES, Phase, State, Where
from core.training_table import Trainings
from tests.journal_kit import enter, take
from tests.sample_request import REQUEST
from tests.train_kit import training

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_of_an_earlier_version_takes_trainings_and_keeps_its_jobs(
    tmp_path: Path, version: int
) -> None:
    shutil.copy(DATA / f"journal-v{version}.sqlite", tmp_path / "journal.sqlite")
    table = Trainings(tmp_path, lambda: 1.0)
    table.add(training(tmp_path / "run"))
    table.close()
    journal = Journal(tmp_path, lambda: 2.0)
    assert len(journal.all()) == 2
    assert take(journal) is not None
    journal.close()


def test_many_who_bring_a_journal_up_to_date_at_once_do_it_once(tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(DATA / "journal-v2.sqlite", folder / "journal.sqlite")
        start = threading.Barrier(4)

        def open_it(folder: Path = folder, start: threading.Barrier = start) -> None:
            start.wait()
            Trainings(folder, lambda: 1.0).close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: open_it(), range(4)))


def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    table = Trainings(tmp_path, lambda: 1.0)
    table._db.execute("PRAGMA user_version = 99")
    table.close()
    with pytest.raises(JournalError, match="newer Vulcan"):
        Trainings(tmp_path, lambda: 1.0)


def test_what_was_written_is_read_by_name_and_by_id(tmp_path: Path) -> None:
    table = Trainings(tmp_path, lambda: 5.0)
    first = training(tmp_path / "a", slug="vulcan-ohwx", place=Where.KAGGLE)
    newer = training(tmp_path / "b", id="0000beef", created=2.0)
    table.add(first)
    table.add(newer)
    assert table.get(first.id) == first
    assert table.named("ohwx") == newer
    assert table.named(first.id) == first
    assert table.named("nobody") is None
    assert table.all() == [first, newer]
    table.moved(first.id, phase=Phase.RUNNING, version=3)
    assert (table.get(first.id).phase, table.get(first.id).version) == (Phase.RUNNING, 3)
    assert table.get(first.id).moved == 5.0
    table.end(first.id, State.FAILED, "why")
    assert (table.get(first.id).state, table.get(first.id).told) == (State.FAILED, "why")
    assert table.get(first.id).ended == 5.0
    assert table.get(newer.id) == newer
    table.close()


def test_every_phase_is_followed_by_the_next_of_its_place(tmp_path: Path) -> None:
    for place, phases in PHASES.items():
        row = training(tmp_path, place=place, phase=phases[0])
        for phase in phases[1:]:
            assert row.next_phase is phase
            row = training(tmp_path, place=place, phase=phase)
        assert row.next_phase is None


def test_a_director_and_a_worker_write_at_the_same_time_and_lose_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, lambda: 1.0)
    enter(journal, [REQUEST] * 60)
    table = Trainings(tmp_path, lambda: 1.0)
    row = training(tmp_path / "run")
    table.add(row)
    table.close()

    def train() -> None:
        own = Trainings(tmp_path, lambda: 1.0)
        for version in range(1, 151):
            own.note(row.id, version=version)
        own.close()

    def draw() -> None:
        while job := take(journal):
            journal.rendered(job.id, [])
            journal.done(job.id)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(train), pool.submit(draw)]:
            done.result()
    table = Trainings(tmp_path, lambda: 1.0)
    assert table.get(row.id).version == 150
    table.close()
    journal.close()
    records = Records.beside(tmp_path)
    assert {str(job.state) for job in records.all()} == {"done"}
    records.close()
