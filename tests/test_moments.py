"""What comes at the wrong moment: orders that cross each other, late words, a clock that is set."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.answers import ImageRef
from bridge.client import HostClient
from core import gallery, host_worker
from core.endings import Endings, Unfiled, Unread
from core.host_worker import HostWorker
from core.job import State
from tests.bench import QUICK, Bench
from tests.fake_host import FakeHost, png, serving
from tests.journal_kit import take

Eventually = Callable[..., None]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serving() as served:
        yield served


@pytest.fixture
def bench(tmp_path: Path, host: FakeHost) -> Iterator[Bench]:
    bench = Bench(tmp_path, host)
    yield bench
    bench.close()


def test_a_job_that_is_retried_right_after_it_was_cancelled_is_made(
    bench: Bench, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    real = HostWorker._withdraw

    def late(worker: HostWorker, job: str) -> None:
        if not asked.is_set():  # first the feeder has its turn, as it may between two messages
            asked.set()
            bench.actions.retry([job])
            worker._feeder.fill()
        real(worker, job)

    monkeypatch.setattr(HostWorker, "_withdraw", late)
    host.step_time, host.steps = 0.05, 10
    (job,) = bench.add(1)
    bench.start()
    eventually(lambda: host.running)
    assert bench.actions.cancel([job]).ok
    eventually(asked.is_set)
    eventually(bench.all_ended)
    bench.check_all_made_once(1)


def test_late_words_about_a_job_that_moved_leave_it_where_it_is(
    tmp_path: Path, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, host)
    with serving() as other:
        monkeypatch.setattr(bench.fleet._loops[0], "_is_anyones", lambda key: True)
        bench.add(2)
        sent, rendered = take(bench.journal, other.url), take(bench.journal, other.url)
        assert sent is not None
        assert rendered is not None
        bench.journal.rendered(rendered.id, [ImageRef("a.png", "", "output")])
        for message in (Unread(sent.id), Unfiled(rendered.id)):
            bench.fleet._loops[0].tell(message)
        bench.start()
        eventually(lambda: bench.fleet._loops[0]._inbox.empty() and host.sockets)
        time.sleep(3 * QUICK.grace)
        states = [job.state for job in bench.journal.of_claim("c")]
        assert states == [State.SENT, State.RENDERED]
    bench.close()


def test_a_picture_that_two_are_to_file_is_filed_by_one(
    bench: Bench, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add(1)
    job = take(bench.journal, host.url)
    assert job is not None
    host.files[("", "a.png")] = png(job.request.seed)
    bench.journal.rendered(job.id, [ImageRef("a.png", "", "output")])
    early = bench.journal.job(job.id)
    real = gallery.save

    def slow(*arguments: Any) -> None:
        real(*arguments)
        time.sleep(0.5)  # the picture is there, and the journal does not say so yet

    monkeypatch.setattr(gallery, "save", slow)
    inbox: queue.Queue[Any] = queue.Queue()
    with HostClient(host.url, "c") as client, ThreadPoolExecutor(2) as filers:
        facts = client.facts()
        endings = Endings(bench.tools, client, facts, filers, inbox, threading.Event())
        endings.file(bench.journal.job(job.id))
        eventually(lambda: bench.outbox.is_dir() and list(bench.outbox.glob("*.png")))
        endings.file(early)
    bench.check_all_made_once(1)
    assert inbox.get_nowait() == Unfiled(job.id)  # looked at once more, in case the first failed


def test_a_stranger_s_job_may_be_called_as_ours_begin(
    tmp_path: Path, host: FakeHost, eventually: Eventually
) -> None:
    bench = Bench(tmp_path, host)
    (job,) = bench.add(1)
    host.paused = True
    graph = {"1": {"class_type": "EmptyImage", "inputs": {}}}
    with HostClient(host.url, "stranger") as client:
        client._post("/prompt", {"prompt": graph, "prompt_id": job[:1]})
    bench.start()
    eventually(lambda: job in host.pending)
    assert job[:1] in host.pending
    host.paused = False
    eventually(bench.all_ended)
    bench.close()


def test_a_clock_that_is_set_back_an_hour_delays_nothing(
    tmp_path: Path, host: FakeHost, eventually: Eventually
) -> None:
    back = [0.0]
    bench = Bench(tmp_path, host, wall=lambda: time.time() - back[0])
    host.faults.deaf, host.step_time = True, 0.1
    bench.add(2)
    bench.start()
    eventually(lambda: host.running)
    back[0] = 3600.0
    eventually(bench.all_ended)
    bench.check_all_made_once(2)
    bench.close()


def test_a_lost_post_is_looked_for_while_other_jobs_are_loud(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.step_time, host.steps = 0.05, 10
    ids = bench.add(10)
    bench.start()
    eventually(lambda: host.rendered)
    host.faults.lose_posts = 1
    eventually(lambda: host.faults.lose_posts == 0)
    lost = host.posts[-1]
    eventually(bench.all_ended, 30)
    bench.check_all_made_once(10)
    assert host.rendered.index(lost) < ids.index(lost) + 4


def test_an_end_that_went_unheard_is_found_while_another_job_is_loud(
    tmp_path: Path, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_worker, "IDLE", 0.5)
    bench = Bench(tmp_path, host, patience=replace(QUICK, load=60.0, stall_least=60.0))
    ids = bench.add(2)
    host.step_time, host.steps = 0.05, 60
    bench.start()
    eventually(lambda: host.running == ids[:1])
    assert host.current is not None
    host.current.client = "nobody"  # its end is told to somebody else
    eventually(lambda: host.running == ids[1:])
    eventually(lambda: bench.journal.job(ids[0]).state is State.DONE)
    assert host.running == ids[1:]
    host.steps = 3
    eventually(bench.all_ended)
    bench.close()


def test_what_an_earlier_attempt_saved_before_it_was_cut_off_is_no_result(
    tmp_path: Path, host: FakeHost, eventually: Eventually
) -> None:
    bench = Bench(tmp_path, host)
    bench.add(1)
    job = take(bench.journal, host.url)
    assert job is not None
    bench.journal.requeue(job.id)
    image = {"filename": "a.png", "subfolder": "", "type": "output"}
    host.history[job.id] = {
        "prompt": [0, job.id, {}, {}, []],
        "outputs": {"9": {"images": [image]}},
        "status": {
            "status_str": "error",
            "completed": False,
            "messages": [["execution_interrupted", {"prompt_id": job.id}]],
        },
    }
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(1)
    bench.close()


def test_a_hang_without_a_socket_to_tell_of_it_keeps_no_core_busy(
    bench: Bench, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []
    real = HostWorker._look_around

    def counted(worker: HostWorker) -> None:
        rounds.append(1)
        real(worker)

    monkeypatch.setattr(HostWorker, "_look_around", counted)
    host.faults.drop_sockets, host.faults.hang = True, True
    bench.add(1)
    bench.start()
    eventually(lambda: host.running)
    time.sleep(2 * QUICK.load)
    rounds.clear()
    time.sleep(1.0)
    assert len(rounds) < 40
    host.faults.drop_sockets = host.faults.hang = False
    eventually(bench.all_ended, 20)


def test_pictures_that_cannot_be_filed_are_tried_less_and_less_often(
    bench: Bench, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_worker, "REFILE_AFTER", 0.1)
    tried: list[float] = []

    def full(*_: object) -> bool:
        tried.append(time.monotonic())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.tools.filing, "file", full)
    bench.add(1)
    bench.start()
    eventually(lambda: len(tried) == 5)
    assert tried[4] - tried[3] > 4 * (tried[1] - tried[0])
    monkeypatch.undo()
    eventually(bench.all_ended)
    bench.check_all_made_once(1)
