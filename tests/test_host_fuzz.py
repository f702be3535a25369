"""The host takes anything without a 5xx, a hang, or a file outside its folders.

A few hundred of the shots; ``python -m benchmarks.host_fuzz`` fires thousands at a real process.
"""

import random
from pathlib import Path

import pytest

from tests.fuzz_kit import fire, graph, outside, shots
from tests.host_kit import serving

COUNT = 400


def test_nothing_that_is_sent_breaks_the_host(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    with serving(root) as host:
        port = int(host.url.rpartition(":")[2])
        before = outside(root) | outside(tmp_path)
        for shot in shots(1, COUNT):
            status = fire(port, shot)
            assert status is None or status < 500, (shot.name, shot.payload[:300])
        host.post("/queue", {"clear": True})
        assert host.history(host.submit(graph(random.Random(0))))["status"]["completed"]
        assert {path for path in outside(root) if path.is_file()} <= before
    assert list((tmp_path / "a").iterdir()) == [root]
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
