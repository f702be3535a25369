"""How other processes speak to a running director: a Unix socket in the state folder.

One request and one answer per connection, each one line of JSON::

    {"do": "cancel", "job": "5f3a"}  ->  {"ok": true, "told": ["cancelled 5f3a..."]}

Only the owner of the folder can connect. The socket is reached through a descriptor of its
folder, because its address may have no more than 107 characters and a path may.
"""

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.journal_file import JournalError

logger = logging.getLogger(__name__)

SOCKET = "control.sock"
TIMEOUT = 30.0  # seconds for one exchange
DEAF_PAUSE = 1.0  # seconds before the next request is waited for after a trouble
LONGEST = 1 << 20  # bytes of a request

Answer = Mapping[str, Any]
Handler = Callable[[Mapping[str, Any]], Answer]


class ControlError(Exception):
    """A director is there and gave no answer to use; the message says what to do."""


class ControlServer:
    """Answers requests in threads of its own until closed.

    Args:
        folder: state folder, locked by us.
        handle: turns a request into an answer; may be called from several threads.
    """

    def __init__(self, folder: Path, handle: Handler) -> None:
        self._path, self._handle = folder / SOCKET, handle
        self._closed = threading.Event()
        self._path.unlink(missing_ok=True)  # a killed director's
        self._socket = socket.socket(socket.AF_UNIX)
        with _address(folder) as address:
            self._socket.bind(address)
        self._path.chmod(0o600)
        self._socket.listen()
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._closed.set()
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                if self._closed.is_set():
                    return
                logger.warning("requests are not heard: %s", error)  # too many open files
                self._closed.wait(DEAF_PAUSE)
                continue
            threading.Thread(target=self._exchange, args=(connection,), daemon=True).start()

    def _exchange(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(TIMEOUT)
            try:
                with connection.makefile("rb") as lines:
                    answer = self._answer(lines.readline(LONGEST))
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except OSError as error:
                logger.warning("a request was not answered: %s", error)

    def _answer(self, line: bytes) -> Answer:
        try:
            return self._handle(json.loads(line))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            return {"ok": False, "told": [f"not understood: {error!r}"]}
        except JournalError as error:
            return {"ok": False, "told": [str(error)]}


def ask(folder: Path, request: Mapping[str, Any]) -> Answer | None:
    """Ask the director that works with a state folder; ``None`` when there is none.

    Raises:
        ControlError: it does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection, _address(folder) as address:
            connection.settimeout(TIMEOUT)
            connection.connect(address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                told = lines.readline()
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise ControlError(f"The director gave no answer ({error}); see its log") from error
    try:
        return dict(json.loads(told))
    except (ValueError, TypeError) as error:
        raise ControlError("The director hung up; see its log") from error


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET}"
    finally:
        os.close(handle)
