"""The process that does one training: ``python -m core.training_worker ID``, apart from a terminal.

Goes from phase to phase and writes each into the database before it begins, so that whatever ends
it, the next worker goes on there. What a phase does is :mod:`core.training_work`'s.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from configs import settings as configs
from core import training_process
from core.journal_file import JournalError
from core.prepare import PrepareError
from core.training_child import TRAINER, Paused, Stop, Stopped, stopped_by_signals
from core.training_record import State
from core.training_table import Trainings
from core.training_work import Site, Work
from models.errors import ModelError
from training.errors import TrainingError

logger = logging.getLogger(__name__)

EXPECTED = (TrainingError, ModelError, PrepareError, JournalError, OSError)
FOLDERS = ("inbox", "outbox", "models")


def main(argv: Sequence[str]) -> int:
    """Do a training.

    Returns:
        0 if it is done, else 1.
    """
    arguments = _parser().parse_args(argv)
    os.chdir(arguments.at)  # where the user stands: relative settings of the environment count
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%F %X"
    )
    try:
        settings = configs.load(arguments.config, _flags(arguments))
        site = Site(settings, arguments.trainer, arguments.max_runtime, _director(arguments))
        with stopped_by_signals(stop := Stop()):
            return work(arguments.id, site, stop)
    except (*EXPECTED, configs.ConfigError) as error:
        logger.error("%s", error)  # noqa: TRY400 - a sentence, not a traceback
        return 1


def work(training: str, site: Site, stop: Stop) -> int:
    """Do a training from the phase it is at.

    Raises:
        JournalError: the database cannot be used.
        TrainingError: another worker has it.
    """
    table = Trainings(site.settings.state, time.time)
    try:
        folder = table.get(training).folder
        lock = training_process.take(folder)
        try:
            return _work(training, table, site, stop, lock)
        finally:
            os.close(lock)
    finally:
        table.close()


def _work(training: str, table: Trainings, site: Site, stop: Stop, lock: int) -> int:
    pid = os.getpid()
    table.moved(
        training,
        state=State.WORKING,
        pid=pid,
        born=training_process.born(pid),
        told="",
        ended=None,
    )
    try:
        _phases(training, table, site, stop, lock)
    except Stopped:
        _end(table, training, State.STOPPED, "stopped; what was saved is kept")
    except Paused as paused:
        _end(table, training, State.STOPPED, str(paused))
    except EXPECTED as error:
        _end(table, training, State.FAILED, str(error))
    else:
        _end(table, training, State.DONE, "")
        return 0
    return 1


def _phases(training: str, table: Trainings, site: Site, stop: Stop, lock: int) -> None:
    phase = table.get(training).phase
    while True:
        logger.info("%s", phase)
        table.moved(training, phase=phase)
        following = Work(table.get(training), table, site, stop, lock).do(phase)
        if following is None:
            return
        phase = following


def _end(table: Trainings, training: str, state: State, told: str) -> None:
    logger.info("%s%s", state, f": {told}" if told else "")
    table.end(training, state, told)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.training_worker")
    parser.add_argument("id", help="of the training")
    parser.add_argument("--at", type=Path, required=True, help="working folder")
    parser.add_argument("--config", type=Path, help="the user's own settings")
    parser.add_argument("--host", action="append", help="where the sheet is drawn")
    for name in FOLDERS:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--max-runtime", type=float, default=0.0, help="hours; 0: no limit")
    parser.add_argument("--trainer", default=TRAINER, help="module that trains")
    return parser


def _flags(arguments: argparse.Namespace) -> dict[str, object]:
    folders = {name: _absolute(getattr(arguments, name)) for name in FOLDERS}
    return {"host": {"use": arguments.host}, "folders": folders}


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


def _director(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the flags with which a director has the same settings."""
    given = {"config": _absolute(arguments.config)}
    given |= {name: _absolute(getattr(arguments, name)) for name in FOLDERS}
    hosts = [f"--host={use}" for use in arguments.host or ()]
    return (*hosts, *(f"--{name}={value}" for name, value in given.items() if value))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
