"""What a picture was made with, against what is here now, item by item. Pure.

Two looks: before rendering, at the files that would be used; and after it, at the record of the
new picture, which also knows the host. Which file lies where is the caller's part.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from bridge.request import Request
from core.provenance import VERSION, Hashes
from core.record import Record

# Fields that say how a request came about, not what it is.
_ABOUT = ("template", "cell", "asked", "pair")
_SHOWN = 12  # digits of a hash that a reader compares


class Verdict(StrEnum):
    """How an item of then compares with now."""

    SAME = "same"
    DIFFERS = "differs"
    MISSING = "missing here"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One item.

    Attributes:
        what: the item, as a reader names it: "unet flux1-dev-Q4_K_S.gguf".
        verdict: how it compares.
        then: value when the picture was made; empty when it was not recorded.
        now: value here; empty when there is none.
        stops: whether rendering anyway makes little sense.
    """

    what: str
    verdict: Verdict
    then: str
    now: str
    stops: bool = False

    def __str__(self) -> str:
        told = f"{self.verdict:12}  {self.what}"
        if self.verdict is Verdict.DIFFERS:
            return f"{told}: then {self.then}, now {self.now}"
        if self.verdict is Verdict.UNKNOWN:
            return f"{told}: " + ("not recorded" if not self.then else "not told by the host")
        return told


@dataclass(frozen=True, slots=True)
class Here:
    """Hashes of what would be used now; empty for what is not here.

    Attributes:
        hashes: of the current unet, and of the files that the record names.
        workflow: of the template that the record names.
    """

    hashes: Hashes
    workflow: str


def with_files(record: Record, here: Here) -> list[Finding]:
    """Compare with the files that would be used."""
    request, then = record.request, record.provenance
    found = [_file(f"unet {request.unet}", then.hashes.unet, here.hashes.unet, vital=True)]
    for lora in request.loras:
        known = then.hashes.loras.get(lora.file, "")
        now = here.hashes.loras.get(lora.file, "")
        found.append(_file(f"lora {lora.file}", known, now, vital=True))
    for name in request.text_encoders:
        known, now = (at.text_encoders.get(name, "") for at in (then.hashes, here.hashes))
        found.append(_file(f"text encoder {name}", known, now))
    known, now = (at.vae.get(request.vae, "") for at in (then.hashes, here.hashes))
    found.append(_file(f"vae {request.vae}", known, now))
    workflow = _file(f"workflow {request.workflow}", then.workflow_sha256, here.workflow)
    missing = workflow.verdict is Verdict.MISSING
    return [*found, _stopping(workflow) if missing else workflow]


def with_record(then: Record, now: Record) -> list[Finding]:
    """Compare with the picture that was made again: its request, files, host and software."""
    before, after = then.provenance, now.provenance
    return [
        *_requests(then.request, now.request),
        _value(f"unet {then.request.unet}", _short(before.hashes.unet), _short(after.hashes.unet)),
        *_table("lora", before.hashes.loras, after.hashes.loras),
        *_table("text encoder", before.hashes.text_encoders, after.hashes.text_encoders),
        *_table("vae", before.hashes.vae, after.hashes.vae),
        _value(
            f"workflow {then.request.workflow}",
            _short(before.workflow_sha256),
            _short(after.workflow_sha256),
        ),
        _value("host", before.host, after.host),
        *(
            _value(name, before.software.get(name, ""), after.software.get(name, ""))
            for name in ("pytorch", "device", "os", "python")
        ),
        _value("Vulcan", then.vulcan, now.vulcan or VERSION),
    ]


def merged(before: Sequence[Finding], after: Sequence[Finding]) -> list[Finding]:
    """Put both looks together; what the new picture says counts, where it says something."""
    told = {f.what: f for f in before}
    for finding in after:
        if finding.verdict is not Verdict.UNKNOWN or finding.what not in told:
            told[finding.what] = finding
    return list(told.values())


def causes(findings: Sequence[Finding]) -> list[str]:
    """Return what differs, the likeliest cause of other pixels first."""
    return [f.what for f in findings if f.verdict in (Verdict.DIFFERS, Verdict.MISSING)]


def _requests(then: Request, now: Request) -> Iterator[Finding]:
    """Yield the settings of the request that did not come out as they were."""
    for field in fields(Request):
        if field.name not in _ABOUT:
            before, after = (_told(getattr(request, field.name)) for request in (then, now))
            if before != after:
                yield Finding(field.name, Verdict.DIFFERS, before, after)


def _told(value: Any) -> str:
    return value.sha256 if hasattr(value, "sha256") else repr(value)


def _table(what: str, then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Finding]:
    for name in {**then, **now}:
        yield _value(f"{what} {name}", _short(then.get(name, "")), _short(now.get(name, "")))


def _file(what: str, then: str, now: str, vital: bool = False) -> Finding:
    """Compare a file; one that is not here is missing, even if its hash was never recorded."""
    if not now:
        return Finding(what, Verdict.MISSING, _short(then), "", stops=vital)
    finding = _value(what, _short(then), _short(now))
    return _stopping(finding) if vital and finding.verdict is Verdict.DIFFERS else finding


def _stopping(finding: Finding) -> Finding:
    return Finding(finding.what, finding.verdict, finding.then, finding.now, stops=True)


def _value(what: str, then: str, now: str) -> Finding:
    if not then or not now:
        return Finding(what, Verdict.UNKNOWN, then, now)
    return Finding(what, Verdict.SAME if then == now else Verdict.DIFFERS, then, now)


def _short(digest: str) -> str:
    return digest[:_SHOWN]
