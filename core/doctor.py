"""The doctor: which checks there are, run side by side, with an end to all patience.

A check that hangs (a dead network drive) or fails is a finding of its own, and never holds or
ends the others. What each looks at is in the modules it calls; how it is shown,
:mod:`core.doctor_report`'s.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from bridge import (
    background,
    discovery,
    doctor_candidates,
    doctor_host,
    doctor_network,
    workflow,
    workflow_files,
)
from bridge import wsl as bridge_wsl
from bridge.client import HostClient
from bridge.discovery import Probe
from bridge.doctor_candidates import Search
from bridge.errors import BridgeError
from bridge.finding import Finding, Level, fine, note, problem, warning
from bridge.request import LoraChoice, Request
from bridge.surroundings import Surroundings, decoded
from bridge.workflow import Workflow
from configs.settings import ROOT, Settings
from core import (
    doctor_folders,
    doctor_models,
    doctor_speed,
    doctor_system,
    doctor_watcher,
    native,
    prepare,
)
from core.doctor_folders import MB, Place
from models.store import Folder

AUTO, EMBEDDED = "auto", "embedded"
PROBE_PATIENCE = 4.0  # seconds for all hosts together
PATIENCE = 9.0  # seconds for everything


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at.

    Attributes:
        name: group of its findings.
        work: yields them.
    """

    name: str
    work: Callable[[], Iterable[Finding]]


@dataclass(slots=True)
class _Running:
    """A check on its way; ``found`` grows while it runs."""

    check: Check
    found: list[Finding] = field(default_factory=list)
    ended: "Future[None] | None" = None

    def start(self) -> None:
        self.ended = background.begin(self._collect, f"doctor {self.check.name}")

    def _collect(self) -> None:
        for finding in self.check.work():
            self.found.append(finding)


def examine(checks: Sequence[Check], patience: float = PATIENCE) -> list[Finding]:
    """Run all checks side by side and return what they found, in the order of the checks."""
    running = [_Running(check) for check in checks]
    for one in running:
        one.start()
    end = time.monotonic() + patience
    found: list[Finding] = []
    for one in running:
        found += _outcome(one, end - time.monotonic(), patience)
    return found


def _outcome(one: _Running, left: float, patience: float) -> list[Finding]:
    assert one.ended is not None  # noqa: S101 - it was started
    name = f"{one.check.name}.check"
    try:
        one.ended.result(max(0.0, left))
    except TimeoutError:
        why = "a disk or a network drive may not answer; jobs would hang there, too"
        what = f"not finished within {patience:g} s"
        return [*one.found, warning(name, what, why, "look at the mounts: cat /proc/self/mounts")]
    except Exception as error:  # noqa: BLE001 - a check that fails must not end the doctor
        what = f"the check itself failed: {type(error).__name__}: {error}"
        return [*one.found, problem(name, what, "what it would have found is not known", _REPORT)]
    return one.found


_REPORT = "if you see no reason for it, report it with the output of: director.py doctor --json"


def checks_without_settings(surroundings: Surroundings) -> list[Check]:
    """Return what can be looked at when the settings cannot be read."""
    return [
        Check("system", lambda: system(surroundings)),
        Check("wsl", lambda: doctor_network.findings(bridge_wsl.inspect(surroundings))),
    ]


def checks(settings: Settings, surroundings: Surroundings) -> list[Check]:
    """Return everything that can be looked at."""
    return [
        Check("system", lambda: [*system(surroundings), *_director(settings, surroundings)]),
        Check("host", lambda: hosts(settings, surroundings)),
        Check("models", lambda: doctor_models.findings(settings)),
        *(_folder_check(place) for place in places(settings)),
        Check("inbox", lambda: doctor_watcher.findings(settings.folders.inbox)),
        Check("disk", lambda: _speed(settings)),
    ]


def system(surroundings: Surroundings) -> Iterator[Finding]:
    """Look at the process's own ground."""
    yield doctor_system.python(sys.version_info[:3])
    yield from doctor_system.packages(ROOT / "requirements.txt")
    yield doctor_system.open_files(resource.getrlimit(resource.RLIMIT_NOFILE))
    yield doctor_system.clock(time.time(), Path(__file__).stat().st_mtime)


def _director(settings: Settings, surroundings: Surroundings) -> Iterator[Finding]:
    locks = decoded(surroundings.read("/proc/locks"))
    yield from doctor_system.other_director(settings.state, locks)


