"""Start the embedded host: ``python -m host --port N --models DIR``.

Binds the port, starts the server, then says so in one line of JSON on standard output. torch is
loaded meanwhile (:mod:`host.engine_loader`). SIGTERM and SIGINT stop it at once.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import random
import signal
import socket
import string
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from host.access_token import Token, TokenError
from host.engine_loader import EngineLoader
from host.executor import Executor
from host.folders import Folders
from host.hub import Hub
from host.interrupt import Interrupt
from host.job_queue import JobQueue
from host.lifeline import die_with
from host.nodes import TABLE
from host.parts import Parts
from host.server import application
from host.surroundings import Surroundings
from host.worker import Worker

LOOPBACK = ipaddress.ip_address("127.0.0.1")
TOKEN_VARIABLE = "VULCAN_HOST_TOKEN"  # noqa: S105 - where it is, not what
STATE = Path(".vulcan/host")
MAX_FRAME = 4 * 1024 * 1024
"""Largest frame that a client may send; ComfyUI's limit."""

KEEP_ALIVE = 75
"""Seconds for which an idle connection stays open: aiohttp's, so ComfyUI's under most versions.

Long on purpose. Who closes first loses: a client that sends just when the server hangs up gets a
reset and cannot know whether its POST was taken. So the server must outlast the pools of clients
(httpx 5 s, aiohttp 15 s, and the director's own, which keeps a connection between two jobs).
"""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

logger = logging.getLogger(__name__)


def arguments(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m host", description="The embedded host.", allow_abbrev=False
    )
    parser.add_argument("--port", type=int, default=8188, help="0 picks a free one")
    parser.add_argument(
        "--listen",
        type=ipaddress.ip_address,
        default=LOOPBACK,
        metavar="ADDRESS",
        help="where to listen; anything but a loopback address needs a token",
    )
    parser.add_argument(
        "--token",
        help=f"clients must send it (better: set {TOKEN_VARIABLE}, which ps does not show)",
    )
    parser.add_argument("--models", type=Path, required=True, help="parent of unet, loras, ...")
    parser.add_argument("--output", type=Path, default=STATE / "output", help="saved pictures")
    parser.add_argument("--input", type=Path, default=STATE / "input", help="uploads")
    parser.add_argument("--temp", type=Path, default=STATE / "temp", help="previews")
    parser.add_argument(
        "--preview",
        action=argparse.BooleanOptionalAction,
        default=False,  # as in ComfyUI: some clients take any picture on the socket for a result
        help="send a small picture at each step",
    )
    parser.add_argument(
        "--vram-limit",
        type=memory_size,
        metavar="SIZE",
        help="use no more of the card, such as 6GB; layers that find no room come as they compute",
    )
    parser.add_argument(
        "--partial-loras", action="store_true", help="apply LoRAs in part instead of refusing them"
    )
    parser.add_argument("--die-with-stdin", action="store_true", help="stop when stdin ends")
    return parser.parse_args(argv)


def memory_size(text: str) -> int:
    """Read ``6GB``, ``5.5GiB`` or ``6``: GiB, as cards are sold."""
    number = text.strip().lower().removesuffix("b").removesuffix("i").removesuffix("g")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1024.0:
        raise argparse.ArgumentTypeError(f"{text} is no size of a card's memory, such as 6GB")
    return int(value * (1 << 30))


def build(folders: Folders, engine: EngineLoader, *, previews: bool) -> tuple[Parts, Worker]:
    """Put the host together."""
    queue, interrupt = JobQueue(), Interrupt()
    hub = Hub(lambda: queue.remaining)
    around = Surroundings(TABLE, folders, engine.get, time.time, random_name, previews)
    executor = Executor(around, interrupt, hub.send_soon)
    worker = Worker(queue, executor, interrupt, hub.send_soon, engine.free)
    devices, node = engine.devices, lambda: executor.current_node
    return Parts(queue, hub, interrupt, folders, TABLE, devices, node, time.time), worker


def random_name() -> str:
    """Return five random letters, for names of temporary files."""
    return "".join(random.choices(string.ascii_lowercase, k=5))  # noqa: S311 - no secret


class Server(uvicorn.Server):
    """uvicorn's server, which says when it listens and leaves without ceremony."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say where."""
        await super().startup(sockets=sockets)
        if self.started:
            line = {"event": "listening", "url": self._url, "pid": os.getpid()}
            print(json.dumps(line), flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; unlike uvicorn's own, do not raise the signal again."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True


def find_token(given: str | None, variable: str | None, address: Address) -> Token | None:
    """Return the token that clients must know; None where none was given and none is needed.

    Raises:
        TokenError: one is needed or was given, and there is none that can be used.
    """
    secret = given if given is not None else variable
    if secret is not None:
        return Token(secret)
    if not address.is_loopback:
        raise TokenError(
            f"Whoever reaches {address} could use this host. Give it a token: set {TOKEN_VARIABLE} "
            "(python -c 'import secrets; print(secrets.token_urlsafe())' makes one)"
        )
    return None


def listen(port: int, address: Address = LOOPBACK) -> socket.socket:
    """Bind the port.

    Raises:
        OSError: it is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # Named as TCP, for asyncio turns Nagle's delay off only then: 44 ms an answer otherwise.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
    except OSError:
        listener.close()
        raise
    return listener


def configure(parts: Parts, token: Token | None = None) -> uvicorn.Config:
    """Return how uvicorn is to serve."""
    return uvicorn.Config(
        application(parts, token),
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME,
        timeout_keep_alive=KEEP_ALIVE,
        # No deadline for pongs: many clients answer a ping only when they next read, and ComfyUI
        # never asks. Who is really gone does not acknowledge the ping, and TCP says so.
        ws_ping_timeout=None,
        timeout_graceful_shutdown=1,
    )


def serve(parts: Parts, listener: socket.socket, token: Token | None) -> None:
    """Serve until a signal comes."""
    address, port = listener.getsockname()[:2]
    name = f"[{address}]" if ":" in address else address
    Server(configure(parts, token), f"http://{name}:{port}").run(sockets=[listener])


def main(argv: list[str]) -> int:
    """Run the host; return its exit code."""
    chosen = arguments(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # Idle threads of OpenMP must sleep, not spin: on a machine that does anything else, spinning
    # made a small picture take 15 s instead of 0.13 s. Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if chosen.die_with_stdin:
        die_with(sys.stdin.buffer)
    try:
        # Taken out of the environment, so that nothing started from here has it.
        variable = os.environ.pop(TOKEN_VARIABLE, None)
        token = find_token(chosen.token, variable, chosen.listen)
    except TokenError as error:
        logger.error("%s", error)  # noqa: TRY400 - no traceback for a user
        return 2
    try:
        listener = listen(chosen.port, chosen.listen)
    except OSError as error:
        logger.error("port %s cannot be used: %s", chosen.port, error.strerror)  # noqa: TRY400 - no traceback for a user
        return 1
    paths = (chosen.models, chosen.output, chosen.input, chosen.temp)
    folders = Folders(*(path.absolute() for path in paths))
    folders.empty_temp()
    engine = EngineLoader(
        folders.models, partial_loras=chosen.partial_loras, vram_limit=chosen.vram_limit
    )
    parts, worker = build(folders, engine, previews=chosen.preview)
    worker.start()
    engine.start()
    serve(parts, listener, token)
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    # The worker may be inside a long computation; nothing of it needs an orderly end.
    os._exit(code)
