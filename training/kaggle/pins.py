"""Which packages a trainer needs beside what Kaggle's image has, in which versions.

Standard library only. torch, numpy, Pillow and pydantic are left as the image has them: the image's
torch fits its CUDA driver, its other compiled packages were built against its numpy, and another
torch would be 3 GB and minutes. torchao is taken out where it is old: nothing here uses it, and
peft refuses to work beside a version below 0.16, which Kaggle's image may bring
(unslothai/notebooks#258).
"""

import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path

from training.kaggle.refusal import Code, RefusalError

LEFT = frozenset({"torch", "numpy", "pillow", "pydantic"})
"""Left in whichever version is there."""

ALWAYS = LEFT | {
    *("diffusers", "peft", "transformers", "accelerate", "tokenizers", "safetensors", "gguf"),
    "pillow-heif",
}
EIGHT_BIT = "bitsandbytes"
_TORCHAO_FROM = (0, 16)
_INTERNET = "Turn Settings > Internet on (it needs a phone-verified account) and run all again"
_ENVIRONMENT = "Choose another environment in Settings > Environment, and run all again"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9.+!_-]+)\s*(?:#.*)?$")


def read(*texts: str) -> dict[str, str]:
    """Return the versions that requirements files pin, by package in lower case."""
    lines = (line for text in texts for line in text.splitlines())
    return {match[1].lower(): match[2] for line in lines if (match := _PIN.match(line.strip()))}


def wanted(plan: Mapping[str, object]) -> frozenset[str]:
    """Return the packages that a plan (as JSON gives it) needs."""
    recipe = plan.get("recipe")
    optimizer = recipe.get("optimizer") if isinstance(recipe, Mapping) else ""
    if plan.get("backend") == "nf4" or optimizer == "adamw8bit":
        return ALWAYS | {EIGHT_BIT}
    return ALWAYS


def installed(names: Collection[str]) -> dict[str, str]:
    """Return the versions of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def missing(
    names: Collection[str], pins: Mapping[str, str], there: Mapping[str, str]
) -> tuple[str, ...]:
    """Return what is to be installed, as pip takes it.

    Raises:
        KeyError: a package has no pin.
    """
    return tuple(
        f"{name}=={pins[name]}"
        for name in sorted(names)
        if name not in there or (name not in LEFT and there[name] != pins[name])
    )


def install(requirements: Collection[str], there: Mapping[str, str], work: Path) -> None:
    """Install packages without moving those that are left.

    Raises:
        RefusalError: pip fails, or what it installed cannot be imported.
    """
    constraints = work / "constraints.txt"
    kept = [f"{name}=={version}" for name, version in there.items() if name in LEFT]
    constraints.write_text("\n".join(sorted(kept)) + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _call([*pip, "install", "--constraint", str(constraints), *requirements])
    _call([sys.executable, "-c", "import diffusers, peft, transformers, accelerate"], _ENVIRONMENT)


def remove_old_torchao() -> bool:
    """Uninstall a torchao that peft would stumble over; whether there was one.

    Raises:
        RefusalError: pip fails.
    """
    version = installed(["torchao"]).get("torchao", "")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not numbers or numbers >= _TORCHAO_FROM:
        return False
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _call([*pip, "uninstall", "--yes", "torchao"])
    return True


def _call(command: list[str], fix: str = _INTERNET) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        raise RefusalError(
            Code.INSTALL,
            "the packages cannot be had",
            why=lines[-1] if lines else f"it ended with {error.returncode}",
            fix=fix,
        ) from error
