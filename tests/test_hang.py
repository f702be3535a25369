"""Jobs that stand still, run out of memory or fail: the night goes on."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core import host_worker
from core.job import State
from tests.bench import Bench
from tests.fake_host import FakeHost, serving
from tests.sample_request import REQUEST

Eventually = Callable[..., None]
POISON = replace(REQUEST, prompt="poison")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serving() as served:
        served.faults.matching = "poison"
        yield served


@pytest.fixture
def bench(tmp_path: Path, host: FakeHost) -> Iterator[Bench]:
    bench = Bench(tmp_path, host)
    yield bench
    bench.close()


def test_a_job_that_makes_no_step_is_interrupted_and_the_night_goes_on(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.hang = True
    bench.add(1, "bad", POISON)
    bench.add(3)
    bench.start()
    eventually(bench.all_ended, 30)
    bench.check_all_made_once(3)
    (bad,) = bench.journal.of_claim("bad")
    assert bad.state is State.FAILED
    assert "no progress for" in bad.error
    assert "tried 2 times" in bad.error


def test_a_job_that_hung_once_is_made_the_second_time(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.hang = True
    bench.add(1, request=POISON)
    bench.start()
    eventually(lambda: bench.journal.of_claim("c")[0].strikes, 20)
    host.faults.hang = False
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(1)


def test_a_host_that_heeds_no_interrupt_is_shown_and_waited_for(
    bench: Bench, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_worker, "INTERRUPT_HEEDED", 0.5)
    host.faults.hang = host.faults.numb = True
    bench.add(1, "bad", POISON)
    bench.add(2)
    bench.start()

    def shown() -> bool:
        return "restart ComfyUI" in bench.board.snapshot.hosts[host.url].reason

    eventually(shown, 20)
    host.faults.hang = host.faults.numb = False
    host.forget()  # as its owner restarts it
    eventually(bench.all_ended, 30)
    assert {job.state for job in bench.journal.all()} == {State.DONE}
    assert len(list(bench.outbox.iterdir())) == 3


def test_a_deaf_socket_is_not_taken_for_a_job_that_hangs(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.steps, host.step_time = 40, 0.1  # four seconds; a standstill counts from 1.2
    host.faults.deaf = True
    bench.add(1)
    bench.start()
    eventually(bench.all_ended, 30)
    bench.check_all_made_once(1)
    assert len(host.rendered) == 1


def test_running_out_of_memory_frees_the_host_and_names_what_to_change(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.out_of_memory = True
    bench.add(1, "bad", replace(POISON, width=2048, height=2048))
    bench.start()
    eventually(bench.all_ended)
    (bad,) = bench.journal.of_claim("bad")
    assert "out of memory: make it smaller" in bad.error
    assert host.freed


def test_a_poison_job_is_tried_twice_and_stops_nobody(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.fail_nodes = True
    bench.add(2, "bad", POISON)
    bench.add(5)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(5)
    assert [job.state for job in bench.journal.of_claim("bad")] == [State.FAILED] * 2
    bad = [job.id for job in bench.journal.of_claim("bad")]
    assert sorted(host.posts.count(job) for job in bad) == [2, 2]


def test_what_failed_once_for_a_passing_reason_is_made_all_the_same(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.fail_nodes, host.step_time = True, 0.2
    bench.add(1, request=POISON)
    bench.start()
    eventually(lambda: bench.journal.of_claim("c")[0].strikes)
    host.faults.fail_nodes = False
    eventually(bench.all_ended)
    bench.check_all_made_once(1)
