"""A director's working parts around hosts of the test's choice, without prompt files."""

import json
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bridge import workflow
from bridge.request import Request
from configs.settings import WORKFLOWS
from core import png_text
from core.actions import Actions
from core.filing import Filing
from core.fitness import Fitness
from core.fleet import Fleet
from core.host_process import HostProcess
from core.host_source import HostSource
from core.job import OPEN, Job, State
from core.journal import Journal
from core.resolve import UsableLora
from core.run_loop import RunLoop
from core.status import Board
from core.tools import Patience, Tools
from tests.fake_host import FakeHost, png
from tests.journal_kit import enter
from tests.sample_request import REQUEST

QUICK = Patience(
    connect_timeout=1.0,
    depth=2,
    grace=0.3,
    silence=0.4,
    move_after=0.5,
    stall_factor=10.0,
    stall_least=0.6,
    load=1.2,
)


def template(name: str) -> workflow.Workflow:
    """Return one of the project's own templates."""
    return workflow.load(WORKFLOWS / f"{name}.json")


class Bench:
    """A journal, an outbox and one loop per host.

    Args:
        folder: for journal and outbox.
        hosts: served once :meth:`start` is called.
        patience: waiting times.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        *hosts: FakeHost,
        patience: Patience = QUICK,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wall = wall
        self.outbox = folder / "outbox"
        self.journal = Journal(folder / "state", wall)
        self.board = Board()
        self.ended: queue.Queue[Job] = queue.Queue()
        self.fleet = Fleet()
        self.crashed: list[BaseException] = []
        self.actions = Actions(
            *(self.journal, time.time, self.ended.put),
            *(lambda claim, place: None, lambda: None, self.fleet),
        )
        self.tools = tools = self._tools([host.url for host in hosts], patience)
        process = HostProcess(folder, folder)
        for host in hosts:
            source = HostSource(host.url, (), process, 1.0, 0.0, time.monotonic)
            self.board.host(host.url)
            self.fleet.add(
                RunLoop(
                    host.url,
                    tools,
                    source,
                    lambda: "x.gguf",
                    self.fleet.others_work,
                    self.fleet.has,
                )
            )
        self._thread = threading.Thread(target=self.fleet.run, args=(self._guarded,))

    def _tools(self, hosts: list[str], patience: Patience) -> Tools:
        filing = Filing(
            self.journal, self.outbox, template, "aa", lambda name: UsableLora(name, 1, (), "bb")
        )
        return Tools(
            journal=self.journal,
            template=template,
            filing=filing,
            board=self.board,
            fitness=Fitness(hosts),
            patience=patience,
            clock=time.monotonic,
            wall=self._wall,
            on_ended=self.ended.put,
            on_moved=self.fleet.wake,
        )

    def _guarded(self, work: object) -> None:
        assert callable(work)
        try:
            work()
        except BaseException as error:
            self.crashed.append(error)
            raise

    def add(self, count: int, claim: str = "c", request: Request = REQUEST) -> list[str]:
        """Enter jobs that differ by their seeds; return their ids."""
        enter(self.journal, [replace(request, seed=number) for number in range(count)], claim)
        self.fleet.wake()
        return [job.id for job in self.journal.of_claim(claim)]

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the running jobs."""
        self.fleet.stop()
        if self._thread.is_alive():
            self._thread.join(20)
        assert not self._thread.is_alive()
        assert not self.crashed

    def close(self) -> None:
        """Stop and let the journal go."""
        self.stop()
        self.journal.close()

    def all_ended(self) -> bool:
        """Tell whether nothing is left to do."""
        counts = self.journal.counts()
        return not any(counts[state] for state in OPEN)

    def check_all_made_once(self, count: int) -> None:
        """Every job has one picture, and each picture is its own job's."""
        jobs = self.journal.of_claim("c")
        assert [job.state for job in jobs] == [State.DONE] * count
        assert len(list(self.outbox.iterdir())) == count
        for job in jobs:
            content = job.paths[0].read_bytes()
            record = json.loads(png_text.texts(content)["vulcan"])
            assert record["request"]["seed"] == job.request.seed
            assert (
                list(png_text.chunks(content))[-2]
                == list(png_text.chunks(png(job.request.seed, job.request.prompt)))[-2]
            )
