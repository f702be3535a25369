import io
import json
from dataclasses import replace

from rich.console import Console

from core.job import State
from core.status import Board, HostView, Running, Snapshot, render, snapshot_from_json


def drawn(shot: Snapshot, now: float = 0.0) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(shot, now))
    return console.export_text()


RUNNING = Running("id", "2026_fox_001", "a red fox", since=10.0)


def test_what_is_shown_is_host_job_steps_and_queue() -> None:
    running = replace(RUNNING, step=3, steps=8, first_step_at=10.0)
    text = drawn(
        Snapshot(
            hosts={"auto": HostView("http://h", "ComfyUI 1", running)},
            counts={State.QUEUED: 4, State.SENT: 1, State.RUNNING: 1, State.FAILED: 2},
        ),
        now=14.0,
    )
    for wanted in ("http://h", "ComfyUI 1", "a red fox", "step 3/8, 10 s left", "4 waiting"):
        assert wanted in text
    assert "2 on the host" in text
    assert "2 failed" in text


def of(running: Running) -> Snapshot:
    return Snapshot(hosts={"h": HostView("http://h", "", running)})


def test_a_job_without_steps_yet_is_loading() -> None:
    assert "loading, 5 s" in drawn(of(RUNNING), now=15.0)


def test_time_left_needs_two_steps_and_counts_from_the_first() -> None:
    """The first step holds the loading of models; its own length says nothing of the next."""
    one = replace(RUNNING, step=1, steps=5, first_step_at=100.0)
    assert one.seconds_left(now=101.0) is None
    assert replace(one, step=3).seconds_left(now=104.0) == 4.0


def test_progress_of_another_job_changes_nothing() -> None:
    board = Board()
    board.host("h", running=RUNNING)
    board.progress("h", "other", 3, 8, now=1.0)
    assert board.running("h") == RUNNING
    board.progress("h", "id", 1, 8, now=1.0)
    board.progress("h", "id", 2, 8, now=2.0)
    assert board.running("h") == replace(RUNNING, step=2, steps=8, first_step_at=1.0)


def test_a_snapshot_is_the_same_after_a_trip_through_json() -> None:
    counts = dict.fromkeys(State, 3)
    shot = Snapshot(of(RUNNING).hosts, ("quantising", 0.5), counts, paused=True, trouble="no room")
    assert snapshot_from_json(json.loads(json.dumps(shot.to_json(20.0)))) == shot


def test_all_hosts_are_shown_and_what_halts_the_run() -> None:
    hosts = {"a": HostView("http://a", "ComfyUI 1"), "b": HostView("", "does not answer")}
    text = drawn(Snapshot(hosts=hosts, paused=True, trouble="the disk is full"))
    for wanted in ("http://a", "does not answer", "paused", "the disk is full"):
        assert wanted in text


def test_every_change_rings() -> None:
    board = Board()
    board.host("x", url="http://x")
    assert board.changed.is_set()


def test_odd_prompts_are_shown_as_they_are() -> None:
    assert "[bold]x[/bold]" in drawn(of(replace(RUNNING, prompt="[bold]x[/bold]")))


def test_a_file_s_name_with_brackets_does_not_end_the_display() -> None:
    assert "quantising a[/b].gguf" in drawn(Snapshot(activity=("quantising a[/b].gguf", 0.5)))
