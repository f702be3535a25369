"""What the tests of conversions share."""

from pathlib import Path
from typing import Any

from models.tensor_types import FileType
from quantize import convert
from quantize.convert import Progress


def convert_file(
    source: Path, target: Path, file_type: FileType = FileType.Q4_K_S, **options: Any
) -> list[Progress]:
    plan = convert.plan(source, target, file_type)
    return list(convert.run(plan, **{"workers": 2} | options))


def left_beside(target: Path) -> list[str]:
    """Names in the target's folder, if there is one."""
    return sorted(path.name for path in target.parent.glob("*"))
