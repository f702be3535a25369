"""Making named pairs: files checked, hashed, published to hosts' folders, written down.

The manifest comes last, so a pair is the old one or the new one, whatever happens in between.
All that writes holds the state folder's publishing lock. What the user typed and is told is
:mod:`core.pair_command`'s.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from configs.settings import Settings
from core import pair_use, prepare, publishing_state
from core.journal_file import JournalError, director_at
from core.pair_files import Found, FoundLora, PairFiles, Wanted
from core.pair_state import Sight
from models import lora_metadata, pairing, publishing, store
from models.errors import ModelError
from models.pair_shelf import PairShelf
from models.pairing import OWN, LoraUse, Pair, PairedFile
from models.publishing import Publisher, Source
from models.safe_copy import Report
from models.store import Folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a pair.

    Attributes:
        pair: as it was written down.
        replaced: whether there was one of its name.
        removed: published files that nothing uses any more.
    """

    pair: Pair
    replaced: bool
    removed: tuple[Path, ...]


class PairMaker:
    """Makes, publishes, removes and prunes pairs.

    Args:
        settings: whose models folder, companions and state folder.
        report: told what is being done and the share done, 0 to 1.
    """

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings, self._report = settings, report
        self._cache = settings.state / prepare.HASHES
        self._own = settings.folders.models
        self._shelf = PairShelf(self._own)

    def make(self, wanted: Wanted) -> Made:
        """Check a pair, publish its files and write it down, in place of an earlier one.

        Raises:
            ModelError: a file is not there or does not fit, or a folder cannot take it; an
                earlier pair of that name stays as it was.
        """
        pairing.check_name(wanted.name)
        for target in wanted.targets:
            publishing.check_target(target)
        found = PairFiles(self._settings, self._report).find(wanted)
        with self._lock() as owner:
            before = self._replaced(wanted.name)
            folders = self._folders(found.unet, wanted.targets)
            placed = self._placed(owner, dict.fromkeys(found.sources(), folders))
            pair = _pair(wanted, found, placed)
            self._shelf.save(pair)
            # A director that works with the old one learns of it with its next prompt file.
            spared = before if director_at(self._settings.state) is not None else ()
            return Made(pair, bool(before), self._tidied(owner, spared))

    def publish(self, pair: Pair, target: Path, keep: Callable[[Pair], None] | None = None) -> Pair:
        """Publish a pair's files, as they were paired, to one more folder.

        Args:
            pair: whose files.
            target: models folder of a host.
            keep: writes it down; on the shelf unless it is said otherwise.

        Raises:
            ModelError: a file is nowhere, or the folder cannot take it.
        """
        publishing.check_target(target)
        sight = Sight(self._own, None)
        with self._lock() as owner:
            sources = {file: _as_source(file, sight) for file in pair.files}
            folders = {
                source: _distinct([*(self._own / one for one in file.models), target])
                for file, source in sources.items()
            }
            placed = self._placed(owner, folders)
            files = {
                (old.folder, old.file): replace(placed[source], source=old.source)
                for old, source in sources.items()
            }
            published = _renamed(pair, files)
            targets = tuple(dict.fromkeys([*pair.targets, str(target)]))
            published = replace(published, targets=targets)
            (keep or self._shelf.save)(published)
            return published

    def publish_file(self, file: PairedFile, target: Path) -> str:
        """Publish one file that no pair has; return its name there.

        Raises:
            ModelError: the folder cannot take it.
        """
        publishing.check_target(target)
        source = _as_source(file, Sight(self._own, None))
        folders = _distinct([*(self._own / one for one in file.models), target])
        with self._lock() as owner:
            return self._placed(owner, {source: folders})[source].file

    def remove(self, name: str) -> tuple[Path, ...]:
        """Forget a pair, and remove what was published for it and nothing else uses.

        Raises:
            UnknownPairError: there is none of this name.
            ModelError: a folder cannot be written.
        """
        with self._lock() as owner:
            self._shelf.remove(name)
            return tuple(self._withdraw(owner, ()))

    def prune(self) -> tuple[Path, ...]:
        """Remove every published file that no pair and no unfinished job uses.

        Raises:
            ModelError: a manifest or a folder cannot be read or written.
        """
        with self._lock() as owner:
            return tuple(self._withdraw(owner, ()))

    def _lock(self) -> AbstractContextManager[str]:
        return publishing_state.held(self._settings.state, self._report)

    def _tidied(self, owner: str, spared: Sequence[Pair]) -> tuple[Path, ...]:
        """Remove what is not used; a pair that was just made is no failure if that fails."""
        try:
            return tuple(self._withdraw(owner, spared))
        except (ModelError, JournalError, OSError) as error:
            logger.warning("old versions stay for now: %s", error)
            return ()

    def _withdraw(self, owner: str, spared: Sequence[Pair]) -> Iterator[Path]:
        used = pair_use.used(self._settings, spared)
        publisher = Publisher(owner, self._cache, self._report)
        for folder in publishing_state.folders(self._settings.state):
            if folder.is_dir():  # a drive may be away
                yield from publisher.withdraw(folder, used)

    def _replaced(self, name: str) -> tuple[Pair, ...]:
        """Return the pair that has this name now, if it can be read."""
        if name not in self._shelf.names():
            return ()
        try:
            return (self._shelf.load(name),)
        except ModelError:
            return ()

    def _folders(self, unet: Source, targets: Sequence[Path]) -> list[Path]:
        """Return the models folders that are to have a pair: the hosts' and, with the unet, ours.

        For then the embedded host can draw with it, and must find it by the same names.
        """
        ours = any(unet.path.is_relative_to(one) for one in store.places(self._own, unet.folder))
        return _distinct([*([self._own] if ours or not targets else []), *targets])

    def _placed(
        self, owner: str, folders: Mapping[Source, Sequence[Path]]
    ) -> dict[Source, PairedFile]:
        """Publish files and return how a manifest tells them; the host's own is only told."""
        publisher = Publisher(owner, self._cache, self._report)
        here = {source: places for source, places in folders.items() if source.sha256}
        targets = {folder for places in here.values() for folder in places}
        publishing_state.remember(self._settings.state, targets)
        names = publisher.publish(here)
        return {
            source: PairedFile(
                source.folder,
                names.get(source, source.name),
                source.sha256,
                source.size,
                str(source.path) if source.sha256 else "",
                tuple(OWN if one == self._own else str(one) for one in here.get(source, ())),
            )
            for source in folders
        }


