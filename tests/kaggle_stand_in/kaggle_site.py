"""What the stand-in knows: one user's data sets, uploads, Kaggle kernels and their runs."""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kaggle_stand_in.behaviour import Behaviour
from tests.kaggle_stand_in.process_tree import kill_tree

USER = "someone"
KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "KGAT_0123456789abcdef0123456789abcdef"

# (notebook, input, working) -> a started process; what it prints is the run's log.
Runner = Callable[[Path, Path, Path], "subprocess.Popen[str]"]


class Refused(Exception):  # noqa: N818 - names what happened
    """An HTTP status and Kaggle's words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


@dataclass(slots=True)
class Blob:
    """An upload on its way: it may come in several parts."""

    name: str
    length: int
    path: Path

    @property
    def received(self) -> int:
        return self.path.stat().st_size


@dataclass(slots=True)
class DataSet:
    """A data set; the newest version counts."""

    slug: str
    title: str
    private: bool
    versions: list[dict[str, Path]] = field(default_factory=list)
    asked: int = 0  # questions for its state since the newest version came


@dataclass(slots=True)
class Version:
    """One run of a Kaggle kernel."""

    number: int
    notebook: str
    request: dict[str, Any]
    working: Path
    state: str = "QUEUED"
    message: str = ""
    log: list[str] = field(default_factory=list)
    process: "subprocess.Popen[str] | None" = None
    keeps_output: bool = True
    preempted: bool = False

    @property
    def over(self) -> bool:
        return self.state in ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")

    def output(self) -> list[Path]:
        """The files of a run that is over, as Kaggle lists them."""
        if not self.over or not self.keeps_output:
            return []
        return sorted(path for path in self.working.rglob("*") if path.is_file())


@dataclass(slots=True)
class KaggleKernel:
    """A pushed notebook with its versions."""

    number: int
    slug: str
    title: str
    private: bool
    versions: list[Version] = field(default_factory=list)


class Site:
    """Kaggle, as far as one user sees it. Everything under one lock."""

    def __init__(self, folder: Path, runner: Runner | None = None) -> None:
        self.folder = folder
        self.runner = runner
        self.behaviour = Behaviour()
        self.lock = threading.RLock()
        self.blobs: dict[str, Blob] = {}
        self.datasets: dict[str, DataSet] = {}
        self.kernels: dict[str, KaggleKernel] = {}
        self.requests: list[str] = []  # "SaveKernel", "GET /output/..." in their order
        self.taken = 0  # bytes of uploads that arrived
        self.continued: list[int] = []  # bytes that a client had of an output when it came back
        self.outside_listing: dict[str, bytes] = {}  # names listed as output beside the files
        self._threads: list[threading.Thread] = []

    # Data sets

    def start_blob(self, name: str, length: int) -> str:
        token = f"blob-{len(self.blobs) + 1}"
        path = self.folder / "blobs" / token
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self.blobs[token] = Blob(name, length, path)
        return token

    def create_dataset(self, request: dict[str, Any]) -> None:
        slug, title = str(request["slug"]), str(request["title"])
        if slug in self.datasets:
            raise Refused(409, f'The requested title "{title}" is already in use by a dataset.')
        if not 6 <= len(slug) <= 50 or not 6 <= len(title) <= 50:
            raise Refused(400, "Titles and slugs have 6 to 50 characters")
        made = DataSet(slug, title, bool(request.get("isPrivate")))
        self.datasets[slug] = made
        self._add_version(made, request["files"])

    def new_dataset_version(self, slug: str, body: dict[str, Any]) -> None:
        made = self.dataset(slug)
        if body.get("deleteOldVersions"):
            made.versions.clear()
        self._add_version(made, body["files"])

    def dataset(self, slug: str) -> DataSet:
        if slug not in self.datasets:
            raise Refused(403, "Permission 'datasets.get' was denied")
        return self.datasets[slug]

    def dataset_status(self, slug: str) -> str:
        made = self.dataset(slug)
        made.asked += 1
        if self.behaviour.processing_fails:
            return "FAILED"
        return "READY" if made.asked > self.behaviour.processing else "BLOBS_RECEIVED"

    def is_ready(self, made: DataSet) -> bool:
        return made.asked > self.behaviour.processing and not self.behaviour.processing_fails

    def _add_version(self, made: DataSet, files: list[dict[str, Any]]) -> None:
        blobs = [self.blobs[str(file["token"])] for file in files]
        for blob in blobs:
            assert blob.received == blob.length, f"{blob.name} is not whole"
        made.versions.append({blob.name: blob.path for blob in blobs})
        made.asked = 0

    # Kaggle kernels

    def save_kernel(self, request: dict[str, Any]) -> dict[str, Any]:
        slug = str(request["slug"]).split("/")[1]
        if error := self._refusal(request, slug):
            return {"error": error}
        kernel = self.kernels.get(slug)
        if kernel is None:
            kernel = KaggleKernel(
                len(self.kernels) + 1, slug, str(request["newTitle"]), bool(request["isPrivate"])
            )
            self.kernels[slug] = kernel
        number = len(kernel.versions) + 1
        working = self.folder / "runs" / slug / str(number) / "working"
        working.mkdir(parents=True)
        version = Version(number, str(request["text"]), request, working)
        missing = [
            source
            for source in request.get("datasetDataSources", [])
            if not self._can_mount(str(source))
        ]
        kernel.versions.append(version)
        self._begin(kernel, version)
        return {
            "ref": f"/{USER}/{slug}",
            "url": f"https://www.kaggle.com/code/{USER}/{slug}",
            "versionNumber": number,
            "kernelId": kernel.number,
            "invalidDatasetSources": missing,
        }

    def _can_mount(self, source: str) -> bool:
        made = self.datasets.get(source.partition("/")[2])
        return made is not None and self.is_ready(made)

    def _refusal(self, request: dict[str, Any], slug: str) -> str:
        title = str(request.get("newTitle", ""))
        if re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") != slug:
            return "The requested title does not match the slug."
        if not request.get("enableGpu"):
            return ""
        behaviour = self.behaviour
        if not behaviour.phone_verified:
            return "Phone verification is required to use GPUs."
        if behaviour.gpu_hours_used >= behaviour.gpu_hours:
            return f"Maximum weekly GPU quota of {behaviour.gpu_hours:.2f} hours has been reached."
        running = [v for k in self.kernels.values() for v in k.versions if not v.over]
        if len(running) >= behaviour.most_sessions:
            return f"Maximum batch GPU session count of {behaviour.most_sessions} reached."
        return ""

    def kernel(self, slug: str) -> KaggleKernel:
        if slug not in self.kernels:
            raise Refused(403, "Permission 'kernels.get' was denied")
        return self.kernels[slug]

    # Runs

    def finish(
        self,
        slug: str,
        state: str = "COMPLETE",
        outputs: dict[str, bytes] | None = None,
        log: list[str] | None = None,
        message: str = "",
    ) -> None:
        """End a run by hand: what it wrote, what it printed and how it ended."""
        with self.lock:
            version = self.kernel(slug).versions[-1]
            for name, content in (outputs or {}).items():
                path = version.working / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            version.log += log or []
            version.state, version.message = state, message

    def cancel(self, slug: str) -> None:
        """Do what the site's "Cancel Run" does."""
        with self.lock:
            version = self.kernel(slug).versions[-1]
            version.state = "CANCEL_ACKNOWLEDGED"
            version.message = "Your notebook was stopped."
        if version.process is not None:
            kill_tree(version.process.pid)

    def preempt(self, slug: str) -> None:
        """Take a run's machine away now."""
        with self.lock:
            version = self.kernel(slug).versions[-1]
            version.preempted = True
        assert version.process is not None
        kill_tree(version.process.pid)

    def close(self) -> None:
        for kernel in self.kernels.values():
            for version in kernel.versions:
                if version.process is not None:
                    kill_tree(version.process.pid)
        for thread in self._threads:
            thread.join(10)

    def _begin(self, kernel: KaggleKernel, version: Version) -> None:
        if self.runner is None:
            version.state = "RUNNING"
            return
        thread = threading.Thread(target=self._run, args=(kernel, version, self.runner))
        self._threads.append(thread)
        thread.start()

    def _run(self, kernel: KaggleKernel, version: Version, runner: Runner) -> None:
        notebook = version.working.parent / "notebook.ipynb"
        notebook.write_text(version.notebook, encoding="utf-8")
        with self.lock:
            inputs = self._mount(kernel, version)
            process = version.process = runner(notebook, inputs, version.working)
            version.state = "RUNNING"
        reading = threading.Thread(target=self._read_log, args=(version, process))
        reading.start()
        ended = self._wait(version, process)
        if not ended:
            kill_tree(process.pid)
        code = process.wait()
        reading.join()
        with self.lock:
            if version.state == "RUNNING":
                self._end(version, code, from_outside=version.preempted or not ended)

    def _wait(self, version: Version, process: "subprocess.Popen[str]") -> bool:
        """Wait for a run; False where it is to be ended from outside."""
        limits = [self.behaviour.preempt_after, version.request.get("sessionTimeoutSeconds")]
        told = [float(limit) for limit in limits if limit is not None]
        try:
            process.wait(min(told) if told else None)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _end(self, version: Version, code: int, *, from_outside: bool) -> None:
        if from_outside:
            version.state = self.behaviour.preempt_as
            version.message = "Your notebook was stopped because it exceeded the max allowed time."
            version.keeps_output = self.behaviour.keeps_output
        else:
            version.state = "ERROR" if code else "COMPLETE"

    def _read_log(self, version: Version, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            version.log.append(line)
        process.stdout.close()

    def _mount(self, kernel: KaggleKernel, version: Version) -> Path:
        """Lay out ``/kaggle/input``: copies, as a run could write to links."""
        inputs = version.working.parent / "input"
        inputs.mkdir()
        for source in version.request.get("datasetDataSources", []):
            slug = str(source).partition("/")[2]
            if self._can_mount(str(source)):
                (inputs / slug).mkdir()
                for name, path in self.datasets[slug].versions[-1].items():
                    shutil.copyfile(path, inputs / slug / name)
        for source in version.request.get("kernelDataSources", []):
            self._mount_output(str(source).partition("/")[2], inputs)
        return inputs

    def _mount_output(self, slug: str, inputs: Path) -> None:
        """The newest output that a Kaggle kernel has: of the version that ended last."""
        over = [v for v in self.kernel(slug).versions if v.over and v.keeps_output]
        (inputs / slug).mkdir(exist_ok=True)
        for path in over[-1].output() if over else []:
            target = inputs / slug / path.relative_to(over[-1].working)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    def wait_over(self, slug: str, seconds: float = 30.0) -> Version:
        """Wait until the newest version is over."""
        return self._wait_until(slug, lambda version: version.over, seconds)

    def wait_running(self, slug: str, seconds: float = 30.0) -> Version:
        """Wait until the newest version runs."""
        return self._wait_until(slug, lambda version: version.state == "RUNNING", seconds)

    def _wait_until(self, slug: str, holds: Callable[[Version], bool], seconds: float) -> Version:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.lock:
                version = self.kernel(slug).versions[-1]
                if holds(version):
                    return version
            time.sleep(0.01)
        raise AssertionError(f"not within {seconds} s: it is {version.state}")
