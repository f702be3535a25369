"""The embedded host under load: ``python -m benchmarks.host_load [--jobs 500] [--seconds 20]``.

The clients queue jobs and follow them on their sockets, while one more client never reads, but is
sent pictures, and another hangs up and comes back every second. It is then counted which jobs were
lost, which frames came to the wrong client, and how much memory the host has at the beginning, in
the middle and in the end. Says so and ends with 1 if anything was lost or astray.
"""

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websocket

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0  # seconds without a message after which a client gives up


@dataclass
class Count:
    """What one client saw."""

    client: str
    posted: set[str] = field(default_factory=set)
    executed: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    astray: int = 0
    failure: str = ""


def post(port: int, path: str, body: Any, *, empty: bool = False) -> Any:
    """Send a request on a connection of its own; return the answer's JSON, unless it is empty."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST" if body is not None else "GET", path, json.dumps(body))
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise ValueError(f"{path} was answered {answer.status}: {content[:200]!r}")
        return None if empty else json.loads(content)
    finally:
        connection.close()


def graph(color: int, prefix: str) -> dict[str, Any]:
    """Return EmptyImage -> SaveImage."""
    image = {"width": 64, "height": 64, "batch_size": 1, "color": color & 0xFFFFFF}
    save = {"images": ["1", 0], "filename_prefix": prefix}
    return {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "9": {"class_type": "SaveImage", "inputs": save},
    }


def follow(port: int, jobs: int, seconds: float, count: Count) -> None:
    """Queue ``jobs`` jobs over ``seconds`` and watch them end; what is seen goes into ``count``."""
    url = f"ws://127.0.0.1:{port}/ws?clientId={count.client}"
    connection = websocket.create_connection(url, timeout=PATIENCE)
    try:
        for number in range(jobs):
            job = str(uuid.uuid4())
            count.posted.add(job)
            color = hash(job) & 0xFFFFFF
            body = {"prompt": graph(color, f"load/{job}"), "prompt_id": job}
            post(port, "/prompt", {**body, "client_id": count.client})
            if number % 8 == 7:  # some are in the queue at any time, not all
                watch(connection, count, at_most=4)
                time.sleep(seconds * 8 / jobs)
        watch(connection, count, at_most=0)
    except (OSError, ValueError, websocket.WebSocketException) as error:
        count.failure = repr(error)
    finally:
        connection.close()


def watch(connection: websocket.WebSocket, count: Count, at_most: int) -> None:
    """Read messages until no more than ``at_most`` jobs of this client are open."""
    while len(count.posted) - len(count.ended) > at_most:
        frame = connection.recv()
        if not isinstance(frame, str):
            count.astray += 1
            continue
        message = json.loads(frame)
        data = message["data"]
        job = data.get("prompt_id")
        if job is not None and job not in count.posted:
            count.astray += 1
        elif message["type"] == "executed":
            count.executed[job] = data["output"]["images"][0]["filename"]
        elif message["type"] == "executing" and data["node"] is None:
            count.ended.add(job)


def never_read(port: int, stop: threading.Event) -> None:
    """Open a socket, queue large pictures for it, and read nothing."""
    with socket.create_connection(("127.0.0.1", port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(
            b"GET /ws?clientId=deaf HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        number = 0
        while not stop.wait(1.0):
            number += 1
            one = graph(number, "deaf/x")
            one["1"]["inputs"] |= {"width": 1024, "height": 1024}
            one["9"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
            with suppress(OSError, ValueError):
                post(port, "/prompt", {"prompt": one, "client_id": "deaf"})


def come_and_go(port: int, stop: threading.Event, count: Count) -> None:
    """Come back every second under the same id, with a job each time."""
    url = f"ws://127.0.0.1:{port}/ws?clientId={count.client}"
    while not stop.is_set():
        connection = websocket.create_connection(url, timeout=5)
        job = str(uuid.uuid4())
        count.posted.add(job)
        body = {"prompt": graph(len(count.posted), f"restless/{job}"), "prompt_id": job}
        post(port, "/prompt", {**body, "client_id": count.client})
        stop.wait(1.0)
        connection.close()


def memory(pid: int) -> float:
    """Return a process's resident memory in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@contextmanager
