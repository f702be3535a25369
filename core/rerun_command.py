"""``director.py rerun``: make pictures again, and say what differs from when they were made."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs import settings as configs
from configs.settings import ROOT, Settings
from core import original, rerun
from core.comparison import Finding, Verdict
from core.original import Original
from core.record import RecordError
from core.rerun import RerunError, Result
from models import store

EXIT_SAME, EXIT_DIFFERS = 0, 1
_FOLDERS = ("inbox", "outbox", "models")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A picture on its way: what was found before, and its prompt file's name."""

    picture: Original
    findings: Sequence[Finding]
    name: str


def run(arguments: argparse.Namespace) -> int:
    """Make each picture again and compare; one that cannot be made does not stop the others.

    Returns:
        0 when every picture came out identical, else 1.

    Raises:
        ConfigError, OSError
    """
    settings = configs.load(arguments.config, _flags(arguments))
    say = _Say(arguments.json)
    asked = [found for path in arguments.images if (found := _ask(path, arguments, settings, say))]
    try:
        if asked:
            rerun.wait([a.name for a in asked], settings, lambda: _start_director(arguments))
    except RerunError as error:
        say.failed(error)  # those that were made are compared all the same
    results = [_judge(one, arguments.out, settings, say) for one in asked]
    made = len(results) == len(arguments.images) and all(results)
    return EXIT_SAME if made else EXIT_DIFFERS


def _flags(arguments: argparse.Namespace) -> dict[str, Any]:
    folders = {name: _absolute(getattr(arguments, name)) for name in _FOLDERS}
    return {"host": {"use": arguments.host}, "folders": folders}


def _absolute(path: Path | None) -> str | None:
    return str(path.resolve()) if path else None


def _ask(
    path: Path, arguments: argparse.Namespace, settings: Settings, say: "_Say"
) -> _Asked | None:
    """Look at a picture and ask for it again, unless it would not be the same picture."""
    try:
        picture = original.load(path)
        findings = rerun.look(picture, settings)
        say.findings(path, findings)
        stopping = [finding for finding in findings if finding.stops]
        if stopping and not arguments.anyway:
            say.failed(RerunError(_not_the_same(path, stopping)))
            return None
        name = rerun.ask(picture, settings)
        say.asked(settings.folders.inbox / name)
        return _Asked(picture, findings, name)
    except (RecordError, RerunError) as error:
        say.failed(error)
        return None


def _not_the_same(path: Path, stopping: Sequence[Finding]) -> str:
    told = "; ".join(f"{finding.what} {finding.verdict}" for finding in stopping)
    return (
        f"{path}: not made again: {told}. Put back what it was made with, or say --anyway to see "
        "what comes out"
    )


def _judge(asked: _Asked, out: Path | None, settings: Settings, say: "_Say") -> bool:
    try:
        result = rerun.judge(asked.picture, asked.name, asked.findings, settings)
    except RerunError as error:
        say.failed(error)
        return False
    if out:
        # A copy: the journal says that the picture is in the outbox, and there it stays.
        copy = out.resolve() / result.path.name
        store.atomic_write(copy, result.path.read_bytes())
        result = replace(result, path=copy)
    say.result(result)
    return result.difference.identical


def _start_director(arguments: argparse.Namespace) -> int:
    """Run a director until the inbox is worked off, with the same settings as ours."""
    given = {"host": arguments.host, "config": _absolute(arguments.config)}
    given |= {name: _absolute(getattr(arguments, name)) for name in _FOLDERS}
    flags = [f"--{name}={value}" for name, value in given.items() if value]
    command = [sys.executable, str(ROOT / "core" / "director.py"), "run", "--once", *flags]
    # What it says goes beside our own answers, not among them.
    with subprocess.Popen(command, stdout=sys.stderr) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.wait()  # it heard Ctrl-C as well, and finishes its running job
            raise


class _Say:
    """Tells the user, in lines or in JSON, one object a line."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def findings(self, path: Path, findings: Sequence[Finding]) -> None:
        if not self._as_json:
            print(path)
            _print_findings(findings)

    def asked(self, file: Path) -> None:
        if not self._as_json:
            print(f"  asked for as {file}", flush=True)

    def result(self, result: Result) -> None:
        if self._as_json:
            print(json.dumps(_entry(result)), flush=True)
            return
        told = [f for f in result.findings if f.verdict is not Verdict.SAME]
        print(f"{result.original} -> {result.path}\n  pixels: {result.difference}")
        if not result.difference.identical:
            _print_findings(told)
            print(f"  likely cause: {rerun.causes(result)}")

    def failed(self, error: Exception) -> None:
        if self._as_json:
            print(json.dumps({"event": "failed", "error": str(error)}), flush=True)
        else:
            print(f"rerun: {error}", file=sys.stderr)


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        print(f"  {finding}", flush=True)


def _entry(result: Result) -> dict[str, Any]:
    difference = result.difference
    return {
        "event": "compared",
        "original": str(result.original),
        "picture": str(result.path),
        "identical": difference.identical,
        "psnr": difference.psnr,
        "largest_difference": difference.largest,
        "share_of_pixels": difference.share,
        "note": difference.note,
        "likely_cause": None if difference.identical else rerun.causes(result),
        "findings": [
            {"what": f.what, "verdict": f.verdict, "then": f.then, "now": f.now}
            for f in result.findings
        ],
    }
