"""The director's side of the bridge, against a host that misbehaves on order."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge import workflow
from bridge.client import HostClient, Place
from bridge.errors import HostDoubt, HostRefused, HostUnreachable
from core.endings import TOO_MANY
from core.job import State
from tests.bench import QUICK, Bench, template
from tests.fake_host import FakeHost, png, serving
from tests.journal_kit import enter, take
from tests.sample_request import REQUEST

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


def test_every_job_becomes_one_picture(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    bench.add(10)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(10)
    assert len(host.posts) == 10


def test_the_host_always_has_the_next_job_before_one_ends(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.paused = True
    bench.add(5)
    bench.start()
    eventually(lambda: len(host.pending) == QUICK.depth)
    time.sleep(0.2)
    assert len(host.posts) == QUICK.depth
    host.paused = False
    eventually(bench.all_ended)


def test_a_deaf_socket_costs_time_not_jobs(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.deaf = True
    bench.add(4)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(4)


def test_sockets_that_break_at_once_cost_time_not_jobs(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.drop_sockets = True
    bench.add(4)
    bench.start()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(4)


def test_a_500_that_did_queue_the_job_makes_it_once(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.accept_then_500 = 2
    bench.add(3)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(3)
    assert len(host.rendered) == 3


def test_a_post_that_was_lost_is_made_after_a_second_look(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.lose_posts = 2
    bench.add(3)
    bench.start()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(3)


def test_a_host_that_forgot_everything_gets_its_jobs_again_under_the_same_ids(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.step_time = 0.1
    bench.add(4)
    bench.start()
    eventually(lambda: host.running)
    host.forget()
    eventually(bench.all_ended, 20)
    bench.check_all_made_once(4)
    assert len(set(host.posts)) == 4


@pytest.mark.parametrize(("losses", "state"), [(TOO_MANY - 1, State.FAILED), (5, State.DONE)])
def test_a_job_that_is_lost_however_often_it_is_sent_is_given_up(
    bench: Bench, host: FakeHost, eventually: Eventually, losses: int, state: State
) -> None:
    (job,) = bench.add(1)
    for _ in range(losses):
        assert take(bench.journal, host.url)
        assert bench.journal.lost(job, 1)
    assert take(bench.journal, host.url)
    bench.start()
    eventually(bench.all_ended)
    ended = bench.journal.job(job)
    assert ended.state is state
    assert state is State.DONE or "vanished too often with it" in ended.error


def test_a_picture_of_a_forgotten_job_is_found_by_its_name(
    tmp_path: Path, host: FakeHost, eventually: Eventually
) -> None:
    bench = Bench(tmp_path, host)
    bench.add(1)
    job = take(bench.journal, host.url)
    assert job is not None
    host.files[(f"vulcan/{job.id}", "img_00001_.png")] = png(job.request.seed)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(1)
    assert host.posts == []
    bench.close()


def test_a_half_written_picture_of_that_name_is_not_taken(
    tmp_path: Path, host: FakeHost, eventually: Eventually
) -> None:
    bench = Bench(tmp_path, host)
    bench.add(1)
    job = take(bench.journal, host.url)
    assert job is not None
    host.files[(f"vulcan/{job.id}", "img_00001_.png")] = png(job.request.seed)[:-5]
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(1)
    assert host.posts == [job.id]
    bench.close()


def test_a_host_that_is_restarted_elsewhere_in_time_is_found_again(
    tmp_path: Path, eventually: Eventually
) -> None:
    with serving() as first:
        port = int(first.url.rsplit(":", 1)[1])
        bench = Bench(tmp_path, first)
        first.step_time = 0.2
        bench.add(3)
        bench.start()
        eventually(lambda: first.running)
    with serving(FakeHost(files=first.files), port):
        eventually(bench.all_ended, 30)
        bench.check_all_made_once(3)
        bench.close()


def test_a_refused_workflow_fails_its_job_with_the_hosts_words(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.refuse = True
    bench.add(2)
    bench.start()
    eventually(bench.all_ended)
    job = bench.journal.of_claim("c")[0]
    assert job.state is State.FAILED
    assert "node 1 (UnetLoaderGGUF): Value not in list: unet_name" in job.error


def test_a_node_that_raises_is_tried_once_more_and_fails_with_the_hosts_words(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.fail_nodes = True
    bench.add(1)
    bench.start()
    eventually(bench.all_ended)
    assert bench.journal.of_claim("c")[0].error == (
        "node 8 (KSampler): ValueError: boom (tried 2 times)"
    )


def test_a_job_that_is_answered_500_and_not_queued_every_time_is_given_up(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.lose_posts = 1000
    bench.add(1)
    bench.start()
    eventually(bench.all_ended, 20)
    assert "answered 500 to a job and did not queue it" in bench.journal.of_claim("c")[0].error


def test_pictures_that_the_host_never_has_are_asked_for_twice_not_for_ever(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.faults.no_files = True
    bench.add(1)
    bench.start()
    eventually(bench.all_ended)
    assert "its picture is gone" in bench.journal.of_claim("c")[0].error
    assert len(host.rendered) == 2


def test_a_full_disk_holds_a_picture_back_until_there_is_room(
    bench: Bench, host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core import gallery, host_worker

    monkeypatch.setattr(host_worker, "REFILE_AFTER", 0.1)
    real, calls = gallery.save, []

    def full_once(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        real(*arguments)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(gallery, "save", full_once)
    bench.add(1)
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(1)
    assert len(host.rendered) == 1


def test_jobs_of_another_host_move_to_this_one(
    tmp_path: Path, host: FakeHost, eventually: Eventually
) -> None:
    bench = Bench(tmp_path, host)
    bench.add(2)
    take(bench.journal, "http://elsewhere:8188")
    bench.start()
    eventually(bench.all_ended)
    bench.check_all_made_once(2)
    bench.close()


def test_stopping_finishes_what_runs_and_leaves_the_rest_queued(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    host.step_time = 0.1
    bench.add(4)
    bench.start()
    eventually(lambda: host.running and host.pending)
    bench.stop()
    counts = bench.journal.counts()
    assert (counts[State.DONE], counts[State.QUEUED]) == (1, 3)
    assert host.pending == []


def test_the_same_request_gives_the_same_file(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    for claim in ("c1", "c2"):
        enter(bench.journal, [REQUEST], claim)
    bench.start()
    eventually(bench.all_ended)
    one, two = sorted(bench.outbox.iterdir())
    assert one.read_bytes() == two.read_bytes()


def test_a_picture_of_an_earlier_journal_is_never_overwritten(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    bench.outbox.mkdir()
    old = bench.outbox / "2026-01-02_fox_001.png"
    old.write_bytes(b"precious")
    bench.add(1)
    bench.start()
    eventually(bench.all_ended)
    assert old.read_bytes() == b"precious"
    assert len(list(bench.outbox.iterdir())) == 2


def test_the_client_tells_refused_from_doubtful_from_unreachable(host: FakeHost) -> None:
    graph = workflow.build(template("txt2img"), REQUEST, "p/img")
    with HostClient(host.url, "c") as client:
        host.faults.accept_then_500 = 1
        with pytest.raises(HostDoubt):
            client.submit(graph, "a", {})
        assert client.locate("a").place in (Place.PENDING, Place.RUNNING, Place.ENDED)
        assert client.locate("b").place is Place.NOWHERE
        host.faults.refuse = True
        with pytest.raises(HostRefused) as refused:
            client.submit(graph, "b", {})
        assert refused.value.node_errors["1"]["class_type"] == "UnetLoaderGGUF"
    with HostClient("http://127.0.0.1:1", "c") as nobody, pytest.raises(HostUnreachable):
        nobody.submit(graph, "a", {})
