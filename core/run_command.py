"""``director.py run``: settings, state folder, display; the rest is :mod:`core.session`'s."""

import argparse
import logging
import time
from pathlib import Path
from typing import Any

from configs import settings as configs
from configs.settings import Settings
from core import display
from core.drop_folder import DropFolder
from core.journal import Journal, JournalError
from core.session import Session
from core.status import Board
from models.file_system import file_system

logger = logging.getLogger(__name__)

UNSAFE_FOR_STATE = frozenset({"9p", "drvfs", "cifs", "smb3", "nfs", "nfs4", "virtiofs"})
LOG = "director.log"


def run(arguments: argparse.Namespace) -> int:
    """Run the director until stopped, or with ``--once`` until the work is done.

    Raises:
        ConfigError, JournalError, ModelError, PrepareError, HostProcessError, OSError
    """
    settings = load_settings(arguments)
    refuse_unsafe(settings.state)
    board = Board()
    journal = Journal(settings.state, time.time)
    try:
        with display.shown(board, settings.state / LOG, verbose=arguments.verbose):
            folder = DropFolder(settings.folders.inbox, time.monotonic, time.time_ns)
            try:
                logger.info("watching %s", settings.folders.inbox)
                return Session(settings, board, journal, folder, arguments.once).run()
            finally:
                folder.close()
    finally:
        journal.close()


def load_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings that a command line asks for.

    Raises:
        ConfigError: a source of them is bad.
    """
    return configs.load(arguments.config, _flags(arguments))


def _flags(arguments: argparse.Namespace) -> dict[str, Any]:
    def absolute(name: str) -> str | None:
        path: Path | None = getattr(arguments, name, None)
        return str(path.resolve()) if path else None

    return {
        "pair": getattr(arguments, "pair", None),
        "host": {"use": getattr(arguments, "host", None)},
        # Only given or not: the flag cannot take back what a file allows.
        "lora": {"allow_partial": getattr(arguments, "allow_partial", False) or None},
        "folders": {name: absolute(name) for name in ("inbox", "outbox", "models")},
    }


def refuse_unsafe(state: Path) -> None:
    """Make the state folder, on a file system whose locks hold.

    Raises:
        JournalError: it is one of Windows' or of the network.
        OSError: it cannot be made.
    """
    state.mkdir(parents=True, exist_ok=True)
    kind = file_system(state)
    if kind in UNSAFE_FOR_STATE:
        raise JournalError(
            f"The state folder {state} lies on {kind}, where SQLite's locks are not safe; "
            "set VULCAN_STATE to a folder on a Linux disk, such as ~/.local/state/vulcan"
        )
