"""Running graphs: what runs again, what does not, and how failures are told."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host.errors import DuplicateJobError, RenderError
from host.executor import Executor
from host.hub import QUEUE_FRAMES, Hub
from host.interrupt import Interrupt
from host.job_queue import HISTORY_LIMIT, Job, JobQueue, Wishes
from host.kept import Kept
from host.messages import Event, Step, status
from host.node_inputs import wire
from host.node_types import Context, NodeType, Result
from host.validation import validate
from tests.host_kit import TABLE, Collector, folders_below, surroundings

RUNS: list[str] = []


def _count(context: Context, *, image: Any) -> Result:
    del context
    RUNS.append("Count")
    return Result((image,))


def _broken(context: Context, *, image: Any) -> Result:
    del context, image
    raise RenderError("the kiln is cold", why="no wood", fix="Fetch some")


COUNT = NodeType("Count", (wire("image", "IMAGE"),), ("IMAGE",), _count)
BROKEN = NodeType("Broken", (wire("image", "IMAGE"),), ("IMAGE",), _broken)
NODES = {**TABLE, "Count": COUNT, "Broken": BROKEN}


class Bench:
    """An executor with everything around it, and nobody listening."""

    def __init__(self, root: Path) -> None:
        RUNS.clear()
        self.root = root
        self.sent = Collector()
        self.interrupt = Interrupt()
        self.executor = Executor(surroundings(root, NODES), self.interrupt, self.sent)

    def run(self, graph: dict[str, Any], prompt_id: str = "job", **more: Any) -> dict[str, Any]:
        verdict = validate(graph, NODES, folders_below(self.root))
        assert verdict.error is None, verdict
        job = Job(1, prompt_id, verdict.graph, outputs=verdict.outputs, client_id="me")
        self.sent.messages.clear()
        self.interrupt.begin(prompt_id)
        return self.executor.run(replace(job, **more)).entry()

    def kinds(self) -> list[str]:
        events = [one for one, _ in self.sent.messages if isinstance(one, Event)]
        return [event.name for event in events]

    def cached(self) -> list[str]:
        events = [one for one, _ in self.sent.messages if isinstance(one, Event)]
        (event,) = [event for event in events if event.name == "execution_cached"]
        return list(event.data["nodes"])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def graph(color: int = 1, prefix: str = "x", middle: str = "Count") -> dict[str, Any]:
    size = {"width": 8, "height": 8, "batch_size": 1}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {**size, "color": color}},
        "2": {"class_type": middle, "inputs": {"image": ["1", 0]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": prefix}},
    }


def test_equal_parts_are_not_run_again(bench: Bench) -> None:
    bench.run(graph())
    entry = bench.run(graph(prefix="y"))
    assert RUNS == ["Count"]
    assert bench.cached() == ["1", "2"]
    assert entry["outputs"]["9"]["images"][0]["filename"] == "y_00001_.png"
    bench.run(graph(color=2, prefix="y"))
    assert RUNS == ["Count", "Count"]
    assert bench.cached() == []


def test_an_equal_graph_shows_the_old_picture_and_writes_none(bench: Bench) -> None:
    first = bench.run(graph())
    second = bench.run(graph())
    assert first["outputs"] == second["outputs"]
    assert len(list(bench.root.rglob("*.png"))) == 1
    assert bench.cached() == ["1", "2", "9"]


def test_a_cached_picture_whose_file_is_gone_is_made_again(bench: Bench) -> None:
    bench.run(graph())
    (picture,) = bench.root.rglob("*.png")
    picture.unlink()
    bench.run(graph())
    assert picture.exists()
    assert bench.cached() == ["1", "2"]


def test_the_cache_keeps_only_what_the_last_graph_used(bench: Bench) -> None:
    bench.run(graph(color=1))
    bench.run(graph(color=2))
    bench.run(graph(color=1))
    assert len(RUNS) == 3


def test_a_model_file_that_changes_is_loaded_again(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "models" / "unet" / "a.gguf"
    path.parent.mkdir(parents=True)
    fingerprint = TABLE["UnetLoaderGGUF"].fingerprint
    assert fingerprint is not None
    seen = set()
    for content in (None, b"1", b"22"):
        if content is not None:
            path.write_bytes(content)
        seen.add(fingerprint(folders_below(tmp_path), {"unet_name": "a.gguf"}))
    assert len(seen) == 3


def test_the_socket_output_always_runs(bench: Bench) -> None:
    socket = graph()
    socket["9"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["2", 0]}}
    for _ in range(2):
        entry = bench.run(socket)
        assert entry["outputs"] == {}
        steps = [one for one, _ in bench.sent.messages if isinstance(one, Step)]
        assert [step.preview is not None for step in steps] == [True]
    assert bench.cached() == ["1", "2"]


def test_what_ran_before_a_failure_is_kept(bench: Bench) -> None:
    broken = graph()
    broken["3"] = {"class_type": "Broken", "inputs": {"image": ["2", 0]}}
    broken["9"]["inputs"]["images"] = ["3", 0]
    entry = bench.run(broken)
    assert entry["status"]["status_str"] == "error"
    name, data = entry["status"]["messages"][-1]
    assert name == "execution_error"
    assert data["exception_message"] == "the kiln is cold: no wood. Fetch some.\n"
    assert data["exception_type"] == "host.errors.RenderError"
    assert (data["node_id"], data["node_type"]) == ("3", "Broken")
    assert data["executed"] == ["1", "2"]
    assert data["traceback"] == []
    bench.run(broken)
    assert RUNS == ["Count"]


def test_a_fault_of_ours_is_told_and_the_next_job_runs(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    failing = graph()
    failing["2"] = {
        "class_type": "LabFail",
        "inputs": {"image": ["1", 0], "message": "boom", "kind": "ValueError"},
    }
    data = bench.run(failing)["status"]["messages"][-1][1]
    assert data["exception_type"] == "ValueError"
    assert data["exception_message"] == "boom\n"
    assert "Traceback" in caplog.text
    assert bench.run(graph())["status"]["completed"]


def test_out_of_memory_is_told_with_advice(bench: Bench) -> None:
    failing = graph()
    failing["2"] = {
        "class_type": "LabFail",
        "inputs": {"image": ["1", 0], "message": "no room", "kind": "OOM"},
    }
    data = bench.run(failing)["status"]["messages"][-1][1]
    assert data["exception_type"].endswith("OutOfMemoryError")
    assert "ran out of memory" in data["exception_message"]


def test_a_plain_value_where_a_link_belongs_is_a_sentence(bench: Bench) -> None:
    wrong = graph()
    wrong["9"]["inputs"]["images"] = "abc"
    data = bench.run(wrong)["status"]["messages"][-1][1]
    assert "images of SaveImage holds a plain value" in data["exception_message"]


def test_an_interrupt_before_a_node_stops_there(bench: Bench) -> None:
    job = graph()
    bench.interrupt.begin("job")
    verdict = validate(job, NODES, folders_below(bench.root))
    assert bench.interrupt.request("other") is False
    assert bench.interrupt.request("job") is True
    ending = bench.executor.run(Job(1, "job", verdict.graph, outputs=verdict.outputs))
    assert ending.event.name == "execution_interrupted"
    assert RUNS == []


def test_a_job_without_client_says_little(bench: Bench) -> None:
    bench.run(graph(), client_id=None)
    assert set(bench.kinds()) == {"progress_state"}
    assert {client for _, client in bench.sent.messages} == {None}


def test_a_thousand_small_nodes_take_no_time(bench: Bench) -> None:
    chain = graph()
    for number in range(300):
        source = ["1", 0] if number == 0 else [f"c{number - 1}", 0]
        chain[f"c{number}"] = {"class_type": "Count", "inputs": {"image": source}}
    chain["9"]["inputs"]["images"] = ["c299", 0]
    start = time.monotonic()
    bench.run(chain)
    assert len(RUNS) == 300
    assert time.monotonic() - start < 3


# --- queue and history ---


def job(prompt_id: str, number: float = 0) -> Job:
    return Job(number, prompt_id, {})


def taken(queue: JobQueue) -> str:
    work = queue.take(lambda prompt_id: None)
    assert isinstance(work, Job)
    return work.prompt_id


def test_jobs_run_by_number_and_then_as_they_came() -> None:
    queue = JobQueue()
    for name, number in (("b", 1.0), ("c", 1.0), ("a", -5.0), ("d", 2.0)):
        queue.put(job(name, number))
    assert [one.prompt_id for one in queue.snapshot()[1]] == ["a", "b", "c", "d"]
    order = []
    while queue.remaining:
        order.append(taken(queue))
        queue.finish({})
    assert order == ["a", "b", "c", "d"]


def test_a_live_id_cannot_be_queued_twice() -> None:
    queue = JobQueue()
    queue.put(job("a"))
    with pytest.raises(DuplicateJobError):
        queue.put(job("a"))
    taken(queue)
    with pytest.raises(DuplicateJobError, match="already pending or running"):
        queue.put(job("a"))
    queue.finish({})
    queue.put(job("a"))


def test_secrets_are_kept_out_of_the_history() -> None:
    queue = JobQueue()
    extra = {"api_key_comfy_org": "s", "auth_token_comfy_org": "s", "mine": 5}
    queue.put(Job(1, "a", {}, extra))
    taken(queue)
    queue.finish({"status": {}})
    entry = queue.history_of("a")
    assert entry is not None
    assert entry["prompt"][3] == {"mine": 5}


def test_the_history_is_bounded() -> None:
    queue = JobQueue()
    for number in range(HISTORY_LIMIT + 5):
        queue.put(job(str(number)))
        taken(queue)
        queue.finish({})
    assert len(queue.history()) == HISTORY_LIMIT
    assert next(iter(queue.history())) == "5"


def test_freeing_comes_before_the_next_job() -> None:
    queue = JobQueue()
    queue.put(job("a"))
    queue.wish(unload_models=True, free_memory=False)
    assert queue.take(lambda prompt_id: None) == Wishes(unload_models=True)
    assert taken(queue) == "a"


def test_an_interrupt_finds_a_job_pending_or_stoppable() -> None:
    queue, interrupt = JobQueue(), Interrupt()
    queue.put(job("a"))
    assert interrupt.request("a") is False
    queue.take(interrupt.begin)
    assert interrupt.request("a") is True
    interrupt.end()
    assert interrupt.request() is False


# --- the hub ---


class Stalled:
    """A transport whose peer never reads."""

    async def send_text(self, data: str) -> None:
        raise AssertionError

    async def send_bytes(self, data: bytes) -> None:
        raise AssertionError


def test_a_client_that_falls_behind_is_dropped_and_holds_no_more_memory() -> None:
    hub = Hub(lambda: 0)
    _, socket = hub.enter(Stalled(), "slow")
    for number in range(QUEUE_FRAMES + 10):
        hub.send(status(number), None)
    assert socket.overflow.is_set()


def test_big_pictures_count_by_their_bytes() -> None:
    hub = Hub(lambda: 0)
    _, socket = hub.enter(Stalled(), "slow")
    for _ in range(9):
        socket.put(bytes(8 << 20))
    assert socket.overflow.is_set()


def test_leaving_removes_only_the_own_connection() -> None:
    hub = Hub(lambda: 0)
    _, old = hub.enter(Stalled(), "x")
    _, new = hub.enter(Stalled(), "x")
    hub.leave("x", old)
    hub.leave("x", old)
    assert hub.count == 1
    hub.leave("x", new)
    assert hub.count == 0


def test_messages_before_the_server_runs_are_dropped() -> None:
    Hub(lambda: 0).send_soon(status(1), None)


def test_kept_models_make_room_for_newer_ones() -> None:
    loads: list[str] = []
    kept: Kept[str, str] = Kept(2)
    for key in ("a", "b", "a", "c", "a", "b"):
        kept.get(key, lambda key=key: loads.append(key) or key)  # type: ignore[misc, func-returns-value] # bound now
    assert loads == ["a", "b", "c", "b"]
    assert kept.newest() == ("b", "b")
