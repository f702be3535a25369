"""One host, spoken to over HTTP. The socket is :mod:`bridge.listener`'s.

Thread-safe. What an answer means is known here, and what its absence leaves open; how requests
travel is :mod:`bridge.connections`' part.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

from pydantic import ValidationError

from bridge import answers
from bridge.answers import HostFacts, HostQueue, ImageRef, Outcome, Verdict
from bridge.catalogue import Catalogue
from bridge.connections import Connections, NoAnswer, NotSent
from bridge.errors import HostDoubt, HostError, HostRefused, HostUnreachable
from bridge.exchange import Answer
from bridge.workflow import Workflow

Read = TypeVar("Read")

READ_TIMEOUT = 30.0  # seconds without a byte of an answer; a host busy loading a model is slow
# The same where asking again is cheap, so that a half-open connection is not waited out.
LOOK_TIMEOUT = 4.0
POST_TIMEOUT = 15.0  # over a new connection; the host validates before it answers
NOBODY = "-"  # no job is called so
_GARBAGE = (ValidationError, ValueError, AttributeError, LookupError, TypeError, RecursionError)


class Place(StrEnum):
    """Where a host has a job."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Finding:
    """What queue and history say of a job; ``outcome`` only when it ended."""

    place: Place
    outcome: Outcome | None = None


