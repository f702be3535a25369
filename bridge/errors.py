"""What can go wrong between us and a host.

    BridgeError
    ├── WorkflowError        the graph cannot be built from this template and request
    └── HostError            carries the host's URL
        ├── HostUnreachable  no answer: nothing is known, nothing was queued for certain
        ├── HostRefused      a definite no (validation); asking again is useless
        └── HostDoubt        a request left, its fate is unknown: look before asking again

The three hosts' errors differ in what the caller may do next, which is all that matters.
"""

from collections.abc import Mapping
from typing import Any


class BridgeError(Exception):
    """Root of this package's errors."""


class WorkflowError(BridgeError):
    """A template that cannot carry the request.

    Attributes:
        workflow: name of the template.
        why: what is missing or wrong, and what to do.
    """

    def __init__(self, workflow: str, why: str) -> None:
        """Keep the parts; the sentence is built when it is shown."""
        super().__init__(workflow, why)
        self.workflow, self.why = workflow, why

    def __str__(self) -> str:
        return f"Workflow {self.workflow}: {self.why}"


class HostError(BridgeError):
    """Something a host did or failed to do.

    Attributes:
        url: the host's base URL.
        why: what happened and what to do next.
    """

    def __init__(self, url: str, why: str) -> None:
        """Keep the parts; the sentence is built when it is shown."""
        super().__init__(url, why)
        self.url, self.why = url, why

    def __str__(self) -> str:
        return f"Host {self.url}: {self.why}"


class HostUnreachable(HostError):  # noqa: N818 - names the state, as httpx and websockets do
    """The host gave no answer; the request never arrived."""


class HostDoubt(HostError):  # noqa: N818 - see HostUnreachable
    """The request may or may not have been carried out.

    Attributes:
        status: the HTTP status it was answered with, 0 when no answer came.
    """

    def __init__(self, url: str, why: str, status: int = 0) -> None:
        """Keep the status beside the sentence."""
        super().__init__(url, why)
        self.status = status


class HostRefused(HostError):  # noqa: N818 - see HostUnreachable
    """The host said no, for good.

    Attributes:
        node_errors: ComfyUI's per-node findings, empty when it gave none.
    """

    def __init__(self, url: str, why: str, node_errors: Mapping[str, Any] | None = None) -> None:
        """Keep the host's findings beside the sentence."""
        super().__init__(url, why)
        self.node_errors = dict(node_errors or {})
