"""The fault host as a process of its own, so that it can be killed and stopped as one.

    python -m tests.fault_host --port 8188 --files DIR --log FILE [--models DIR] [--set JSON]

Pictures lie in DIR and outlive it; what it did goes line by line to FILE, which does so too.
It prints one line of JSON with its URL once it listens, and ends with its parent's pipe.
"""

import argparse
import asyncio
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.fault_host.host import FakeHost
from tests.fault_host.server import Server
from tests.fault_host.shelf import Shelf


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault_host")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--files", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--log", type=Path, help="where posts, saves and ends are noted")
    parser.add_argument("--unet", action="append", default=[], help="listed in UnetLoaderGGUF")
    parser.add_argument("--set", default="{}", help="JSON of fields to begin with")
    given = parser.parse_args()
    host = FakeHost(files=Shelf(given.files))
    host.catalogue.models["unet"] += given.unet
    if given.log:
        host.note = _noting(given.log)
    for name, value in json.loads(given.set).items():
        setattr(host.faults if hasattr(host.faults, name) else host, name, value)
    listening = socket.create_server(("127.0.0.1", given.port))
    print(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}"}), flush=True)
    asyncio.run(_serve(host, listening))


async def _serve(host: FakeHost, listening: socket.socket) -> None:
    await Server(host).serve(listening, asyncio.Event())


def _noting(path: Path) -> Callable[[str, str], None]:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(what: str, job: str) -> None:
        # One write a line, unbuffered: a kill -9 loses nothing that was noted.
        os.write(file, f"{time.monotonic():.4f} {what} {job}\n".encode())

    return note


if __name__ == "__main__":
    main()
