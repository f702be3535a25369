"""Every oddity of ComfyUI that was observed, met by the director's real parts: one rule a test."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import websocket

from bridge import listener, workflow
from bridge.client import HostClient, Place
from bridge.errors import HostDoubt, HostRefused, HostUnreachable
from bridge.workflow import Workflow
from core.job import State
from tests.bench import Bench, template
from tests.chaos_proxy import proxied
from tests.fake_host import FakeHost, png, serving
from tests.sample_request import REQUEST

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


def graph(prefix: str = "p/img") -> Workflow:
    return workflow.build(template("txt2img"), REQUEST, prefix)


# 1: execution_success comes before the history entry exists


def test_history_that_is_written_late_is_waited_for(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.history_late = 0.2
    bench.add(4)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(4)
    assert len(host.posts) == 4


# 2: reconnecting with the same clientId can make deaf


def test_a_registration_that_another_socket_took_with_it_costs_time_not_jobs(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.step_time = 0.05
    bench.add(4)
    bench.start()
    eventually(lambda: host.running)
    (client,) = host.sockets
    address = f"ws://127.0.0.1:{port_of(host)}/ws?clientId={client}"
    websocket.create_connection(address, timeout=5).close()
    eventually(lambda: client not in host.sockets)
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(4)
    assert len(host.posts) == 4


# 3: nothing is replayed


def test_what_was_said_while_the_socket_was_away_is_asked_for(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.step_time = 0.05
    bench.add(3)
    bench.start()
    eventually(lambda: host.running)
    host.faults.reset_in_frame = 1
    eventually(lambda: host.faults.reset_in_frame == 0)
    host.step_time = 0.0  # all ends before the socket is back
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(3)
    assert len(host.posts) == 3


# 4: a client that stops reading stops all clients' messages


def test_a_neighbour_that_stops_reading_costs_time_not_jobs(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.stalled = True
    bench.add(3)
    bench.start()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(3)
    assert len(host.posts) == 3


def test_the_director_always_reads_however_much_the_host_says(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.send_buffer, host.preview, host.steps = 4096, 1_000_000, 10
    bench.add(3)
    bench.start()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(3)


# 5: an identical graph gives no new file


def test_identical_requests_are_two_files_on_the_host_and_two_pictures(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    for claim in ("c1", "c2"):
        bench.add(1, claim)
    bench.start()
    eventually(bench.all_ended)
    assert len(host.saved) == len(host.files) == 2
    assert len(list(bench.outbox.iterdir())) == 2


# 6: a POST that failed may be in the queue all the same


@pytest.mark.parametrize("fault", ["accept_then_500", "accept_in_silence", "cut_posts"])
def test_a_post_that_was_queued_but_not_answered_well_makes_its_job_once(
    bench: Bench, host: FakeHost, eventually: Eventually, fault: str
) -> None:
    setattr(host.faults, fault, 2)
    bench.add(4)
    bench.start()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(4)
    assert len(host.posts) == len(set(host.posts)) == 4


# 7: bad JSON is a 500 in plain text


def test_a_500_in_plain_text_is_a_doubt_not_the_end_of_the_host(host: FakeHost) -> None:
    with HostClient(host.url, "c") as client:
        with pytest.raises(HostDoubt):
            client.submit(Workflow(None), "a", {})  # type: ignore[arg-type] # "prompt": null
        assert client.locate("a").place is Place.NOWHERE
        client.submit(graph(), "b", {})


# 8: HTTP 200 may carry node_errors


def test_a_200_with_node_errors_fails_the_job_and_takes_it_off_the_host(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.half_valid = True
    host.paused = True
    bench.add(1)
    bench.start()
    eventually(bench.all_ended)
    job = bench.journal.of_claim("c")[0]
    assert job.state is State.FAILED
    assert "node 1 (UnetLoaderGGUF): Value not in list" in job.error
    assert host.pending == []


def test_one_bad_output_of_two_is_refused_with_the_findings_of_its_node(host: FakeHost) -> None:
    host.validating = host.paused = True
    two = graph()
    two["20"] = {"class_type": "SaveImage", "inputs": {"images": ["10", 0]}}
    host.catalogue.models["loras"] = ["lora.safetensors"]
    with HostClient(host.url, "c") as client, pytest.raises(HostRefused) as refused:
        client.submit(two, "a", {})
    assert list(refused.value.node_errors) == ["20"]
    assert host.pending == []


# 9: a restart loses everything but the files


def test_a_restart_renders_again_only_what_left_no_file(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.step_time = 0.05
    host.faults.history_late = 0.3
    bench.add(4)
    bench.start()
    eventually(lambda: len(host.saved) == 1)
    host.forget()  # a picture is written, and no history of it will ever be
    host.faults.history_late = 0.0
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(4)
    assert len(host.saved) == 4


# 10: connecting to a closed port may hang


def test_a_port_that_swallows_connects_is_given_up_soon_and_taken_again_later(
    tmp_path: Path, host: FakeHost, eventually: Eventually
) -> None:
    with proxied(port_of(host)) as proxy:
        host.url, host.step_time = proxy.url, 0.1
        bench = Bench(tmp_path, host)
        bench.add(3)
        bench.start()
        eventually(lambda: host.running)
        proxy.black_hole()
        proxy.reset_all()
        since = time.monotonic()
        with pytest.raises(HostUnreachable), HostClient(proxy.url, "c", 0.3) as client:
            client.queue()
        assert time.monotonic() - since < 5
        proxy.fill_hole()
        eventually(bench.all_ended, 30)
        bench.check_all_made_once(3)
        bench.close()


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
