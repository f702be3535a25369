"""The child's lifeline: it dies with the process that started it.

The parent keeps the write end of the child's standard input. However the parent ends, kill -9
included, the kernel closes that end, the child reads end-of-file here and leaves at once. No
clean-up is needed: files are published by rename, and everything else is memory.
"""

import os
import threading
from typing import BinaryIO

EXIT_CODE = 0


def die_with(stream: BinaryIO) -> None:
    """Leave the process when ``stream`` ends; returns at once."""
    threading.Thread(target=_wait, args=(stream,), name="lifeline", daemon=True).start()


def _wait(stream: BinaryIO) -> None:
    try:
        while stream.read(4096):
            pass
    except (OSError, ValueError):
        pass  # a stream that cannot be read is as good as closed
    os._exit(EXIT_CODE)
