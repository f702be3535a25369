"""The host takes anything without a 5xx, a hang, or a file outside its folders.

A few hundred of the shots; ``python -m benchmarks.host_fuzz`` fires thousands at a real process.
"""

import logging
import random
from pathlib import Path

import pytest

from tests.fuzz_kit import fire, graph, outside, shots
from tests.host_kit import serving

COUNT = 800


# starlette leaves the file of a form that breaks off to the collector, which closes it at once.
@pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.Spooled:ResourceWarning")
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
    assert not [record.getMessage() for record in caplog.records if is_strange(record)]


def is_strange(record: logging.LogRecord) -> bool:
    """Whether this is the traceback of a fault in the host, not in a job or a client's text."""
    if not record.exc_info or record.name == "host.job_run":
        return False
    return not isinstance(record.exc_info[1], UnicodeDecodeError)  # uvicorn's, and it closes
