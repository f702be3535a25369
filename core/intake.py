"""From claimed files to jobs in the journal, and from ended jobs to the file's last place.

Files come in handfuls, and a handful is entered in one transaction. Bad files end here, with a
readable reason beside them; one of them never stops the folder.
"""

import errno
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from bridge import workflow
from bridge.errors import WorkflowError
from bridge.request import InputImage, Request
from core import grid, prompt_file, resolve
from core.drop_folder import Claim, DropFolder
from core.input_images import ImageError, InputImages
from core.job import Job, State, job_id, needs
from core.journal import Entry, Journal, JournalError
from core.prompt_file import PromptError
from core.resolve import FindLora, FindPair, Ready, Usual
from core.wildcards import Wildcards
from models.errors import ModelError

logger = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT)  # no fault of the prompt file, so it waits

_BAD = (PromptError, ModelError, WorkflowError, ImageError, OSError)


class Intake:
    """Feeds one journal from one drop folder.

    Args:
        folder: where files are claimed and where they stay.
        journal: where jobs are entered.
        ready: what they are made with.
        usual: what files may leave out.
        find_lora: checked LoRAs by name.
        template: returns a workflow template by name.
        wildcards: what ``__name__`` in a prompt stands for.
        images: keeps the pictures that jobs start from.
        outbox: where grids are laid out on one sheet.
        today: the day's name, ``YYYY-MM-DD``.
        find_pair: named pairs, ready to draw with.
    """

    def __init__(
        self,
        folder: DropFolder,
        journal: Journal,
        ready: Ready,
        usual: Usual,
        find_lora: FindLora,
        template: Callable[[str], workflow.Workflow],
        wildcards: Wildcards,
        images: InputImages,
        outbox: Path,
        today: Callable[[], str],
        find_pair: FindPair | None = None,
    ) -> None:
        self._folder, self._journal = folder, journal
        self._ready, self._usual, self._find_lora = ready, usual, find_lora
        self._template, self._wildcards, self._images = template, wildcards, images
        self._outbox, self._today, self._find_pair = outbox, today, find_pair
        self._settling = threading.Lock()

    def enter(self, claims: Sequence[Claim]) -> int:
        """Enter the jobs of these claims; repeating it after a crash changes nothing.

        Returns:
            How many files were bad. They have been moved to ``failed/`` by then.

        Raises:
            JournalError: it cannot be written; the files stay claimed.
        """
        new = [claim for claim in claims if not self._journal.knows(claim.name)]
        read = [(claim, self._read(claim)) for claim in new]
        self._journal.add(*(entry for _, entry in read if isinstance(entry, Entry)))
        for claim, entry in read:
            if isinstance(entry, Entry):
                self._say(claim, entry)
            else:
                self._refuse(claim, entry)
        return sum(isinstance(entry, str) for _, entry in read)

    def settle_all(self) -> bool:
        """Move the files whose jobs all ended and that still lie here; tell whether all went."""
        stays = False
        for name in self._journal.finished_claims():
            try:
                self.settle(name)
            except OSError as error:
                logger.warning("%s stays claimed for now: %s", name, error)
                stays = True
        return not stays

    def settle(self, name: str) -> None:
        """Move a claim's file to ``done/`` or ``failed/`` if its jobs have all ended."""
        if not self._journal.is_finished(name):
            return
        with self._settling:  # two jobs of one file may end at the same time
            claim = self._folder.claimed(name)
            if claim is None and not self._journal.waits_for_its_file(name):
                return
            jobs = self._journal.of_claim(name)
            self._lay_out(jobs)
            place = self._folder.finish(claim, _complaint(jobs)) if claim else ""
            self._journal.settle(name, str(place))

    def _read(self, claim: Claim) -> Entry | str:
        """Return what a file asks for, or why it cannot be used."""
        try:
            wishes = prompt_file.parse(claim.file, _content(claim.path))
            requests = resolve.requests(
                wishes,
                self._ready,
                self._usual,
                self._find_lora,
                draw_seed=lambda index: _seed(claim.name, index),
                wildcards=self._wildcards,
                image=self._beside(claim),
                find_image=lambda name: self._image(claim, name),
                find_pair=self._find_pair,
            )
            self._try(requests)
        except _BAD as error:
            return str(error)
        priority = prompt_file.priority(wishes)
        return Entry(claim.name, claim.file, self._today(), requests, claim.batch, priority)

    def _try(self, requests: Sequence[Request]) -> None:
        """Fill one graph of each kind, so that what has no place is told before any is sent."""
        for request in {needs(request): request for request in requests}.values():
            image = request.image.name if request.image else ""
            workflow.build(self._template(request.workflow), request, "", image)

    def _beside(self, claim: Claim) -> InputImage | None:
        """Keep the picture that came with a file, under the name it had beside it."""
        if claim.image is None:
            return None
        return self._keep(claim.image, Path(claim.file).stem + claim.image.suffix)

    def _image(self, claim: Claim, name: str) -> InputImage:
        """Keep the picture that a wish names."""
        path = self._folder.picture(claim, name)
        if path is None:
            raise PromptError(claim.file, 0, f"image {name} is not there; put it beside the file")
        return self._keep(path, path.name)

    def _keep(self, path: Path, name: str) -> InputImage:
        try:
            return self._images.keep(path, name)
        except OSError as error:
            if error.errno in FULL:
                why = f"{path.name} cannot be kept beside the journal ({error}); make room"
                raise JournalError(f"{why}: nothing is lost") from error
            raise

    def _lay_out(self, jobs: Sequence[Job]) -> None:
        if jobs and jobs[0].request.cell:
            try:
                sheet = grid.save(self._outbox / jobs[0].batch, jobs)
            except OSError as error:
                logger.warning("the grid of %s was not drawn: %s", jobs[0].file, error)
                return
            if sheet:
                logger.info("grid %s", sheet.name)

    def _say(self, claim: Claim, entry: Entry) -> None:
        count = len(entry.requests)
        logger.info("%s: %d image%s", claim.file, count, "s"[: count != 1])

    def _refuse(self, claim: Claim, why: str) -> None:
        logger.error("%s: not used: %s", claim.file, why)
        text = f"# {claim.file} was not used\n\n{why}\n\nCorrect it and drop it again.\n"
        try:
            self._folder.finish(claim, error=text)
        except OSError as error:
            logger.warning("%s: stays in %s: %s", claim.file, claim.path, error)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(prompt_file.MAX_BYTES + 1)


def _seed(claim: str, index: int) -> int:
    """Draw a seed that is the same whenever this claim is read; 53 bits, as browsers keep."""
    return int(job_id(claim, index).replace("-", ""), 16) >> 75


def _complaint(jobs: Sequence[Job]) -> str:
    """Write what went wrong with a file's jobs; empty when all went well."""
    bad = [job for job in jobs if job.state is not State.DONE]
    if not bad:
        return ""
    lines = [f"# {jobs[0].file}: {len(bad)} of {len(jobs)} images were not made", ""]
    for job in bad:
        lines += [f"- image {job.index}, {job.request.prompt!r}: {job.error or job.state}"]
    lines += ["", f"`python core/director.py retry {bad[0].id[:8]}` makes the first of them again."]
    return "\n".join([*lines, "", "The others are in the outbox.", ""])
