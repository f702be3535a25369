"""What the commands print of jobs."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from core.journal import Journal
from core.queue_commands import _job_table
from tests.journal_kit import enter
from tests.sample_request import REQUEST


def test_brackets_in_prompts_and_names_are_shown_as_they_are(tmp_path: Path) -> None:
    journal = Journal(tmp_path, lambda: 1.0)
    enter(journal, [replace(REQUEST, prompt="a [red|blue] fox [/b]")], file="fox[dim].txt")
    console = Console(width=200)
    with console.capture() as told:
        console.print(_job_table(journal.all()))
    journal.close()
    assert "a [red|blue] fox [/b]" in told.get()
    assert "fox[dim]" in told.get()
