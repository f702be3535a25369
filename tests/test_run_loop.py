"""A host's loop when the host comes and goes, when it is garbled, and when the disk is full too."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.client import HostClient
from bridge.errors import HostUnreachable
from bridge.listener import Reconnected
from core.host_process import HostProcessError
from core.host_source import HostAddress
from core.job import State
from core.journal import Journal, JournalError
from tests.bench import QUICK, Bench
from tests.fake_host import FakeHost, serving
from tests.fault_host import routes
from tests.fault_host.run import Run
from tests.fault_host.wire import Answer

Eventually = Callable[..., None]


@pytest.fixture
def hosts() -> Iterator[list[FakeHost]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(2)]


def test_a_full_disk_while_jobs_are_moved_ends_no_director(
    tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, full, is_gone = Journal.requeue, [3], threading.Event()

    def requeue(journal: Journal, job: str) -> bool:
        if full[0] and is_gone.is_set():
            full[0] -= 1
            raise JournalError("disk full")
        return real(journal, job)

    monkeypatch.setattr(Journal, "requeue", requeue)
    with serving() as staying:
        with serving() as dying:
            bench = Bench(tmp_path, dying, staying)
            dying.paused = True
            bench.add(6)
            bench.start()
            eventually(lambda: dying.pending)
        is_gone.set()
        eventually(bench.all_ended, 30)
        assert full == [0]
        bench.check_all_made_once(6)
        bench.close()


def test_jobs_leave_a_host_that_is_back_only_for_moments(
    tmp_path: Path, hosts: list[FakeHost], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, well = hosts
    broken.paused = True
    bench = Bench(tmp_path, broken, well)
    bench.add(6)
    bench.start()
    eventually(lambda: broken.pending)
    real = routes.answer

    def garbled(host: FakeHost, request: Any) -> Any:
        if host is broken and request.path in ("/queue", "/prompt"):
            return Answer(200, b"<html>")
        return real(host, request)

    monkeypatch.setattr("tests.fault_host.routes.answer", garbled)
    eventually(bench.all_ended, 30)
    bench.check_all_made_once(6)
    bench.close()


def test_the_same_trouble_with_a_host_is_told_once(
    tmp_path: Path,
    hosts: list[FakeHost],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = []
    real = routes.answer

    def garbled(host: FakeHost, request: Any) -> Any:
        if request.path == "/queue":
            asked.append(1)
            return Answer(200, b"[" * 100_000)
        return real(host, request)

    monkeypatch.setattr("tests.fault_host.routes.answer", garbled)
    bench = Bench(tmp_path, hosts[0])
    bench.start()
    with caplog.at_level(logging.WARNING):
        eventually(lambda: len(asked) > 3, 20)
    bench.close()
    assert len([1 for record in caplog.records if "looking for the host" in record.message]) == 1


def test_an_embedded_host_that_does_not_start_again_is_tried_again(
    tmp_path: Path, hosts: list[FakeHost], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, hosts[0])
    (loop,) = bench.fleet._loops
    troubles: list[Exception] = [OSError(28, "No space left on device"), HostProcessError("died")]
    real = loop._source.find

    def find(unet: str) -> tuple[HostAddress | None, str]:
        if hosts[0].rendered and troubles:
            raise troubles.pop()
        return real(unet)

    monkeypatch.setattr(loop._source, "find", find)
    bench.add(1)
    bench.start()
    eventually(bench.all_ended)
    loop._leaving.set()
    loop.wake()
    eventually(lambda: not troubles)
    bench.add(1, "d")
    eventually(bench.all_ended)
    bench.close()


def test_an_embedded_host_that_never_started_ends_the_run_with_its_words(
    tmp_path: Path, hosts: list[FakeHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, hosts[0])
    (loop,) = bench.fleet._loops

    def find(unet: str) -> tuple[HostAddress | None, str]:
        raise HostProcessError("died")

    monkeypatch.setattr(loop._source, "find", find)
    with pytest.raises(HostProcessError):
        loop.run()
    bench.journal.close()


@pytest.mark.parametrize("left", [object(), None])
def test_a_history_entry_that_nobody_can_read_fails_its_job_and_no_other(
    tmp_path: Path,
    hosts: list[FakeHost],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    left: object,
) -> None:
    real = Run._history

    def history(run: Run, verdict: str) -> Any:
        entry = real(run, verdict)
        return {**entry, "status": left} if run._entry.id == ids[0] else entry

    monkeypatch.setattr(Run, "_history", history)
    bench = Bench(tmp_path, hosts[0])
    ids = bench.add(3)
    bench.start()
    eventually(bench.all_ended, 30)
    states = [job.state for job in bench.journal.of_claim("c")]
    assert states == [State.FAILED, State.DONE, State.DONE]
    assert "tried 2 times" in bench.journal.job(ids[0]).error
    bench.close()


def test_a_lost_host_is_looked_for_before_all_its_pictures_were_asked_for_in_vain(
    tmp_path: Path, hosts: list[FakeHost], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def slow(*_: object) -> bool:
        asked.append(1)
        time.sleep(0.3)
        raise OSError("no answer")

    def lose(client: HostClient) -> Any:
        raise HostUnreachable(client.url, "gone")

    bench = Bench(tmp_path, hosts[0], patience=replace(QUICK, silence=60.0))
    monkeypatch.setattr(bench.tools.filing, "file", slow)
    bench.add(40)
    bench.start()
    eventually(lambda: len(hosts[0].rendered) == 40)
    (loop,) = bench.fleet._loops
    hosts[0].paused = True
    bench.add(1, "next")
    eventually(lambda: hosts[0].pending)
    since = time.monotonic()
    monkeypatch.setattr(HostClient, "queue", lose)
    loop.tell(Reconnected())
    eventually(lambda: not loop.at_work)
    assert time.monotonic() - since < 2.0
    monkeypatch.undo()
    hosts[0].paused = False
    eventually(bench.all_ended, 30)
    bench.close()
