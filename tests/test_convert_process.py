import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.flux import FluxShape, tensor_shapes
from models.tensor_types import FileType
from quantize import convert
from quantize.convert import ConversionPlan
from tests import model_files
from tests.convert_kit import convert_file, left_beside
from tests.model_files import TINY, flux_arrays

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "flux.safetensors", flux_arrays())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out" / "flux-Q4_K_S.gguf"


SCRIPT = """
import sys, time
from pathlib import Path
from models.tensor_types import FileType
from quantize import convert

plan = convert.plan(Path(sys.argv[1]), Path(sys.argv[2]), FileType.Q4_K_S)
try:
    for step in convert.run(plan, workers=2):
        if sys.argv[3] == "wait" and step.weights_done > plan.weights // 2:
            print("half", flush=True)
            time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def start(source: Path, target: Path, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(source), str(target), mode],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def stopped_half_way(source: Path, target: Path, by: signal.Signals) -> int:
    with start(source, target, "wait") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(by)
        return child.wait(20)


def test_ctrl_c_leaves_nothing(source: Path, target: Path) -> None:
    assert stopped_half_way(source, target, signal.SIGINT) == 130
    assert left_beside(target) == []


def test_kill_9_leaves_nothing_under_the_final_name_and_the_next_run_clears_up(
    source: Path, target: Path
) -> None:
    assert stopped_half_way(source, target, signal.SIGKILL) == -signal.SIGKILL
    assert left_beside(target) == [f"{target.name}.part"]
    convert_file(source, target)
    assert left_beside(target) == [target.name]


def sparse(path: Path, shape: FluxShape) -> ConversionPlan:
    """A Flux of zeros in F32, which takes no room on disk."""
    header: dict[str, Any] = {}
    position = 0
    for name, size in tensor_shapes(shape).items():
        end = position + 4 * int(np.prod(size))
        header[name] = {"dtype": "F32", "shape": size, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + position)
    return convert.plan(path, path.with_suffix(".gguf"), FileType.Q4_K_S)


def peak_rss(plan: ConversionPlan) -> int:
    """Bytes of memory at the highest, of a process of its own.

    VmHWM, since getrusage's ru_maxrss survives exec() and would be that of the tests.
    """
    with start(plan.source, plan.target, "run") as child:
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    return int(out) * 1024


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    small = sparse(tmp_path / "small.safetensors", TINY)
    large = sparse(
        tmp_path / "large.safetensors",
        replace(TINY, hidden=1536, heads=12, mlp=6144, double_blocks=1, single_blocks=2),
    )
    assert large.source_bytes > 600e6
    peak = peak_rss(large)
    assert peak < 200e6  # LLVM, which compiles the kernels, is 80 MB of it
    assert peak - peak_rss(small) < 40e6
