"""The house's structure: who may import whom, and what no module may be called."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {
    "configs": 0,
    "models": 1,
    "bridge": 2,
    "quantize": 2,
    "host": 3,
    "training": 4,
    "core": 5,
}
# Third-party packages and the only places that may import them.
WALLS = {
    "torch": ("host", "training"),
    "diffusers": ("host", "training"),
    "transformers": ("host", "training"),
    "peft": ("host", "training"),
    "numba": ("quantize",),
    "llvmlite": ("quantize",),
    "websocket": ("bridge",),
    "httpx": ("bridge",),
    "gguf": ("models", "quantize", "host"),
    "starlette": ("host",),
    "uvicorn": ("host",),
    "watchdog": ("core",),
    "rich": ("core", "training"),
    "cv2": ("training",),
    "imagehash": ("training",),
    "pillow_heif": ("training",),
    "kaggle": ("training",),
    "kagglesdk": ("training",),
    "bitsandbytes": ("training",),
    "dynamicprompts": ("core",),
    "pyparsing": ("core",),
}
LONGEST = 400  # lines of a module; 300 is where to look for the missing noun


def modules() -> list[Path]:
    return sorted(path for package in LAYERS for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_only_downwards(path: Path) -> None:
    own = package_of(path)
    for name in imports(path):
        other = name.split(".")[0]
        if other in LAYERS and other != own:
            assert LAYERS[other] < LAYERS[own], f"{path} may not import {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_third_party_packages_stay_behind_their_walls(path: Path) -> None:
    for name in imports(path):
        allowed = WALLS.get(name.split(".")[0])
        if allowed:
            assert package_of(path) in allowed, f"{path} may not import {name}"


def test_nobody_imports_the_director() -> None:
    for path in [*modules(), *(ROOT / "tests").glob("*.py")]:
        assert "core.director" not in set(imports(path)), path


def test_no_module_hides_one_of_the_standard_library() -> None:
    for path in modules():
        assert path.stem in ("__init__", "__main__") or path.stem not in sys.stdlib_module_names, (
            path
        )


def test_packages_have_an_empty_init() -> None:
    for path in modules():
        if path.name == "__init__.py":
            assert not path.read_text(), path


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_is_one_noun_and_says_which(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST, f"{path} has grown past {LONGEST} lines"
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


def test_the_architecture_page_names_every_module() -> None:
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = set(re.findall(r"\w+", page.split("## Tree")[1].split("## Words")[0]))
    missing = {path.stem for path in modules() if path.stem != "__init__"}
    missing -= tree | {"clip_tokenizer", "t5_tokenizer"}  # "the two tokenizers"
    assert not missing


def test_only_entry_points_read_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in modules()
        for name in imports(path)
        if name in ("os.environ", "os.getenv") or "os.environ" in path.read_text()
    }
    # The demo hands its environment on; host and training set OpenMP's before torch is loaded;
    # the notebook's entry reads Kaggle's folders, and the token that its user attached.
    assert readers <= {
        *("configs/settings.py", "core/demo.py", "host/__main__.py", "training/__main__.py"),
        "training/kaggle/kernel_run.py",
    }


def test_the_light_process_never_meets_torch_or_numpy() -> None:
    """What `director.py run` imports, found by following imports from its entry."""
    seen: set[str] = set()
    outside: set[str] = set()
    waiting = ["core.director", "core.run_command"]
    while waiting:
        name = waiting.pop()
        path = ROOT / Path(*name.split(".")).with_suffix(".py")
        if name.split(".")[0] not in LAYERS:
            outside.add(name.split(".")[0])
        elif name not in seen and path.is_file():
            seen.add(name)
            waiting += top_level_imports(path)
    assert not outside & {"torch", "numpy", "diffusers", "gguf", "transformers"}
    assert "quantize.convert" not in seen
    assert {"core.journal", "models.lora"} <= seen, "the walk itself works"
    assert "httpx" in outside, "the walk itself works"


def top_level_imports(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
