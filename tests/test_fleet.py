"""Several hosts and one journal: work is shared, moved, cancelled, paused; nothing is doubled."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.job import ON_HOST, State
from tests.bench import Bench
from tests.fake_host import FakeHost, serving

Eventually = Callable[..., None]


@pytest.fixture
def hosts() -> Iterator[list[FakeHost]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(2)]


@pytest.fixture
def bench(tmp_path: Path, hosts: list[FakeHost]) -> Iterator[Bench]:
    bench = Bench(tmp_path, *hosts)
    yield bench
    bench.close()


def test_two_hosts_share_the_work_and_nothing_is_made_twice(
    bench: Bench, hosts: list[FakeHost], eventually: Eventually
) -> None:
    for host in hosts:
        host.step_time = 0.01
    bench.add(30)
    bench.start()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(30)
    assert all(host.rendered for host in hosts)
    assert sum(len(host.rendered) for host in hosts) == 30


def test_a_host_that_dies_leaves_its_jobs_to_the_other(
    tmp_path: Path, eventually: Eventually
) -> None:
    with serving() as staying:
        with serving() as dying:
            bench = Bench(tmp_path, dying, staying)
            dying.paused = True
            bench.add(8)
            bench.start()
            eventually(lambda: dying.pending)
        eventually(bench.all_ended, 30)
        bench.check_all_made_once(8)
        assert len(staying.rendered) == 8
        bench.close()


def test_cancelling_a_running_job_stops_it_and_no_other(
    bench: Bench, hosts: list[FakeHost], eventually: Eventually
) -> None:
    for host in hosts:
        host.step_time, host.steps = 0.05, 10
    bench.add(6)
    bench.start()
    eventually(lambda: hosts[0].running)
    victim = hosts[0].running[0]
    assert bench.actions.cancel([victim]).ok
    eventually(bench.all_ended, 20)
    states = {job.id: job.state for job in bench.journal.all()}
    assert states.pop(victim) is State.CANCELLED
    assert set(states.values()) == {State.DONE}
    assert victim not in hosts[0].saved
    assert len(list(bench.outbox.iterdir())) == 5


def test_cancelling_a_job_that_waits_on_its_host_takes_it_out_of_the_queue(
    bench: Bench, hosts: list[FakeHost], eventually: Eventually
) -> None:
    for host in hosts:
        host.paused = True
    bench.add(4)
    bench.start()
    eventually(lambda: len(hosts[0].pending) == 2)
    victim = hosts[0].pending[1]
    assert bench.actions.cancel([victim]).ok
    eventually(lambda: victim not in hosts[0].pending)
    for host in hosts:
        host.paused = False
    eventually(bench.all_ended)
    assert victim not in hosts[0].rendered


def test_pausing_finishes_what_runs_and_takes_the_rest_back(
    bench: Bench, hosts: list[FakeHost], eventually: Eventually
) -> None:
    for host in hosts:
        host.step_time = 0.1
    bench.add(8)
    bench.start()
    eventually(lambda: all(host.running and host.pending for host in hosts))
    bench.actions.pause(free=True)
    eventually(lambda: all(host.freed for host in hosts))
    eventually(lambda: not any(bench.journal.counts()[state] for state in ON_HOST))
    counts = bench.journal.counts()
    assert counts[State.QUEUED] + counts[State.DONE] == 8
    assert counts[State.QUEUED] >= 4
    bench.actions.resume()
    eventually(bench.all_ended)
    bench.check_all_made_once(8)


def test_an_abort_interrupts_what_runs_and_keeps_it_for_the_next_start(
    bench: Bench, hosts: list[FakeHost], eventually: Eventually
) -> None:
    for host in hosts:
        host.step_time, host.steps = 0.1, 100
    bench.add(4)
    bench.start()
    eventually(lambda: all(host.running for host in hosts))
    bench.fleet.abort()
    assert bench.journal.counts()[State.QUEUED] == 4
    eventually(lambda: not any(host.running or host.pending for host in hosts))
    assert not any(host.saved for host in hosts)


def test_a_job_goes_to_the_host_that_has_what_it_needs(
    bench: Bench, hosts: list[FakeHost], eventually: Eventually
) -> None:
    hosts[0].catalogue.models["unet"].clear()
    bench.add(4)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(4)
    assert hosts[0].rendered == []


def test_a_model_that_arrives_late_is_found_without_a_restart(
    bench: Bench, hosts: list[FakeHost], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.suitability.ASK_AGAIN", 0.2)
    for host in hosts:
        host.catalogue.models["unet"].clear()
    bench.add(1)
    bench.start()
    eventually(lambda: all("x.gguf" in v.lacks for v in bench.board.snapshot.hosts.values()))
    assert bench.journal.counts()[State.QUEUED] == 1
    for host in hosts:
        host.catalogue.models["unet"].append("x.gguf")
    eventually(bench.all_ended)
    bench.check_all_made_once(1)
    eventually(lambda: not any(v.lacks for v in bench.board.snapshot.hosts.values()))
