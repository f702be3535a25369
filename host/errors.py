"""The errors of the embedded host.

``RenderError`` is the one expected failure of the package; the executor hands its sentence to the
client. Anything else that a node raises is a fault of ours and is logged with a traceback too.
"""

from pathlib import Path

from models.errors import sentence


class RenderError(Exception):
    """The host could not do what a graph asks for, for a reason that the user can act on.

    Attributes:
        what: what failed, without a full stop.
        path: the file it failed on, if it was one.
        why: the finding behind it.
        fix: what the user can do next.
    """

    def __init__(
        self, what: str, *, path: Path | None = None, why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.path = path
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return sentence(self.what, self.path, self.why, self.fix)


class InterruptedRunError(Exception):
    """The running job is to stop; raised inside a node, caught by the executor."""


class DuplicateJobError(Exception):
    """A job with this prompt_id is already pending or running."""

    def __init__(self, prompt_id: str) -> None:
        super().__init__(prompt_id)
        self.prompt_id = prompt_id

    def __str__(self) -> str:
        return (
            f"prompt id {self.prompt_id!r} is already pending or running. "
            "Choose another id, or wait until that job has ended."
        )
