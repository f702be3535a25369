"""Loads the engine, and with it torch, beside the server instead of before it.

The server has to answer within a second of its start; torch, diffusers and peft take several. So
a thread of their own imports them, and the first node that needs the engine waits for it. Graphs
without a model (EmptyImage, probes) never wait.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from host.errors import RenderError
from host.job_queue import Wishes
from host.system_stats import DeviceFacts

if TYPE_CHECKING:
    from host.engine import Engine

logger = logging.getLogger(__name__)


class EngineLoader:
    """The engine, as soon as it is there."""

    def __init__(
        self, models: Path, *, partial_loras: bool = False, vram_limit: int | None = None
    ) -> None:
        """Make a loader; the arguments are the engine's."""
        self._models, self._partial_loras = models, partial_loras
        self._vram_limit = vram_limit
        self._engine: Engine | None = None
        self._failure: ImportError | None = None
        self._thread = threading.Thread(target=self._load, name="engine", daemon=True)

    def start(self) -> None:
        """Start loading."""
        self._thread.start()

    def get(self) -> Engine:
        """Return the engine, waiting until it is loaded.

        Raises:
            RenderError: torch or one of its companions cannot be imported.
        """
        self._thread.join()
        if self._engine is None:
            raise RenderError(
                "the packages that render could not be loaded",
                why=str(self._failure),
                fix="Install requirements.txt again",
            ) from self._failure
        return self._engine

    def free(self, wishes: Wishes) -> None:
        """Free what ``POST /free`` asked for; nothing is loaded for it."""
        if self._engine is not None and (wishes.unload_models or wishes.free_memory):
            self._engine.free()

    def devices(self) -> list[DeviceFacts]:
        """Return the devices that render; empty while torch is loading."""
        return self._engine.devices() if self._engine is not None else []

    def _load(self) -> None:
        start = time.monotonic()
        try:
            with without_collections():
                from host.engine import Engine

            self._engine = Engine.on_best_device(
                self._models, partial_loras=self._partial_loras, vram_limit=self._vram_limit
            )
        except ImportError as error:
            logger.exception("the engine could not be loaded")
            self._failure = error
            return
        took = time.monotonic() - start
        logger.info("engine ready on %s after %.1f s", self._engine.device, took)


@contextmanager
def without_collections() -> Iterator[None]:
    """Import something large without stopping the server's thread for long.

    Importing torch makes 670,000 objects that all stay, and each full collection looks at all
    of them while no other thread can run: 150 to 190 ms several times over, in which no request is
    answered. So none is made meanwhile, and what is there afterwards is never looked at again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
