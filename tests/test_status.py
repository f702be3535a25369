import io
from dataclasses import replace

from rich.console import Console

from core.job import State
from core.status import Board, Running, Snapshot, render


def drawn(shot: Snapshot, now: float = 0.0) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(shot, now))
    return console.export_text()


RUNNING = Running("id", "2026_fox_001", "a red fox", since=10.0)


def test_what_is_shown_is_host_job_steps_and_queue() -> None:
    running = replace(RUNNING, step=3, steps=8, first_step_at=10.0)
    text = drawn(
        Snapshot(
            host="http://h",
            reason="ComfyUI 1",
            running=running,
            counts={State.QUEUED: 4, State.SENT: 1, State.RUNNING: 1, State.FAILED: 2},
        ),
        now=14.0,
    )
    for wanted in ("http://h", "ComfyUI 1", "a red fox", "step 3/8, 10 s left", "4 waiting"):
        assert wanted in text
    assert "2 on the host" in text
    assert "2 failed" in text


def test_a_job_without_steps_yet_is_loading() -> None:
    assert "loading, 5 s" in drawn(Snapshot(running=RUNNING), now=15.0)


def test_time_left_needs_two_steps_and_counts_from_the_first() -> None:
    """The first step holds the loading of models; its own length says nothing of the next."""
    one = replace(RUNNING, step=1, steps=5, first_step_at=100.0)
    assert one.seconds_left(now=101.0) is None
    assert replace(one, step=3).seconds_left(now=104.0) == 4.0


def test_progress_of_another_job_changes_nothing() -> None:
    board = Board()
    board.update(running=RUNNING)
    board.progress("other", 3, 8, now=1.0)
    assert board.snapshot.running == RUNNING
    board.progress("id", 1, 8, now=1.0)
    board.progress("id", 2, 8, now=2.0)
    assert board.snapshot.running == replace(RUNNING, step=2, steps=8, first_step_at=1.0)


def test_every_change_rings() -> None:
    board = Board()
    board.update(host="x")
    assert board.changed.is_set()


def test_odd_prompts_are_shown_as_they_are() -> None:
    assert "[bold]x[/bold]" in drawn(Snapshot(running=replace(RUNNING, prompt="[bold]x[/bold]")))
