"""The pairs that a director draws with: the usual one, and those that prompt files name.

A named pair is looked at each time it is asked for: one that was made again is taken up without a
restart, and one whose files changed since is refused, for its pictures would not be what its name
says. Where the settings name a host's models folder, what is used is published there first.
"""

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.request import Request
from configs.settings import Settings
from core import native, prepare
from core.pair_making import PairMaker
from core.pair_state import Condition, Sight
from core.prepare import Loras, NoteChild
from core.provenance import Hashes
from core.resolve import FindLora, Paired, Ready, UsableLora
from models import gguf_file, store
from models.errors import ModelError
from models.pair_shelf import PairShelf
from models.pairing import OWN, Pair, PairedFile
from models.safe_copy import Report
from models.store import Folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A pair as it was when it was last looked at, and what tells that it changed since."""

    paired: Paired
    pair: Pair
    stamp: tuple[str, ...]


class Pairs:
    """Named pairs, ready to draw with.

    Args:
        settings: whose shelf, and whose host's models folder.
        report: told what is being read or copied, and the share done.
        only_look: read no weights and publish nothing: sizes are compared, contents are not.
    """

    def __init__(self, settings: Settings, report: Report, only_look: bool = False) -> None:
        self._settings, self._report, self._only_look = settings, report, only_look
        self._cache = settings.state / prepare.HASHES
        self._shelf = PairShelf(settings.folders.models)
        self._sight = Sight(settings.folders.models, None if only_look else self._sha256)
        self._maker = PairMaker(settings, report)
        self._loaded: dict[str, _Loaded] = {}
        self._published: dict[str, UsableLora] = {}
        self._usual: Ready | None = None
        self._lock = threading.RLock()  # the intake asks, and so do the threads that file pictures

    def usual(self, note: NoteChild) -> Paired:
        """Return what prompts are drawn with unless they name a pair, made ready if need be.

        Args:
            note: given each child that is started for it.

        Raises:
            ModelError, PrepareError, OSError: it cannot be made ready.
        """
        if self._settings.pair:
            return self.find(self._settings.pair)
        ready, loras = prepare.prepare(self._settings, self._report, note)
        self._usual = self._everywhere(ready)
        return Paired(self._usual, self._finder(loras, {}))

    def unet(self) -> str:
        """Return the usual unet's name, as it is now; empty before there is one."""
        loaded = self._loaded.get(self._settings.pair)
        usual = loaded.paired.ready if loaded else self._usual
        return usual.unet if usual else ""

    def find(self, name: str) -> Paired:
        """Return a named pair.

        Raises:
            UnknownPairError: there is none of this name.
            ModelError: its files are not what they were, or cannot be published.
        """
        with self._lock:
            known = self._loaded.get(name)
            if known is None or self._stamp(known.pair) != known.stamp:
                known = self._loaded[name] = self._load(name)
            return known.paired

    def hashes_of(self, request: Request) -> Hashes:
        """Return the hashes of what a job was drawn with, by the pair or by the files here."""
        pair = self._pair(request.pair)

        def known(folder: Folder, file: str) -> str:
            return (pair and pair.sha256(folder, file)) or prepare.hash_of(
                self._settings, folder, file
            )

        encoders = {name: known(Folder.TEXT_ENCODERS, name) for name in request.text_encoders}
        loras = {lora.file: known(Folder.LORAS, lora.file) for lora in request.loras}
        vae = known(Folder.VAE, request.vae)
        return Hashes(
            unet=known(Folder.UNET, request.unet),
            loras={name: digest for name, digest in loras.items() if digest},
            text_encoders={name: digest for name, digest in encoders.items() if digest},
            vae={request.vae: vae} if vae else {},
        )

    def _pair(self, name: str) -> Pair | None:
        with suppress(ModelError):
            self.find(name)
        loaded = self._loaded.get(name)
        return loaded.pair if loaded else None

    # A named pair

    def _load(self, name: str) -> _Loaded:
        pair = self._shelf.load(name)
        self._sight.checked(pair)
        target = self._settings.host.models
        if target and not self._only_look and not self._is_there(pair, target):
            pair = self._maker.publish(pair, target)
        for state in self._sight.states(pair):
            if state.condition is Condition.MISSING:
                logger.warning("pair %s: %s is missing", name, state.path)
        paired = Paired(*self._ready(pair))
        return _Loaded(paired, pair, self._stamp(pair))

    def _stamp(self, pair: Pair) -> tuple[str, ...]:
        path = self._shelf.path(pair.name)
        manifest = store.stamp(path) if path.is_file() else ""
        return (manifest, *self._sight.stamp(pair))

    def _is_there(self, pair: Pair, target: Path) -> bool:
        """Tell whether a host's folder has all of a pair but what is the host's own."""
        asked = str(OWN if target == self._settings.folders.models else target)
        states = self._sight.states(pair)
        gone = {s.path for s in states if s.condition is Condition.MISSING}
        mine = [file for file in pair.files if not file.is_hosts_own]
        return all(asked in file.models for file in mine) and not any(
            path and path.is_relative_to(target) for path in gone
        )

    def _ready(self, pair: Pair) -> tuple[Ready, FindLora]:
        unet = self._sight.path(_file(pair, Folder.UNET, pair.unet))
        header = gguf_file.read_header(unet)
        first, second = pair.text_encoders
        ready = Ready(
            unet=pair.unet,
            unet_path=unet,
            unet_sha256=pair.unet_sha256,
            text_encoders=(first, second),
            vae=pair.vae,
            loras=tuple(
                UsableLora(one.file, one.strength, one.trigger_words, one.sha256, one.in_front)
                for one in pair.loras
            ),
            native=native.of(header.shapes),
            hashes=_hashes(pair),
            pair=pair.name,
        )
        # The settings' own trigger word is that of the settings' own LoRA.
        wordless = self._settings.lora.model_copy(update={"trigger": ""})
        settings = self._settings.model_copy(update={"lora": wordless})
        loras = Loras(self._lora_places(pair), header, settings, self._sha256_or_none)
        return ready, self._finder(loras, _by_name(pair, ready))

    def _lora_places(self, pair: Pair) -> list[Path]:
        models = self._settings.folders.models
        named = [models / one for file in pair.files for one in file.models]
        every = dict.fromkeys([models, *named])
        return [place for one in every for place in store.places(one, Folder.LORAS)]

    # LoRAs that prompt files name

    def _finder(self, loras: Loras, own: Mapping[str, UsableLora]) -> FindLora:
        """Return what finds LoRAs: a pair's own as the pair has them, others published."""

        def find(name: str) -> UsableLora:
            return own[name] if name in own else self._on_host(loras.find(name))

        return find

    def _on_host(self, found: UsableLora) -> UsableLora:
        target = self._settings.host.models
        if target is None or self._only_look:
            return found
        with self._lock:
            known = self._published.get(found.file)
            if known is None or not _is_in(target, Folder.LORAS, known.file):
                self._published[found.file] = known = self._publish_lora(found, target)
            return known

    def _publish_lora(self, found: UsableLora, target: Path) -> UsableLora:
        models = self._settings.folders.models
        path = store.find(store.places(models, Folder.LORAS), found.file)
        size = path.stat().st_size
        file = PairedFile(Folder.LORAS, found.file, found.sha256, size, str(path), (OWN,))
        name = self._maker.publish_file(file, target)
        return replace(found, file=name)

    # What the settings say

    def _everywhere(self, ready: Ready) -> Ready:
        """Publish what the settings say to draw with, where they name a host's folder."""
        target = self._settings.host.models
        if target is None:
            return ready
        pair = prepare.as_pair(ready, self._settings)

        def keep(published: Pair) -> None:
            prepare.write_manifest(self._settings.state / prepare.MANIFESTS, published)

        published = self._maker.publish(pair, target, keep)
        first, second = published.text_encoders
        loras = zip(ready.loras, published.loras, strict=True)
        return replace(
            ready,
            unet=published.unet,
            text_encoders=(first, second),
            vae=published.vae,
            loras=tuple(replace(one, file=now.file) for one, now in loras),
            hashes=_hashes(published),
        )

    def _sha256(self, path: Path) -> str:
        return store.cached_sha256(path, self._cache)

    def _sha256_or_none(self, path: Path) -> str:
        return "" if self._only_look else self._sha256(path)


def _by_name(pair: Pair, ready: Ready) -> dict[str, UsableLora]:
    """Return the pair's LoRAs by all that a prompt file may call them.

    Users know the file's own name, with or without its ending, not that of the published one.
    """
    known: dict[str, UsableLora] = {}
    for one in ready.loras:
        source = Path(_file(pair, Folder.LORAS, one.file).source)
        known |= dict.fromkeys((source.stem, source.name, one.file), one)
    return known


def _file(pair: Pair, folder: Folder, name: str) -> PairedFile:
    return next(one for one in pair.files if (one.folder, one.file) == (folder, name))


def _is_in(models: Path, folder: Folder, name: str) -> bool:
    return any((place / name).is_file() for place in store.places(models, folder))


def _hashes(pair: Pair) -> Hashes:
    def known(folder: Folder) -> dict[str, str]:
        return {one.file: one.sha256 for one in pair.files if one.folder is folder and one.sha256}

    return Hashes(
        unet=pair.unet_sha256,
        text_encoders=known(Folder.TEXT_ENCODERS),
        vae=known(Folder.VAE),
    )