def places(settings: Settings) -> list[Place]:
    """Return the folders and what is asked of each."""
    folders = settings.folders
    complete = prepare.unet_path(settings).is_file()
    source = prepare.source_file(settings)
    to_write = 0 if complete or not source.is_file() else source.stat().st_size // 3
    return [
        Place("state", settings.state, wanted=200 * MB, needed=20 * MB, local=True),
        Place("folders.inbox", folders.inbox, wanted=50 * MB, needed=MB),
        Place("folders.outbox", folders.outbox, wanted=1024 * MB, needed=50 * MB),
        Place("folders.models", folders.models, not complete, wanted=to_write, needed=to_write),
    ]


def _folder_check(place: Place) -> Check:
    return Check("folder", lambda: doctor_folders.findings(place))


def _speed(settings: Settings) -> Iterator[Finding]:
    source = prepare.source_file(settings)
    unet = prepare.unet_path(settings)
    yield from doctor_speed.reading(unet if unet.is_file() else source, time.monotonic)
    yield from doctor_speed.writing(settings.folders.outbox, time.monotonic)


def hosts(settings: Settings, surroundings: Surroundings) -> Iterator[Finding]:
    """Look at WSL's network, the hosts behind it, and what the chosen one offers."""
    networking = bridge_wsl.inspect(surroundings)
    yield from doctor_network.findings(networking)
    graph = _filled(settings)
    if isinstance(graph, Finding):
        yield graph
    else:
        yield fine("workflow.template", f"{settings.defaults.workflow} can be filled")
    if settings.host.use == (EMBEDDED,):
        yield note("host.choice", "host.use is embedded: no ComfyUI was looked for")
        return
    named = settings.host.use != (AUTO,)
    listed = tuple(host for host in settings.host.use if host != EMBEDDED)
    asked = listed if named else settings.host.candidates
    urls = asked if named else discovery.candidates(asked, networking)
    unet = _unet(settings)
    probes = discovery.survey(urls, unet, settings.host.connect_timeout, PROBE_PATIENCE)
    yield from doctor_candidates.findings(probes, Search(unet, named, networking))
    met = [probe for probe in probes if probe.facts]
    if met:
        best = next((probe for probe in met if probe.usable), met[0])
        about = _offer(best, None if isinstance(graph, Finding) else graph, settings)
        yield from about if best.usable or named else map(_no_hindrance, about)


def _no_hindrance(finding: Finding) -> Finding:
    """Soften what is said of a host that the director would not take."""
    is_problem = finding.level is Level.PROBLEM
    return replace(finding, level=Level.WARNING) if is_problem else finding


def _offer(probe: Probe, graph: Workflow | None, settings: Settings) -> Iterator[Finding]:
    """Look at one host that answered."""
    assert probe.facts is not None  # noqa: S101 - only those are asked
    yield doctor_host.version(probe.facts)
    yield doctor_host.graphics_memory(probe.facts)
    yield from doctor_host.memory(probe.facts, doctor_models.wanted_memory(settings))
    yield from doctor_host.clock(probe.date, time.time())
    with HostClient(probe.url, "vulcan-doctor", settings.host.connect_timeout) as client:
        try:
            catalogue = client.object_info()
        except BridgeError as error:
            why = "what it offers is not known"
            yield problem("host.offer", str(error), why, "restart it, and look at what it prints")
            return
    if graph is not None:
        told = "" if probe.usable else discovery.UNET_LOADER
        yield from doctor_host.graph(graph, catalogue, told)


def _filled(settings: Settings) -> Workflow | Finding:
    """Return the default workflow, filled as for a job, or what is wrong with it."""
    name = settings.defaults.workflow
    try:
        template = workflow_files.named(settings.folders.workflows, name)
        return workflow.build(template, _request(settings), "vulcan-doctor")
    except BridgeError as error:
        why = "every job that uses it fails"
        return problem("workflow.template", str(error), why, "name another one with --workflow")


def _unet(settings: Settings) -> str:
    unets = settings.folders.models / Folder.UNET
    return prepare.listed_name(prepare.unet_path(settings), unets)


def _request(settings: Settings) -> Request:
    """Return what a prompt file that says nothing but its prompt asks for."""
    usual, lora = settings.defaults, prepare.usual_lora(settings)
    return Request(
        prompt="a test",
        negative="",
        width=usual.width or native.FULL_SIZE.width,
        height=usual.height or native.FULL_SIZE.height,
        steps=usual.steps or native.FULL_SIZE.steps,
        guidance=usual.guidance,
        cfg=usual.cfg,
        seed=0,
        loras=(LoraChoice(lora, settings.lora.strength),) if lora else (),
        workflow=usual.workflow,
        unet=_unet(settings),
        text_encoders=prepare.text_encoders(settings),
        vae=prepare.vae(settings),
    )