def _pair(wanted: Wanted, found: Found, placed: Mapping[Source, PairedFile]) -> Pair:
    """Put a pair together once it is known what its files are called."""
    return Pair(
        name=wanted.name,
        unet=placed[found.unet].file,
        unet_sha256=found.unet.sha256,
        text_encoders=tuple(placed[one].file for one in found.text_encoders),
        vae=placed[found.vae].file,
        loras=tuple(
            _use(one, placed[one.source].file, wanted.trigger, first=number == 0)
            for number, one in enumerate(found.loras)
        ),
        files=tuple(placed.values()),
        trigger=wanted.trigger,
        targets=tuple(map(str, wanted.targets)),
    )


def _use(one: FoundLora, file: str, trigger: str, *, first: bool) -> LoraUse:
    """Say how a LoRA is used; a word for the whole pair is the first one's, and the only one."""
    words = one.read.trigger_words if not trigger else (trigger,) if first else ()
    in_front = bool(trigger) or lora_metadata.goes_in_front(one.read.metadata)
    return LoraUse(file, one.strength, one.source.sha256, words, in_front)


def _renamed(pair: Pair, files: Mapping[tuple[Folder, str], PairedFile]) -> Pair:
    """Return a pair whose files are called, and lie, otherwise."""

    def name(folder: Folder, file: str) -> str:
        return files[folder, file].file

    return replace(
        pair,
        unet=name(Folder.UNET, pair.unet),
        text_encoders=tuple(name(Folder.TEXT_ENCODERS, one) for one in pair.text_encoders),
        vae=name(Folder.VAE, pair.vae),
        loras=tuple(replace(one, file=name(Folder.LORAS, one.file)) for one in pair.loras),
        files=tuple(files.values()),
    )


def _as_source(file: PairedFile, sight: Sight) -> Source:
    path = Path() if file.is_hosts_own else sight.path(file)
    return Source(file.folder, path, file.file, file.sha256, file.size)


def _distinct(folders: Iterable[Path]) -> list[Path]:
    """Return folders without those that are another of them by another name."""
    return list({folder.resolve(): folder for folder in reversed(list(folders))}.values())[::-1]


def wanted_again(pair: Pair) -> Wanted:
    """Return what a pair was made of, to be made once more of what lies there now."""
    known = {(one.folder, one.file): one.source for one in pair.files}

    def source(folder: Folder, file: str) -> str:
        return known.get((folder, file)) or file

    first, second = (source(Folder.TEXT_ENCODERS, name) for name in pair.text_encoders)
    return Wanted(
        name=pair.name,
        unet=source(Folder.UNET, pair.unet),
        loras=tuple((source(Folder.LORAS, one.file), one.strength) for one in pair.loras),
        trigger=pair.trigger,
        text_encoders=(first, second),
        vae=source(Folder.VAE, pair.vae),
        targets=tuple(map(Path, pair.targets)),
    )
