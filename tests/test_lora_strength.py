"""``FILE:STRENGTH`` on a command line."""

from pathlib import Path

import pytest

from core.lora_strength import lora_and_strength
from models.errors import ModelError


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("a.safetensors", ("a.safetensors", 1.0)),
        ("a.safetensors:0.8", ("a.safetensors", 0.8)),
        ("a:-1", ("a", -1.0)),
        ("a:b", ("a:b", 1.0)),
        (":0.5", (":0.5", 1.0)),
        ("C:/x/a.safetensors:2", ("C:/x/a.safetensors", 2.0)),
    ],
)
def test_a_strength_stands_behind_the_last_colon(text: str, taken: tuple[str, float]) -> None:
    assert lora_and_strength(text) == taken


@pytest.mark.parametrize("number", ["11", "-10.5", "nan", "inf"])
def test_a_strength_out_of_range_is_refused(number: str) -> None:
    with pytest.raises(ModelError, match="is no strength"):
        lora_and_strength(f"a:{number}")


def test_a_file_whose_name_ends_like_a_strength_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "style:2"
    path.touch()
    assert lora_and_strength(str(path)) == (str(path), 1.0)
    assert lora_and_strength(f"{path}:3") == (str(path), 3.0)
