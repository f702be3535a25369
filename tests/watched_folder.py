"""A drop folder with a thread that collects its claims, and a user without root's rights."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.drop_folder import Claim, DropFolder

NOBODY = 65534


class Watching:
    """A drop folder at work."""

    def __init__(self, inbox: Path, mounts: str | None = None) -> None:
        self.inbox = inbox
        self.folder = DropFolder(inbox, time.monotonic, time.time_ns, mounts)
        self.claims: list[tuple[Claim, bytes]] = []
        self.sizes: list[int] = []
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def _collect(self) -> None:
        for claims in self.folder.batches():
            self.sizes.append(len(claims))
            self.claims += [(claim, claim.path.read_bytes()) for claim in claims]

    def files(self) -> list[str]:
        return sorted(claim.file for claim, _ in self.claims)

    def the(self, file: str) -> Claim:
        (claim,) = [claim for claim, _ in self.claims if claim.file == file]
        return claim

    def close(self) -> None:
        self.folder.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextmanager
def unprivileged_folder() -> Iterator[Path]:
    """Yield a folder where permissions hold, even for tests that root runs."""
    folder = Path(tempfile.mkdtemp(prefix="vulcan-test-"))
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(folder)
