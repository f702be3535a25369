"""The user's own say in tensor types: `PATTERN=TYPE`, as often as wanted.

A pattern is one of shell wildcards (`*`, `?`, `[...]`) and must match the whole name of a tensor
in the target, such as `double_blocks.*.img_mlp.0.weight=Q6_K`. Of several that match, the last one
counts. A pattern that matches nothing is an error, since it is most likely misspelt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from models.tensor_types import BLOCKS, TensorType, fits
from quantize.errors import Problem, QuantizeError


@dataclass(frozen=True, slots=True)
class Override:
    """All tensors that match `pattern` get `type`."""

    pattern: str
    type: TensorType


def parse(text: str) -> Override:
    """Read `PATTERN=TYPE`.

    Raises:
        QuantizeError: it has another form, or there is no such type.
    """
    pattern, equals, name = text.rpartition("=")
    if not (equals and pattern):
        raise _bad(f"{text!r} is no PATTERN=TYPE", "Write it like 'double_blocks.*.weight=Q5_K'")
    if name.upper() not in TensorType.__members__:
        known = ", ".join(kind.name for kind in TensorType)
        raise _bad(f"there is no tensor type {name}", f"Choose one of {known}")
    return Override(pattern, TensorType[name.upper()])


def check_used(overrides: Sequence[Override], names: Iterable[str]) -> None:
    """Raise a QuantizeError for a pattern that no name matches."""
    every = list(names)
    for override in overrides:
        if not any(fnmatchcase(name, override.pattern) for name in every):
            raise _bad(
                f"no tensor matches {override.pattern!r}",
                f"Look at the names with --dry-run --json; the first is {every[0]}",
            )


def override_for(
    overrides: Sequence[Override], name: str, shape: Sequence[int]
) -> TensorType | None:
    """The type that the user wants for a tensor, or None.

    Raises:
        QuantizeError: the type cannot hold it.
    """
    wanted = [override.type for override in overrides if fnmatchcase(name, override.pattern)]
    if not wanted:
        return None
    kind = wanted[-1]
    if is_plain(kind) or (len(shape) == 2 and shape[0] > 1 and fits(shape, kind)):
        return kind
    raise _bad(
        f"{kind.name} cannot hold {name}",
        f"Its shape is {list(shape)}, and {kind.name} packs rows of a matrix in blocks of "
        f"{BLOCKS[kind].size}: choose F32, F16 or BF16 for it",
    )


def is_plain(kind: TensorType) -> bool:
    """Whether a type stores each number by itself."""
    return BLOCKS[kind].size == 1


def _bad(what: str, fix: str) -> QuantizeError:
    return QuantizeError(Problem.BAD_TYPE, what, fix=fix)
