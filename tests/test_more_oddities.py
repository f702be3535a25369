"""What hosts and networks do beyond the ten oddities of ComfyUI: one rule a test."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge import listener
from core.job import State
from tests.bench import Bench
from tests.chaos_proxy import proxied
from tests.fake_host import FakeHost, png, serving

Eventually = Callable[..., None]
READ_TIMEOUT = 0.5  # instead of half a minute


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serving() as served:
        yield served


@pytest.fixture
def bench(tmp_path: Path, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("bridge.client.READ_TIMEOUT", READ_TIMEOUT)
    bench = Bench(tmp_path, host)
    yield bench
    bench.close()


def port_of(host: FakeHost) -> int:
    return int(host.url.rpartition(":")[2])


# Beyond the ten


def test_events_that_come_twice_or_belong_to_others_change_nothing(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.duplicates = host.faults.strangers = True
    bench.add(5)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(5)
    assert len(host.posts) == 5


def test_a_socket_that_went_half_open_is_given_up_and_opened_anew(
    bench: Bench, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "PING_AFTER", 0.1)
    bench.add(1)
    bench.start()
    eventually(bench.all_ended)
    (first,) = host.sockets.values()
    host.half_open()
    eventually(lambda: any(socket is not first for socket in list(host.sockets.values())))
    bench.add(3, "later")
    eventually(bench.all_ended)
    assert len(host.posts) == 4


def test_requests_that_hang_on_a_half_open_connection_end_and_are_made_again(
    tmp_path: Path, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.client.READ_TIMEOUT", READ_TIMEOUT)
    with proxied(port_of(host)) as proxy:
        host.url, host.step_time = proxy.url, 0.05
        bench = Bench(tmp_path, host)
        bench.add(4)
        bench.start()
        eventually(lambda: host.running)
        proxy.half_open()
        eventually(bench.all_ended, 30)
        bench.check_all_made_once(4)
        bench.close()


def test_a_host_that_answers_nothing_for_a_while_is_waited_for(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.step_time = 0.05
    bench.add(3)
    bench.start()
    eventually(lambda: host.running)
    host.faults.silent = True
    time.sleep(READ_TIMEOUT * 2)
    host.faults.silent = False
    eventually(bench.all_ended, 30)
    bench.check_all_made_once(3)


def test_answers_that_trickle_in_are_read_to_their_end(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.trickle = 0.01
    bench.add(2)
    bench.start()
    eventually(bench.all_ended, 30)
    bench.check_all_made_once(2)


def test_a_picture_that_breaks_off_in_the_middle_is_fetched_again(
    bench: Bench, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.host_worker.REFILE_AFTER", 0.1)
    host.faults.cut_views = 2
    bench.add(2)
    bench.start()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(2)
    assert len(host.saved) == 2


def test_a_body_the_host_finds_too_large_fails_its_job_with_the_hosts_words(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.max_body = 100
    bench.add(1)
    bench.start()
    eventually(bench.all_ended)
    assert "Maximum request body size 100 exceeded" in bench.journal.of_claim("c")[0].error


def test_a_job_that_somebody_else_interrupts_says_so(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.step_time = 0.2
    bench.add(2)
    bench.start()
    eventually(lambda: host.running)
    host.interrupt(None)
    eventually(bench.all_ended, 20)
    states = [job.state for job in bench.journal.of_claim("c")]
    assert states == [State.FAILED, State.DONE]
    assert "interrupted" in bench.journal.of_claim("c")[0].error


def test_a_first_load_that_takes_long_is_no_reason_to_post_again(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.load_time = 1.0
    bench.add(2)
    bench.start()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(2)
    assert (len(host.posts), host.interrupts) == (2, [])


def test_a_windows_hosts_backslashes_are_handed_back_as_they_came(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.catalogue.windows = True
    bench.add(2)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(2)
    (entry, *_) = host.history.values()
    assert "\\" in json.dumps(entry["outputs"])


def test_a_forgotten_job_with_a_file_on_a_windows_host_is_found_by_its_name(
    tmp_path: Path, host: FakeHost, eventually: Eventually
) -> None:
    host.catalogue.windows = True
    host.paused = True
    bench = Bench(tmp_path, host)
    bench.add(1)
    job = bench.journal.of_claim("c")[0].id
    bench.start()
    eventually(lambda: host.pending == [job])
    host.files[(f"vulcan/{job}", "img_00001_.png")] = png(0)
    host.forget()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(1)
    assert len(host.posts) == 1
    bench.close()


def test_a_picture_that_vanished_is_rendered_anew_although_the_host_has_its_graph_cached(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.no_files, host.faults.history_late = True, 0.3
    bench.add(1)
    bench.start()
    eventually(lambda: host.rendered)
    host.faults.no_files = False
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(1)


def test_a_picture_that_came_cut_short_is_fetched_again(
    bench: Bench, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.host_worker.REFILE_AFTER", 0.1)
    host.faults.truncated = 1
    bench.add(1)
    bench.start()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(1)


# Somebody else works with the same ComfyUI


def test_a_job_that_somebody_cleared_from_the_queue_is_missed_as_soon_as_it_is_overtaken(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.step_time = 0.1
    bench.add(12)
    bench.start()
    eventually(lambda: host.running and host.pending)
    cleared = host.pending[0]
    host.queue.clear()
    eventually(bench.all_ended, 30)
    bench.check_all_made_once(12)
    assert host.rendered.index(cleared) < 11, "it came last: nobody had looked for it before"
