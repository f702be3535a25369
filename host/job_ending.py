"""How a job ended, and how the history tells it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from host.messages import Event


@dataclass(slots=True)
class Ending:
    """How a job ended, as the history keeps it.

    Attributes:
        event: the last message: execution_success, execution_error or execution_interrupted.
        messages: every lifecycle message with its time, ``event`` last.
        outputs: what each output node shows.
    """

    event: Event
    messages: list[list[Any]]
    outputs: dict[str, Mapping[str, Any]]

    def entry(self) -> dict[str, Any]:
        """Return the history entry, without its ``prompt``."""
        success = self.event.name == "execution_success"
        return {
            "outputs": self.outputs,
            "status": {
                "status_str": "success" if success else "error",
                "completed": success,
                "messages": self.messages,
            },
            "meta": {node: _meta(node) for node in self.outputs},
        }


def _meta(node: str) -> dict[str, Any]:
    return {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node}
