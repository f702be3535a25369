"""What the nodes of :mod:`host.primitive_nodes` do."""

from host.node_types import Context, Result


def value(context: Context, *, value: str | int | float | bool) -> Result:
    """Every one of them: pass the value on."""
    del context
    return Result((value,))
