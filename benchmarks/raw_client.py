"""What the director is measured against: the shortest client one would write by hand.

POST, wait for the null node on the socket, GET history, GET view, write the file. It keeps no
journal, survives nothing and syncs nothing to the disk.
"""

import http.client
import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import websocket


class RawClient:
    """One connection and one socket to a host.

    Args:
        port: the host's, on 127.0.0.1.
        graph: posted again and again, each time with another seed and prefix.
        output: id of its output node.
        seeded: node and input that take the seed.
        folder: where pictures are written.
    """

    def __init__(
        self, port: int, graph: Any, output: str, seeded: tuple[str, str], folder: Path
    ) -> None:
        self._graph, self._output, self._seeded, self._folder = graph, output, seeded, folder
        self._client, self._seed = f"raw-{uuid.uuid4()}", 0
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}/ws?clientId={self._client}", timeout=30
        )

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._http.close()

    def one_after_the_other(self, count: int) -> None:
        """Make so many pictures, each posted when the one before is written."""
        for _ in range(count):
            job = self._post()
            self._wait_for({job})
            self._fetch(job)

    def all_up_front(self, count: int) -> None:
        """Queue so many, then fetch each as it ends."""
        waiting = {self._post() for _ in range(count)}
        while waiting:
            job = self._wait_for(waiting)
            waiting.remove(job)
            self._fetch(job)

    def _post(self) -> str:
        self._seed += 1
        job = str(uuid.uuid4())
        node, name = self._seeded
        self._graph[node]["inputs"][name] = self._seed
        self._graph[self._output]["inputs"]["filename_prefix"] = f"raw/{job}/img"
        body = {"prompt": self._graph, "prompt_id": job, "client_id": self._client}
        self._ask("POST", "/prompt", json.dumps(body))
        return job

    def _wait_for(self, jobs: set[str]) -> str:
        while True:
            frame = self._socket.recv()
            data = json.loads(frame)["data"] if isinstance(frame, str) else {}
            if data.get("prompt_id") in jobs and data.get("node", "") is None:
                return str(data["prompt_id"])

    def _fetch(self, job: str) -> None:
        entry = json.loads(self._ask("GET", f"/history/{job}"))[job]
        for image in entry["outputs"][self._output]["images"]:
            picture = self._ask("GET", f"/view?{urlencode(image)}")
            (self._folder / f"{job}.png").write_bytes(picture)

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        self._http.request(method, path, body)
        return self._http.getresponse().read()
