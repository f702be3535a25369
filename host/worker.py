"""The worker: one thread that takes job after job from the queue and tells how each one ends."""

import logging
import threading
from collections.abc import Callable

from host import messages
from host.executor import Executor
from host.interrupt import Interrupt
from host.job_queue import Job, JobQueue, Wishes
from host.surroundings import Send

logger = logging.getLogger(__name__)


class Worker:
    """Runs the queue for as long as the process lives; a daemon thread."""

    def __init__(
        self,
        queue: JobQueue,
        executor: Executor,
        interrupt: Interrupt,
        send: Send,
        free: Callable[[Wishes], None],
    ) -> None:
        self._queue = queue
        self._executor = executor
        self._interrupt = interrupt
        self._send = send
        self._free = free
        self._thread = threading.Thread(target=self._loop, name="worker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _loop(self) -> None:
        while True:
            work = self._queue.take(self._interrupt.begin)
            if isinstance(work, Wishes):
                self._obey(work)
            else:
                self._run(work)

    def _obey(self, wishes: Wishes) -> None:
        if wishes.free_memory:
            self._executor.forget()
        self._free(wishes)

    def _run(self, job: Job) -> None:
        self._send_status()
        ending = self._executor.run(job)
        self._interrupt.end()
        self._queue.finish(ending.entry())
        # Interruptions reach everybody, as in ComfyUI; the rest only the client that asked.
        public = ending.event.name == "execution_interrupted"
        if public or job.client_id is not None:
            self._send(ending.event, job.client_id)
        self._send_status()
        if job.client_id is not None:
            self._send(messages.executing(None, job.prompt_id), job.client_id)

    def _send_status(self) -> None:
        self._send(messages.status(self._queue.remaining), None)
