import io
import json

from rich.console import Console

from bridge.finding import fine, note, problem, warning
from core import doctor_report

FINDINGS = [
    fine("host.version", "ComfyUI 0.3.64"),
    problem("folder.outbox", "no room " + "x" * 100, "pictures are lost", "make room"),
    note("host.vram", "on the processor", "slow", "use a GPU"),
    warning("wsl.config", "a slip", "it is skipped", "correct it"),
    fine("new-group.x", "something new"),
]


def shown(width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    doctor_report.show(FINDINGS, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_fits_into_80_columns_and_needs_no_colour() -> None:
    text = shown()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    for word in ("OK ", "INFO ", "WARNING ", "PROBLEM "):
        assert word in text


def test_groups_come_in_a_fixed_order_and_unknown_ones_last() -> None:
    lines = [line for line in shown().splitlines() if line and not line.startswith(" ")]
    assert lines[:-1] == ["WSL and its network", "Hosts", "Folders", "new-group"]


def test_what_is_not_fine_has_its_reason_and_its_fix() -> None:
    text = shown()
    assert "why: pictures are lost" in text
    assert "fix: make room" in text


def test_the_sum_counts_what_is_bad() -> None:
    assert doctor_report.summary(FINDINGS) == "1 problem, 1 warning; 3 other checks fine."
    assert doctor_report.summary(FINDINGS[:1]) == "All is well: 1 other check fine."


def test_json_is_one_object_with_every_finding() -> None:
    read = json.loads(doctor_report.to_json(FINDINGS))
    assert read["ok"] is False
    assert read["counts"] == {"ok": 2, "info": 1, "warning": 1, "problem": 1}
    assert [one["name"] for one in read["findings"]] == [one.name for one in FINDINGS]
    assert json.loads(doctor_report.to_json([]))["ok"] is True
