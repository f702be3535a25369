"""What the nodes of :mod:`host.primitive_nodes` do: hand their value on."""

from host.node_types import Context, Result


def value(context: Context, *, value: str | float | bool) -> Result:
    """PrimitiveInt and its like: a value that several nodes read."""
    del context
    return Result((value,))
