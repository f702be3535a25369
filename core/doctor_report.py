"""How the doctor's findings are shown: by group for people, one JSON object for programs.

Levels are words, so colour is never needed to read it; it fits into 80 columns. What is fine
takes one line; what is not is followed by why it matters and what to do.
"""

import json
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bridge.finding import Finding, Level

TITLES = {
    "settings": "Settings",
    "system": "This machine",
    "wsl": "WSL and its network",
    "workflow": "Workflow",
    "host": "Hosts",
    "models": "Model files",
    "folder": "Folders",
    "inbox": "Drop folder",
    "disk": "Disks",
}
STYLES = {
    Level.OK: "green",
    Level.INFO: "cyan",
    Level.WARNING: "yellow",
    Level.PROBLEM: "bold red",
}


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print the findings, group by group, and the sum of them."""
    known = list(TITLES)
    ordered = sorted(findings, key=lambda finding: _place(finding, known))
    for group, members in groupby(ordered, key=lambda finding: finding.group):
        console.print(Text(TITLES.get(group, group), style="bold"))
        console.print(Padding(_table(list(members)), (0, 0, 1, 2)))
    console.print(Text(summary(findings)), highlight=False)


def summary(findings: Sequence[Finding]) -> str:
    """Say in one line how many there are of each kind."""
    counts = {level: sum(one.level is level for one in findings) for level in Level}
    bad = [
        f"{counts[level]} {level}{'s' * (counts[level] != 1)}"
        for level in (Level.PROBLEM, Level.WARNING)
        if counts[level]
    ]
    fine = counts[Level.OK] + counts[Level.INFO]
    checks = f"{fine} other check{'s' * (fine != 1)} fine"
    return f"{', '.join(bad)}; {checks}." if bad else f"All is well: {checks}."


def to_json(findings: Sequence[Finding]) -> str:
    """Write one object: whether there is no problem, counts, and every finding."""
    counts = {str(level): sum(one.level is level for one in findings) for level in Level}
    return json.dumps(
        {
            "ok": not counts[Level.PROBLEM],
            "counts": counts,
            "findings": [one.as_dict() for one in findings],
        },
        ensure_ascii=False,
        indent=2,
    )


def _place(finding: Finding, known: list[str]) -> int:
    return known.index(finding.group) if finding.group in known else len(known)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=7, no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.level.upper(), style=STYLES[finding.level]), _text(finding))
    return table


def _text(finding: Finding) -> Text:
    text = Text(finding.what)
    if finding.level is Level.OK:
        return text
    if finding.why:
        text.append(f"\nwhy: {finding.why}", style="dim")
    if finding.fix:
        text.append("\nfix: ", style="bold").append(finding.fix)
    return text