def host(root: Path) -> Iterator[tuple[int, int]]:
    """Run a host; give its port and process id."""
    folders = [f"--{name}={root / name}" for name in ("models", "output", "input", "temp")]
    command = [sys.executable, "-m", "host", "--port=0", "--die-with-stdin", *folders]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as child:  # type: ignore[call-overload] # pipes is not seen through
        line = json.loads(child.stdout.readline())
        try:
            yield int(line["url"].rpartition(":")[2]), child.pid
        finally:
            child.stdin.close()


def settled(port: int, pid: int) -> float:
    """Return the memory once torch has been loaded and nothing runs."""
    post(port, "/prompt", {"prompt": graph(0, "first/x")})
    before = -1.0
    while abs(memory(pid) - before) > 1 or post(port, "/prompt", None)["exec_info"] != {
        "queue_remaining": 0
    }:
        before = memory(pid)
        time.sleep(3.0)
    return memory(pid)


def load(
    port: int, pid: int, clients: int, jobs: int, seconds: float
) -> tuple[list[Count], Count, list[float]]:
    """Do it; return what the clients saw, what the restless one posted, and the memory."""
    counts = [Count(f"client-{number}") for number in range(clients)]
    restless, stop = Count("restless"), threading.Event()
    sizes = [settled(port, pid)]
    beside = [
        threading.Thread(target=never_read, args=(port, stop)),
        threading.Thread(target=come_and_go, args=(port, stop, restless)),
    ]
    shares = [jobs // clients + (number < jobs % clients) for number in range(clients)]
    work = [
        threading.Thread(target=follow, args=(port, share, seconds, count))
        for share, count in zip(shares, counts, strict=True)
    ]
    for thread in (*beside, *work):
        thread.start()
    sizes += sampled(work, pid, seconds)
    stop.set()
    for thread in beside:
        thread.join()
    return counts, restless, [*sizes, settled(port, pid)]


def sampled(work: list[threading.Thread], pid: int, seconds: float) -> list[float]:
    """Wait for all; return the memory meanwhile, at five moments."""
    sizes = []
    while any(thread.is_alive() for thread in work):
        time.sleep(seconds / 5)
        sizes.append(memory(pid))
    for thread in work:
        thread.join()
    return sizes


def lost_of(port: int, counts: list[Count]) -> list[str]:
    """Return the jobs that did not end well, or whose picture is another job's."""
    lost = []
    for count in counts:
        for job in count.posted:
            entry = post(port, f"/history/{job}", None).get(job)
            images = entry["outputs"]["9"]["images"] if entry and entry["outputs"] else []
            good = entry is not None and entry["status"]["completed"] and len(images) == 1
            own = good and images[0]["filename"].startswith(job)
            said = count.executed.get(job, images[0]["filename"] if good else "")
            if not own or said != images[0]["filename"]:
                lost.append(job)
    return lost


def main(argv: list[str]) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.host_load")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="least time it takes")
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as root, host(Path(root)) as (port, pid):
        begun = time.monotonic()
        counts, restless, sizes = load(port, pid, chosen.clients, chosen.jobs, chosen.seconds)
        took = time.monotonic() - begun
        lost = lost_of(port, [*counts, restless])
        unseen = sum(len(count.posted - count.ended) for count in counts)
        astray = sum(count.astray for count in counts)
        failures = [count.failure for count in counts if count.failure]
    print(f"{chosen.jobs} jobs of {chosen.clients} clients, {len(restless.posted)} of the restless")
    print(f"took {took:.1f} s; lost {len(lost)}; end not seen {unseen}; frames astray {astray}")
    print("host's memory in MiB: " + ", ".join(f"{size:.0f}" for size in sizes))
    for failure in failures:
        print(f"a client failed: {failure}")
    return int(bool(lost or unseen or astray or failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
