"""Which published files are needed still: by a pair's manifest, or by a job that is not over."""

from collections.abc import Iterable, Iterator
from contextlib import closing

from bridge.request import Request
from configs.settings import Settings
from core.job import OPEN
from core.journal_file import FILE
from core.prepare import MANIFESTS
from core.records import Records
from models import pair_shelf
from models.pairing import Pair
from models.store import Folder

Used = set[tuple[Folder, str]]


def used(settings: Settings, also: Iterable[Pair] = ()) -> Used:
    """Return kind and name of everything that must stay.

    Args:
        settings: whose manifests and journal.
        also: pairs that nobody wrote down, or that were just replaced.

    Raises:
        ModelError: a manifest cannot be read, so that nobody can say.
        JournalError: the journal cannot be read; likewise.
    """
    shelf = settings.folders.models / pair_shelf.FOLDER
    pairs = [
        pair
        for place in (shelf, settings.state / MANIFESTS)
        for pair in pair_shelf.manifests(place)
    ]
    names = {name for pair in (*pairs, *also) for name in pair.names()}
    return names | {name for request in _open(settings) for name in _files(request)}


def _open(settings: Settings) -> Iterator[Request]:
    if (settings.state / FILE).exists():
        with closing(Records.beside(settings.state)) as records:
            yield from (job.request for job in records.listed(OPEN))


def _files(request: Request) -> Iterator[tuple[Folder, str]]:
    yield Folder.UNET, request.unet
    yield from ((Folder.TEXT_ENCODERS, name) for name in request.text_encoders)
    yield Folder.VAE, request.vae
    yield from ((Folder.LORAS, lora.file) for lora in request.loras)