class HostClient:
    """A host's HTTP side.

    Args:
        url: base URL, without a trailing slash; use 127.0.0.1, not localhost, so that Host and
            Origin agree and IPv6 is not tried (mirrored networking has none).
        client_id: names our socket; the host sends a job's events to the id it was posted with.
        connect_timeout: seconds.
    """

    def __init__(self, url: str, client_id: str, connect_timeout: float = 1.5) -> None:
        self.url = url
        self.client_id = client_id
        try:
            self._http = Connections(url, connect_timeout)
        except ValueError as error:
            raise HostUnreachable(url, f"cannot be spoken to: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def submit(self, graph: Workflow, prompt_id: str, record: Mapping[str, Any]) -> None:
        """Queue a graph under our own id.

        Args:
            graph: the workflow.
            prompt_id: ours; ComfyUI takes it as it is and does not check for repeats.
            record: kept by the host beside the job, shown in its queue and history.

        Raises:
            HostRefused: validation failed; posting it again is useless.
            HostUnreachable: it did not arrive.
            HostDoubt: it may be in the queue; :meth:`locate` it before posting again.
        """
        body = {
            "prompt": graph,
            "prompt_id": prompt_id,
            "client_id": self.client_id,
            "extra_data": {"vulcan": dict(record)},
        }
        answer = self._post("/prompt", body)
        if answer.status in (400, 413):
            raise HostRefused(self.url, *answers.refusal(_refusal_body(answer)))
        if answer.status != 200:
            # ComfyUI answers 500 to some posts that it did queue (comfyui.md 0.6).
            status = answer.status
            raise HostDoubt(self.url, f"answered {status} to a job", status)
        self._accept(_json_object(answer), prompt_id)

    def locate(self, prompt_id: str) -> Finding:
        """Look for a job: in the queue first, then in history, as jobs move that way."""
        queue = self.queue()
        if prompt_id in queue.running:
            return Finding(Place.RUNNING)
        if prompt_id in queue.pending:
            return Finding(Place.PENDING)
        outcome = self.outcome(prompt_id)
        return Finding(Place.ENDED, outcome) if outcome else Finding(Place.NOWHERE)

    def queue(self) -> HostQueue:
        """Return the ids that wait and run."""
        return self._read("/queue", answers.queue, LOOK_TIMEOUT)

    def outcome(self, prompt_id: str) -> Outcome | None:
        """Return what became of a job; ``None`` while it has no history entry.

        An entry that cannot be read, or that the host itself cannot write (some node left there
        what is no JSON), is the job's trouble: asking again would give the same for ever.
        """
        path = f"/history/{quote(prompt_id, safe='')}"
        answer = self._get(path, LOOK_TIMEOUT)
        if answer.status == 500 and self._get(f"/history/{NOBODY}", LOOK_TIMEOUT).is_success:
            return Outcome(Verdict.ERROR, (), "the host answers 500 when asked about it")
        return self._understood(
            answer, path, lambda body: _outcome(body[prompt_id]) if prompt_id in body else None
        )

    def fetch(self, image: ImageRef) -> bytes | None:
        """Return a picture's bytes; ``None`` when the host does not have the file."""
        answer = self._get(f"/view?{urlencode(image.query())}", LOOK_TIMEOUT)
        return None if answer.status == 404 else self._checked(answer, "/view").content

    def facts(self) -> HostFacts:
        """Return version, system and device; the cheapest proof that this is a ComfyUI."""
        return self._read("/system_stats", answers.facts, LOOK_TIMEOUT)

    def choices(self, class_type: str, name: str) -> tuple[str, ...] | None:
        """Return what a node's combo input may be; ``None`` when the host lacks the node."""
        return self._read(
            f"/object_info/{quote(class_type, safe='')}",
            lambda body: Catalogue.read(body).choices(class_type, name),
        )

    def object_info(self) -> Catalogue:
        """Return all that the host offers: 320 kB of JSON on a plain ComfyUI, so ask once.

        Lists of model files are made anew at each call: a new file shows without a restart.
        """
        return self._read("/object_info", Catalogue.read)

    def upload(self, name: str, content: bytes, subfolder: str = "") -> str:
        """Put a picture into the host's input folder; repeating it is harmless.

        Nothing is overwritten: equal bytes under the same name are taken for the same file, and
        other bytes get a name of their own. So a job that reads its picture at this moment is
        never given half of another.

        Args:
            name: file name to ask for, without a folder.
            content: the file's bytes.
            subfolder: folder below ``input``, with forward slashes.

        Returns:
            The name to hand to ``LoadImage``, subfolder included.

        Raises:
            HostUnreachable: no answer; upload it again.
            HostError: the host did not take it.
        """
        body, kind = _multipart({"type": "input", "subfolder": subfolder}, name, content)
        try:
            answer = self._http.ask("POST", "/upload/image", READ_TIMEOUT, body, kind)
        except (NotSent, NoAnswer) as error:
            raise HostUnreachable(self.url, _no_answer(error)) from error
        if answer.status == 413:
            raise HostError(
                self.url,
                f"takes no file as large as {name} ({len(content)} bytes); start it with "
                "--max-upload-size, or use a smaller picture",
            )
        return self._uploaded(_json_object(self._checked(answer, f"/upload/image of {name}")))

    def free(self, unload_models: bool = True, free_memory: bool = True) -> None:
        """Have the host give memory back after the job at hand; repeating it is harmless.

        Args:
            unload_models: take the models out of the graphics card's memory.
            free_memory: drop the results that the host keeps of nodes, too.
        """
        wanted = {"unload_models": unload_models, "free_memory": free_memory}
        self._checked(self._post("/free", wanted), "/free")

    def interrupt(self, prompt_id: str) -> None:
        """Stop a job if it runs now; nothing happens otherwise."""
        self._checked(self._post("/interrupt", {"prompt_id": prompt_id}), "/interrupt")

    def cancel(self, prompt_id: str) -> None:
        """Take a job out of the queue if it still waits there."""
        self._checked(self._post("/queue", {"delete": [prompt_id]}), "/queue")

    def forget(self, prompt_id: str) -> None:
        """Delete a job's history entry, so that a new attempt's cannot be mistaken for it."""
        self._checked(self._post("/history", {"delete": [prompt_id]}), "/history")

    def _uploaded(self, body: Mapping[str, Any]) -> str:
        name, subfolder = body.get("name"), body.get("subfolder") or ""
        if not isinstance(name, str) or not name or not isinstance(subfolder, str):
            raise HostError(self.url, "POST /upload/image is not ComfyUI's answer: it has no name")
        return f"{subfolder}/{name}" if subfolder else name

    def _accept(self, body: Mapping[str, Any], prompt_id: str) -> None:
        if "prompt_id" not in body:
            raise HostDoubt(self.url, "answered a job with what is no ComfyUI's answer")
        if body["prompt_id"] != prompt_id:
            raise HostRefused(
                self.url,
                "gave the job an id of its own: it is too old; update it to ComfyUI 0.3.45",
            )
        if body.get("node_errors"):
            # One of several outputs was valid, so the host runs half of what was asked.
            self.cancel(prompt_id)
            self.interrupt(prompt_id)
            raise HostRefused(self.url, *answers.refusal(body))

    def _post(self, path: str, body: Mapping[str, Any]) -> Answer:
        try:
            timeout = min(POST_TIMEOUT, READ_TIMEOUT)
            return self._http.ask("POST", path, timeout, json.dumps(body).encode())
        except NotSent as error:
            raise HostUnreachable(self.url, _no_answer(error)) from error
        except NoAnswer as error:
            raise HostDoubt(self.url, f"no answer to POST {path} ({error})") from error

    def _get(self, path: str, timeout: float = READ_TIMEOUT) -> Answer:
        try:
            return self._http.ask("GET", path, min(timeout, READ_TIMEOUT))
        except (NotSent, NoAnswer) as error:
            raise HostUnreachable(self.url, _no_answer(error)) from error

    def _read(
        self, path: str, reader: Callable[[Any], Read], timeout: float = READ_TIMEOUT
    ) -> Read:
        return self._understood(self._get(path, timeout), path, reader)

    def _understood(self, answer: Answer, path: str, reader: Callable[[Any], Read]) -> Read:
        try:
            return reader(self._checked(answer, path).json())
        except _GARBAGE as error:
            raise HostError(self.url, f"GET {path} is not ComfyUI's answer: {error}") from error

    def _checked(self, answer: Answer, path: str) -> Answer:
        if answer.is_success:
            return answer
        raise HostError(self.url, f"answered {answer.status} to {path}")


def _no_answer(error: Exception) -> str:
    return f"does not answer ({error}); is ComfyUI running there?"


def _multipart(fields: Mapping[str, str], name: str, content: bytes) -> tuple[bytes, str]:
    """Return a form with one file, and its content type (RFC 7578)."""
    boundary = uuid.uuid4().hex
    quoted = name.replace("\\", "_").replace('"', "%22").replace("\r", "_").replace("\n", "_")
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{quoted}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = "".join(parts).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def _outcome(entry: Any) -> Outcome:
    try:
        return answers.outcome(entry)
    except ValidationError as error:
        (first, *_) = error.errors()
        where = ".".join(map(str, first["loc"]))
        why = f"the host's history of it cannot be read: {where}: {first['msg']}"
        return Outcome(Verdict.ERROR, (), why)


def _json_object(answer: Answer) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _refusal_body(answer: Answer) -> Mapping[str, Any]:
    return _json_object(answer) or {"error": answer.text[:500]}
