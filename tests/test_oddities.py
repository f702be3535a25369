"""Every oddity of ComfyUI that was observed, met by the director's real parts: one rule a test."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import websocket

from bridge import workflow
from bridge.client import HostClient, Place
from bridge.errors import HostDoubt, HostRefused, HostUnreachable
from bridge.workflow import Workflow
from core.job import State
from tests.bench import Bench, template
from tests.chaos_proxy import proxied
from tests.fake_host import FakeHost, serving
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
