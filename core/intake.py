"""From a claimed file to jobs in the journal, and from ended jobs to the file's last place.

Bad files end here, with a readable reason beside them; one of them never stops the folder.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from bridge import workflow
from bridge.errors import WorkflowError
from core import prompt_file, resolve
from core.drop_folder import Claim, DropFolder
from core.job import Job, State, job_id
from core.journal import Journal
from core.prompt_file import PromptError
from core.resolve import FindLora, Ready, Usual
from models.errors import ModelError

logger = logging.getLogger(__name__)


class Intake:
    """Feeds one journal from one drop folder.

    Args:
        folder: where files are claimed and where they stay.
        journal: where jobs are entered.
        ready: what they are made with.
        usual: what files may leave out.
        find_lora: checked LoRAs by name.
        workflows: folder of templates.
        today: the day's name, ``YYYY-MM-DD``.
    """

    def __init__(
        self,
        folder: DropFolder,
        journal: Journal,
        ready: Ready,
        usual: Usual,
        find_lora: FindLora,
        workflows: Path,
        today: Callable[[], str],
    ) -> None:
        self._folder, self._journal = folder, journal
        self._ready, self._usual, self._find_lora = ready, usual, find_lora
        self._workflows, self._today = workflows, today
        self._settling = threading.Lock()

    def enter(self, claim: Claim) -> bool:
        """Enter a claim's jobs; repeating it after a crash changes nothing.

        Returns:
            Whether the file was good. A bad one has been moved to ``failed/`` by then.
        """
        if self._journal.knows(claim.name):
            return True
        try:
            wishes = prompt_file.parse(claim.file, _read(claim.path))
            requests = resolve.requests(
                wishes,
                self._ready,
                self._usual,
                self._find_lora,
                draw_seed=lambda index: _seed(claim.name, index),
            )
            for name in {request.workflow for request in requests}:
                workflow.find_slots(workflow.load(self._workflows / f"{name}.json"), name)
        except (PromptError, ModelError, WorkflowError, OSError) as error:
            self._refuse(claim, str(error))
            return False
        self._journal.add(claim.name, claim.file, self._today(), requests)
        logger.info("%s: %d image%s", claim.file, len(requests), "s"[: len(requests) != 1])
        return True

    def settle_all(self) -> None:
        """Move the files whose jobs all ended in an earlier run."""
        for name in self._journal.finished_claims():
            self.settle(name)

    def settle(self, name: str) -> None:
        """Move a claim's file to ``done/`` or ``failed/`` if its jobs have all ended."""
        if not self._journal.is_finished(name):
            return
        with self._settling:  # two jobs of one file may end at the same time
            if claim := self._folder.claimed(name):
                self._folder.finish(claim, _complaint(self._journal.of_claim(name)))
            self._journal.settle(name)

    def _refuse(self, claim: Claim, why: str) -> None:
        logger.error("%s: not used: %s", claim.file, why)
        text = f"# {claim.file} was not used\n\n{why}\n\nCorrect it and drop it again.\n"
        self._folder.finish(claim, error=text)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(prompt_file.MAX_BYTES + 1)


def _seed(claim: str, index: int) -> int:
    """Draw a seed that is the same whenever this claim is read; 53 bits, as browsers keep."""
    return int(job_id(claim, index).replace("-", ""), 16) >> 75


def _complaint(jobs: list[Job]) -> str:
    """Write what went wrong with a file's jobs; empty when all went well."""
    bad = [job for job in jobs if job.state is not State.DONE]
    if not bad:
        return ""
    lines = [f"# {jobs[0].file}: {len(bad)} of {len(jobs)} images were not made", ""]
    for job in bad:
        lines += [f"- image {job.index}, {job.request.prompt!r}: {job.error or job.state}"]
    return "\n".join([*lines, "", "The others are in the outbox.", ""])
