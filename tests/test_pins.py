"""What a Kaggle kernel installs, and what it leaves alone."""

import sys
from pathlib import Path

import pytest

from training.kaggle import pins, source_archive

ROOT = Path(__file__).resolve().parents[1]
PINS = pins.read(
    (ROOT / "requirements.txt").read_text(), (ROOT / "requirements-dev.txt").read_text()
)
MODULES = {
    "PIL": "pillow",
    "pillow_heif": "pillow-heif",
}  # where a package is imported by another name
# Comes with transformers; is of Kaggle's image alone.
NOT_PINNED = {"huggingface_hub", "kaggle_secrets"}


def test_everything_that_is_needed_has_a_pin() -> None:
    assert pins.ALWAYS | {pins.EIGHT_BIT} <= PINS.keys()


def test_everything_that_the_archive_imports_is_known() -> None:
    names = {
        name.split(".")[0]
        for file in source_archive.modules()
        for name in source_archive.imports(ROOT / file)
    }
    ours = {"configs", "models", "host", "training"}
    outside = names - ours - set(sys.stdlib_module_names)
    packages = {MODULES.get(name, name) for name in outside}
    assert packages - NOT_PINNED == pins.ALWAYS | {pins.EIGHT_BIT}


@pytest.mark.parametrize(
    ("there", "needed"),
    [
        ({"torch": "2.13.0", "peft": "0.21.2"}, ()),
        ({"torch": "2.10.0+cu128", "peft": "0.21.2"}, ()),
        ({"torch": "2.10.0+cu128", "peft": "0.18.0"}, ("peft==0.21.2",)),
        ({"torch": "2.13.0"}, ("peft==0.21.2",)),
        ({}, ("peft==0.21.2", "torch==2.13.0")),
    ],
)
def test_torch_stays_as_it_is_and_others_become_what_is_pinned(
    there: dict[str, str], needed: tuple[str, ...]
) -> None:
    wanted = {"torch": "2.13.0", "peft": "0.21.2"}
    assert pins.missing(wanted, wanted, there) == needed


@pytest.mark.parametrize(
    ("plan", "eight_bit"),
    [
        ({"backend": "gguf", "recipe": {"optimizer": "adamw"}}, False),
        ({"backend": "nf4", "recipe": {"optimizer": "adamw"}}, True),
        ({"backend": "gguf", "recipe": {"optimizer": "adamw8bit"}}, True),
        ({}, False),
    ],
)
def test_bitsandbytes_is_installed_only_for_what_uses_it(
    plan: dict[str, object], eight_bit: bool
) -> None:
    assert (pins.EIGHT_BIT in pins.wanted(plan)) is eight_bit


def test_pins_are_read_among_comments_and_other_lines() -> None:
    text = "# torch first\ntorch==2.13.0\n-r requirements.txt\nPyYAML==6.0.3  # why\nrich>=1\n\n"
    assert pins.read(text) == {"torch": "2.13.0", "pyyaml": "6.0.3"}


def test_an_old_torchao_is_only_taken_out_where_there_is_one() -> None:
    if "torchao" not in pins.installed(["torchao"]):
        assert not pins.remove_old_torchao()


def test_what_is_installed_is_told_with_its_version() -> None:
    import pydantic

    assert pins.installed(["pydantic", "no-such-package"]) == {"pydantic": pydantic.__version__}
