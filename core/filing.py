"""Rendered jobs -> pictures in the outbox, beside the rendering of the next.

Fetches what the host holds, writes graph and record into it, and moves the journal on; each
step can be repeated after a crash. Names are noted in the journal before the first rename, so a
picture that is already there is recognised as this job's own.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from bridge import workflow
from bridge.answers import HostFacts, ImageRef
from bridge.client import HostClient
from bridge.workflow import Workflow
from core import gallery
from core.gallery import Provenance
from core.job import Job
from core.journal import Journal
from core.png_text import PngError
from core.resolve import FindLora

logger = logging.getLogger(__name__)

OUR_PREFIX = "vulcan"  # of every picture on a host


def host_prefix(job: str, attempt: int = 1) -> str:
    """Return the ``filename_prefix`` a job's graph is posted with.

    It differs from attempt to attempt, for a host answers an identical graph from its cache, with
    the name of a file that may be gone.
    """
    return f"{OUR_PREFIX}/{job}/img" + (f"{attempt}-" if attempt > 1 else "")


def expected_names(job: Job, template: Workflow, attempt: int) -> tuple[ImageRef, ...]:
    """Return what an attempt's files are called on the host; empty where that is not certain."""
    prefixes = workflow.output_prefixes(template, job.request, host_prefix(job.id, attempt))
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
    """

    def __init__(
        self,
        journal: Journal,
        outbox: Path,
        template: Callable[[str], Workflow],
        unet_sha256: str,
        find_lora: FindLora,
    ) -> None:
        self._journal, self._outbox, self._template = journal, outbox, template
        self._unet_sha256, self._find_lora = unet_sha256, find_lora

    def file(self, job: Job, client: HostClient, facts: HostFacts) -> bool:
        """File a rendered job's pictures.

        Returns:
            False when the host no longer has them, so that the job must be made again.

        Raises:
            HostError: the host does not answer; the job stays as it is.
            OSError: disk full or no permission; likewise.
        """
        pictures = [client.fetch(image) for image in job.images]
        whole = [picture for picture in pictures if picture is not None]
        if len(whole) != len(pictures):
            return False
        try:
            inscribed = [self._inscribe(job, picture, facts) for picture in whole]
        except PngError as error:
            self._journal.failed(job.id, f"the host sent no PNG: {error}")
            return True
        folder = self._outbox / job.batch
        paths = job.paths or gallery.choose_paths(folder, job.name, len(whole))
        if self._journal.intends(job.id, paths):
            gallery.save(paths, inscribed)
            self._journal.done(job.id)
        return True

    def _inscribe(self, job: Job, picture: bytes, facts: HostFacts) -> bytes:
        template = self._template(job.request.workflow)
        graph = workflow.build(template, job.request, prefix=OUR_PREFIX)
        loras = {lora.file: self._find_lora(lora.file).sha256 for lora in job.request.loras}
        software = f"ComfyUI {facts.version}"
        note = gallery.record(job.request, Provenance(self._unet_sha256, loras, software))
        return gallery.inscribed(picture, graph, note)
