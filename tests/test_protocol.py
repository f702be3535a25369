import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import protocol
from bridge.protocol import (
    Cached,
    Ended,
    Event,
    Executed,
    Executing,
    Failed,
    Interrupted,
    Preview,
    Progressed,
    Started,
    Status,
    Succeeded,
)
from bridge.tracker import JobTracker, Standing

TRANSCRIPTS = Path(__file__).parent / "data" / "transcripts"


def recorded(name: str) -> tuple[str, list[Event]]:
    """Read a transcript of ComfyUI 0.3.64: the job's id and what its text frames mean."""
    transcript = json.loads((TRANSCRIPTS / f"{name}.json").read_text())
    frames: list[dict[str, Any]] = [f["text"] for f in transcript["frames"] if "text" in f]
    job = next(f["data"]["prompt_id"] for f in frames if f["type"] == "execution_start")
    events = [protocol.parse(json.dumps(frame)) for frame in frames]
    return job, [event for event in events if event is not None]


def test_a_normal_run_reads_in_comfyuis_order() -> None:
    job, events = recorded("ws_normal_saveimage")
    kinds = [type(event) for event in events if not isinstance(event, Status)]
    assert kinds == [Started, Cached, Executing, Executing, Executed, Succeeded, Ended]
    assert {event.prompt_id for event in events if not isinstance(event, Status)} == {job}


def test_progress_counts_its_steps() -> None:
    _, events = recorded("ws_progress_preview_flags")
    steps = [(e.value, e.maximum) for e in events if isinstance(e, Progressed)]
    assert steps == [(n, steps[0][1]) for n in range(1, steps[0][1] + 1)]


def test_an_error_names_node_type_and_message() -> None:
    _, events = recorded("ws_error")
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert (failed.node_type, failed.exception_type, failed.message) == (
        "LabFail",
        "ValueError",
        "boom",
    )


@pytest.mark.parametrize(
    "name",
    [
        "ws_normal_saveimage",
        "ws_cached_saveimage",
        "ws_error",
        "ws_interrupted_progress_node",
        "ws_progress_preview_noflags",
    ],
)
def test_every_recorded_run_ends_for_the_tracker_exactly_once(name: str) -> None:
    job, events = recorded(name)
    tracker = JobTracker()
    tracker.add(job)
    changes = [changed for event in events if (changed := tracker.feed(event))]
    ended = [change for change in changes if change.standing is Standing.ENDED]
    assert len(ended) == 1
    assert ended[0] == changes[-1]
    assert changes[0].standing is Standing.RUNNING


def test_success_alone_does_not_end_a_job() -> None:
    """History may still be empty then (31 of 150 jobs measured); only the null node promises it."""
    tracker = JobTracker()
    tracker.add("a")
    tracker.feed(Started("a"))
    assert tracker.feed(Succeeded("a")) is None
    assert tracker.feed(Interrupted("a")) is None
    changed = tracker.feed(Ended("a"))
    assert changed is not None
    assert changed.standing is Standing.ENDED


def test_other_peoples_jobs_change_nothing() -> None:
    tracker = JobTracker()
    tracker.add("a")
    assert tracker.feed(Started("b")) is None
    assert tracker.feed(Progressed("b", "8", 1, 2)) is None
    assert tracker.feed(Executing(None, "8")) is None


def test_a_preview_with_metadata_is_read() -> None:
    about = json.dumps({"prompt_id": "a", "image_type": "image/jpeg"}).encode()
    frame = struct.pack(">II", 4, len(about)) + about + b"JPEG"
    assert protocol.parse(frame) == Preview("a", "image/jpeg", b"JPEG")
    assert protocol.parse(struct.pack(">II", 1, 2) + b"PNG") == Preview(None, "image/png", b"PNG")


@given(st.one_of(st.text(), st.binary(), st.binary().map(lambda b: b"\0\0\0\4" + b)))
def test_no_frame_is_ever_an_exception(frame: str | bytes) -> None:
    protocol.parse(frame)


@given(
    st.sampled_from(["status", "executing", "progress", "executed", "execution_error"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)
def test_no_odd_data_is_ever_an_exception(kind: str, data: Any) -> None:
    protocol.parse(json.dumps({"type": kind, "data": data}))
