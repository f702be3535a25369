"""The node table against what a real ComfyUI 0.3.64 says of the same nodes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from configs.settings import ROOT
from host.folders import Folders
from host.node_types import object_info
from host.nodes import TABLE
from tests.host_kit import folders_below
from tests.recorded_nodes import declarations


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return folders_below(tmp_path)


@pytest.mark.parametrize("name", sorted(declarations()))
def test_a_node_is_declared_as_comfyui_declares_it(name: str, folders: Folders) -> None:
    ours, theirs = object_info(TABLE[name], folders), declarations()[name]
    assert ours == theirs


def test_pictures_to_choose_from_are_the_files_of_the_input_folder(folders: Folders) -> None:
    def choices(node: str) -> Any:
        return object_info(TABLE[node], folders)["input"]["required"]["image"][0]

    assert choices("LoadImage") == []
    (folders.input / "sub").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "c.webp", "notes.txt", "sub/deep.png"):
        (folders.input / name).touch()
    assert choices("LoadImage") == ["a.JPG", "b.png", "c.webp"]
    assert choices("LoadImageMask") == ["a.JPG", "b.png", "c.webp", "notes.txt"]


def test_the_table_is_there_without_torch_numpy_and_pillow() -> None:
    code = "import sys, host.nodes; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
