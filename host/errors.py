"""The errors of the embedded host.

``RenderError`` is the one expected failure of the package; the executor hands its sentence to the
client. Anything else that a node raises is a fault of ours and is logged with a traceback too.
"""

from models.errors import ToldError


class RenderError(ToldError):
    """The host could not do what a graph asks for, for a reason that the user can act on."""


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
