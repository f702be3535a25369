"""Rendered jobs -> pictures in the outbox, beside the rendering of the next.

Fetches what the host holds, writes graph and record into it, and moves the journal on; each
step can be repeated after a crash. Names are noted in the journal before the first rename, so a
picture that is already there is recognised as this job's own.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from bridge import workflow
from bridge.answers import HostFacts, ImageRef
from bridge.client import HostClient
from bridge.workflow import Workflow
from core import gallery, inscription
from core.a1111 import Place
from core.gallery import Picture
from core.inscription import HashesOf, Inscriber
from core.job import Job
from core.journal import Journal
from core.provenance import Hashes
from core.resolve import FindLora

logger = logging.getLogger(__name__)

OUR_PREFIX = inscription.PREFIX  # of every picture on a host


def host_prefix(job: str, attempt: int = 1) -> str:
    """Return the ``filename_prefix`` a job's graph is posted with.

    It differs from attempt to attempt, for a host answers an identical graph from its cache, with
    the name of a file that may be gone.
    """
    return f"{OUR_PREFIX}/{job}/img" + (f"{attempt}-" if attempt > 1 else "")


def expected_names(job: Job, template: Workflow, attempt: int) -> tuple[ImageRef, ...]:
    """Return what an attempt's files are called on the host; empty where that is not certain."""
    prefixes = workflow.output_prefixes(template, host_prefix(job.id, attempt))
    return tuple(
        ImageRef(f"{name}_{number:05}_.png", folder, "output")
        for folder, _, name in (prefix.rpartition("/") for prefix in prefixes)
        for number in range(1, job.request.batch + 1)
    )


class Filing:
    """Files pictures of one journal into one outbox.

    Args:
        journal: told of every step.
        outbox: made when the first picture comes.
        template: returns a workflow template by name.
        unet_sha256: hash of the unet.
        find_lora: LoRAs by name, for their hashes.
        hashes: of unet and companions, where more than the unet's is known.
        hashes_of: those that a job of a named pair was drawn with.
    """

    def __init__(
        self,
        journal: Journal,
        outbox: Path,
        template: Callable[[str], Workflow],
        unet_sha256: str,
        find_lora: FindLora,
        hashes: Hashes | None = None,
        hashes_of: HashesOf | None = None,
    ) -> None:
        self._journal, self._outbox = journal, outbox
        known = hashes or Hashes(unet_sha256)
        self._inscriber = Inscriber(template, known, find_lora, hashes_of)

    def file(self, job: Job, client: HostClient, facts: HostFacts) -> bool:
        """File a rendered job's pictures.

        Args:
            job: rendered.
            client: the host that holds them.
            facts: what the host says of itself, for the records.

        Returns:
            False when the host no longer has them, so that the job must be made again.

        Raises:
            HostError: the host does not answer; the job stays as it is.
            PngError: what it sent is no whole picture.
            OSError: disk full or no permission; likewise.
        """
        pictures = [client.fetch(image) for image in job.images]
        whole = [picture for picture in pictures if picture is not None]
        if len(whole) != len(pictures):
            return False
        inscribed = self._inscribe(job, whole, facts)
        paths = job.paths or gallery.choose_paths(
            self._outbox, job.name, [picture.suffix for picture in inscribed], job.batch
        )
        if self._journal.intends(job.id, paths):
            gallery.save(paths, inscribed)
            self._journal.done(job.id)
        return True

    def _inscribe(self, job: Job, contents: Sequence[bytes], facts: HostFacts) -> list[Picture]:
        return [
            self._inscriber.finish(
                job.request, content, image.filename, Place(number, len(contents)), facts
            )
            for number, (image, content) in enumerate(zip(job.images, contents, strict=True), 1)
        ]
