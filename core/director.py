"""Vulcan's director: ``python core/director.py``.

Reads the command line, hands over to the command, and turns every expected failure into one
sentence and an exit code. Imported by nobody; everything it does is somewhere else.
"""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python core/director.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from core import arguments

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def main(argv: Sequence[str]) -> int:
    """Run one command.

    Returns:
        The process's exit code.
    """
    chosen = arguments.parse(argv)
    # Only now, so that `--help` does not pay for them.
    from bridge.errors import BridgeError
    from configs.settings import ConfigError
    from core import commands
    from core.control import ControlError
    from core.host_process import HostProcessError
    from core.journal import JournalError
    from core.prepare import PrepareError
    from models.errors import ModelError
    from quantize.errors import QuantizeError
    from training.errors import TrainingError

    expected_errors = (
        BridgeError,
        ConfigError,
        ControlError,
        HostProcessError,
        JournalError,
        ModelError,
        OSError,
        PrepareError,
        QuantizeError,
        TrainingError,
    )
    try:
        return commands.COMMANDS[chosen.command](chosen)
    except expected_errors as error:
        print(f"director: {_told(error)}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "the state folder, the inbox or the outbox"
        return f"the disk is full ({where}); make room and start again: nothing is lost"
    return str(error)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Straight out: after a second Ctrl-C a thread may still wait for a host.
    os._exit(code)
