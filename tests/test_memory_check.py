"""Jobs that no setting can make fit a host's card are refused, and only they."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge import workflow
from bridge.answers import HostFacts
from bridge.client import HostClient
from bridge.request import Request
from core import memory_check
from core.job import State
from core.memory_check import MemoryCheck
from core.tools import Tools
from models.flux import FLUX_DEV
from tests import model_files
from tests.bench import Bench, template
from tests.convert_kit import convert_file
from tests.fake_host import FakeHost, serving
from tests.model_files import flux_arrays
from tests.sample_request import REQUEST

Eventually = Callable[..., None]
GB = 1 << 30
CHECK = MemoryCheck({"x.gguf": FLUX_DEV}.get)
LAPTOP = HostFacts("0.3.64", True, "RTX 4050", 5 * GB, vram_total=6 * GB, on_gpu=True, cuda=True)
HUGE = replace(REQUEST, width=2048, height=2048, batch=8)


def filled(request: Request) -> workflow.Workflow:
    return workflow.build(template(request.workflow), request, "p/img")


def test_what_no_card_of_that_size_can_compute_is_refused_with_what_fits() -> None:
    why = CHECK.lacks(filled(HUGE), LAPTOP)
    assert "2048x2048, batch 8 takes at least 11." in why
    assert "RTX 4050 has 6.0 GB" in why
    assert "2048x2048, batch 2" in why
    assert "host.check_memory = false" in why


def test_what_is_named_as_fitting_is_let_through() -> None:
    why = CHECK.lacks(filled(HUGE), LAPTOP)
    found = re.findall(r"(\d+)x(\d+), batch (\d+)", why.partition("what fits")[2])
    assert len(found) == 2
    for width, height, batch in found:
        request = replace(HUGE, width=int(width), height=int(height), batch=int(batch))
        assert CHECK.lacks(filled(request), LAPTOP) == ""


@pytest.mark.parametrize(
    "facts",
    [
        replace(LAPTOP, vram_total=48 * GB),
        replace(LAPTOP, cuda=False, on_gpu=False, device="cpu", vram_total=1 * GB),
        replace(LAPTOP, embedded=True, vram_total=1 * GB),
        replace(LAPTOP, cuda=False, device="DirectML", vram_total=1 * GB),
        replace(LAPTOP, vram_total=0),
    ],
    ids=["large card", "processor", "embedded", "DirectML", "says nothing"],
)
def test_a_host_whose_memory_does_not_forbid_it_is_given_the_job(facts: HostFacts) -> None:
    assert CHECK.lacks(filled(HUGE), facts) == ""


def test_a_model_that_is_not_here_is_not_judged() -> None:
    assert MemoryCheck({"other.gguf": FLUX_DEV}.get).lacks(filled(HUGE), LAPTOP) == ""


def test_the_pairs_unet_and_those_of_named_pairs_are_known(tmp_path: Path) -> None:
    base = model_files.write(tmp_path / "base.safetensors", flux_arrays(dtype="F16"))
    own, named = tmp_path / "own.gguf", tmp_path / "unet" / "sub" / "named.gguf"
    named.parent.mkdir(parents=True)
    convert_file(base, own)
    shutil.copy(own, named)
    check = memory_check.of("pair.gguf", own, [tmp_path / "unet"])
    assert check.shape_of("pair.gguf") == check.shape_of("sub/named.gguf")
    assert check.shape_of("pair.gguf") is not None
    assert check.shape_of("strange.gguf") is None


def test_a_size_that_the_workflow_makes_itself_is_not_judged() -> None:
    graph = filled(HUGE)
    for node in graph.values():
        if "batch_size" in node["inputs"]:
            node["inputs"] |= {"width": ["99", 0], "height": ["99", 0]}
    graph["99"] = {"class_type": "SizeOfSomething", "inputs": {}}
    assert CHECK.lacks(graph, LAPTOP) == ""


@pytest.mark.parametrize("name", ["txt2img", "txt2img_custom_sampler"])
def test_the_size_is_read_where_the_request_put_it(name: str) -> None:
    found = memory_check.picture(filled(replace(HUGE, workflow=name)))
    assert found is not None
    assert (found.width, found.height, found.batch) == (2048, 2048, 8)


def test_a_file_that_tells_no_sizes_is_no_check(tmp_path: Path) -> None:
    check = memory_check.of("x.gguf", tmp_path / "x.gguf", [])
    assert check.lacks(filled(HUGE), LAPTOP) == ""
    (tmp_path / "x.gguf").write_bytes(b"GGUF garbage")
    assert check.lacks(filled(HUGE), LAPTOP) == ""


# --- through the director's parts ---


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serving() as served:
        yield served


@pytest.fixture
def bench(tmp_path: Path, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    whole = Bench._tools
    monkeypatch.setattr(Bench, "_tools", lambda *given: _with_check(whole(*given)))
    bench = Bench(tmp_path, host)
    yield bench
    bench.close()


def _with_check(tools: Tools) -> Tools:
    return replace(tools, memory=CHECK)


def test_a_job_that_cannot_fit_fails_unsent_and_the_others_are_made(
    bench: Bench, host: FakeHost, eventually: Eventually
) -> None:
    bench.add(2, claim="huge", request=HUGE)
    bench.add(2)
    bench.start()
    eventually(bench.all_ended)
    refused = bench.journal.of_claim("huge")
    assert [job.state for job in refused] == [State.FAILED] * 2
    assert "what fits: 2048x2048, batch 2" in refused[0].error
    assert [job.state for job in bench.journal.of_claim("c")] == [State.DONE] * 2
    assert len(host.posts) == 2


def test_the_host_is_asked_for_its_card_once_for_all_jobs(
    bench: Bench, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    whole = HostClient.facts

    def facts(self: HostClient) -> HostFacts:
        asked.append(1)
        return whole(self)

    monkeypatch.setattr(HostClient, "facts", facts)
    bench.add(3)
    bench.add(1, claim="huge", request=HUGE)
    bench.start()
    eventually(bench.all_ended)
    assert len(asked) == 1
