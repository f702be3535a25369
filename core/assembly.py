"""How a run's parts are put together from settings and what was prepared. No work is done here."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from bridge import discovery, workflow, wsl
from bridge.surroundings import Machine
from bridge.workflow import Workflow
from configs.settings import Settings
from core import memory_check
from core.drop_folder import DropFolder
from core.filing import Filing
from core.fitness import Fitness
from core.fleet import Fleet
from core.host_process import HostProcess
from core.host_source import AUTO, HostSource
from core.input_images import InputImages
from core.intake import Intake
from core.job import Job
from core.journal import Journal
from core.memory_check import MemoryCheck
from core.pairs import Pairs
from core.resolve import Paired, Usual
from core.run_loop import RunLoop
from core.status import Board
from core.tools import Patience, Tools
from core.wildcards import Wildcards
from models import store
from models.store import Folder


@dataclass(frozen=True, slots=True)
class Parts:
    """What the parts of one run are made of.

    Attributes:
        settings: the user's.
        board: shared by all.
        journal: likewise.
        pairs: named pairs, and the usual one.
        paired: the usual one.
    """

    settings: Settings
    board: Board
    journal: Journal
    pairs: Pairs
    paired: Paired

    def intake(self, folder: DropFolder, images: InputImages) -> Intake:
        """Make what enters prompt files."""
        return Intake(
            folder=folder,
            journal=self.journal,
            ready=self.paired.ready,
            usual=Usual(**self.settings.defaults.model_dump(), pair=self.settings.pair),
            find_lora=self.paired.find_lora,
            find_pair=self.pairs.find,
            template=self._templates(),
            wildcards=Wildcards(self.settings.folders.wildcards),
            images=images,
            outbox=self.settings.folders.outbox,
            today=lambda: time.strftime("%Y-%m-%d"),
        )

    def man(self, fleet: Fleet, process: HostProcess, on_ended: Callable[[Job], None]) -> None:
        """Give a fleet one loop for each host of the settings."""
        host = self.settings.host
        tools = self._tools(fleet, on_ended)
        candidates: tuple[str, ...] = ()
        if AUTO in host.use:
            networking = wsl.inspect(Machine(), ask_windows=False)
            candidates = discovery.candidates(host.candidates, networking)
        for use in host.use:
            source = HostSource(
                use=use,
                candidates=candidates,
                process=process,
                connect_timeout=host.connect_timeout,
                comeback=host.comeback,
                clock=time.monotonic,
            )
            self.board.host(use)
            fleet.add(RunLoop(use, tools, source, self.pairs.unet, fleet.others_work, fleet.has))

    def _tools(self, fleet: Fleet, on_ended: Callable[[Job], None]) -> Tools:
        host = self.settings.host
        return Tools(
            journal=self.journal,
            template=self._templates(),
            filing=self._filing(),
            board=self.board,
            fitness=Fitness(host.use),
            patience=Patience(
                connect_timeout=host.connect_timeout,
                depth=host.depth,
                grace=host.grace,
                silence=host.silence,
                move_after=host.move_after,
                stall_factor=host.stall_factor,
                stall_least=host.stall_least,
                load=host.load,
            ),
            clock=time.monotonic,
            wall=time.time,
            on_ended=on_ended,
            on_moved=fleet.wake,
            memory=self._memory_check() if host.check_memory else None,
        )

    def _memory_check(self) -> MemoryCheck:
        places = store.places(self.settings.folders.models, Folder.UNET)
        return memory_check.of(self.paired.ready.unet, self.paired.ready.unet_path, places)

    def _filing(self) -> Filing:
        return Filing(
            self.journal,
            self.settings.folders.outbox,
            self._templates(),
            self.paired.ready.unet_sha256,
            self.paired.find_lora,
            self.paired.ready.hashes,
            self.pairs.hashes_of,
        )

    def _templates(self) -> Callable[[str], Workflow]:
        """Return a function that reads each template once."""
        folder = self.settings.folders.workflows
        return cache(lambda name: workflow.named(folder, name))
