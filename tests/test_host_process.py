"""The host as it is really started: ``python -m host``, with the micro model."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from host.__main__ import listen
from models.micro.micro_set import MicroSet, lay_out
from models.tensor_types import FileType
from quantize import convert
from tests.host_kit import LocalHost, client, free_port, wait_for

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    micro: MicroSet = lay_out(root)
    target = micro.unet.with_name("micro-Q4_K_S.gguf")
    list(convert.run(convert.plan(micro.unet, target, FileType.Q4_K_S), workers=1))
    return root


@dataclass
class Child:
    """A host in a process of its own."""

    process: subprocess.Popen[str]
    host: LocalHost
    listening_after: float
    output: Path


def command(models: Path, root: Path, *more: str) -> list[str]:
    folders = [f"--{name}={root / name}" for name in ("output", "input", "temp")]
    return [sys.executable, "-m", "host", "--port=0", f"--models={models}", *folders, *more]


@contextmanager
def started(models: Path, root: Path, *more: str) -> Iterator[Child]:
    begin = time.monotonic()
    with (root / "host.log").open("w") as log:
        process = subprocess.Popen(
            command(models, root, "--die-with-stdin", *more),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = json.loads(process.stdout.readline())
        took = time.monotonic() - begin
        assert line["event"] == "listening"
        assert line["pid"] == process.pid
        no_parts: Any = None
        yield Child(process, LocalHost(line["url"], no_parts), took, root / "output")
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


@pytest.fixture(scope="module")
def child(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with started(models_dir, tmp_path_factory.mktemp("host"), "--preview") as running:
        yield running


def graph(seed: int = 1, prefix: str = "vulcan/x", **changed: Any) -> dict[str, Any]:
    """A text-to-image graph; ``changed`` overrides inputs of the sampler."""
    clips = {"clip_name1": "vulcan-micro-clip_l.safetensors"}
    clips |= {"clip_name2": "vulcan-micro-t5.safetensors", "type": "flux"}
    sampler = {"seed": seed, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "denoise": 1.0}
    links = {
        "model": ["1", 0],
        "positive": ["5", 0],
        "negative": ["6", 0],
        "latent_image": ["7", 0],
    }
    size = {"width": 64, "height": 64, "batch_size": 1}
    nodes = {
        "1": ("UnetLoaderGGUF", {"unet_name": "micro-Q4_K_S.gguf"}),
        "3": ("DualCLIPLoaderGGUF", clips),
        "4": ("CLIPTextEncode", {"text": "a red circle", "clip": ["3", 0]}),
        "5": ("FluxGuidance", {"conditioning": ["4", 0], "guidance": 3.5}),
        "6": ("ConditioningZeroOut", {"conditioning": ["5", 0]}),
        "7": ("EmptySD3LatentImage", size),
        "8": ("KSampler", {**sampler, "scheduler": "simple", **links, **changed}),
        "9": ("VAELoader", {"vae_name": "vulcan-micro-ae.safetensors"}),
        "10": ("VAEDecode", {"samples": ["8", 0], "vae": ["9", 0]}),
        "11": ("SaveImage", {"images": ["10", 0], "filename_prefix": prefix}),
    }
    return {node: {"class_type": kind, "inputs": inputs} for node, (kind, inputs) in nodes.items()}


def with_lora(
    one: dict[str, Any], strength: float, name: str = "vulcan-micro-lora"
) -> dict[str, Any]:
    inputs = {"model": ["1", 0], "lora_name": f"{name}.safetensors", "strength_model": strength}
    one["2"] = {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
    one["8"]["inputs"]["model"] = ["2", 0]
    return one


def picture(child: Child, one: dict[str, Any]) -> bytes:
    """Run a graph; return the pixels' part of its PNG (without the text chunks)."""
    entry = child.host.history(child.host.submit(one))
    assert entry["status"]["completed"], entry["status"]["messages"][-1]
    (place,) = entry["outputs"]["11"]["images"]
    png = (child.output / place["subfolder"] / place["filename"]).read_bytes()
    view = child.host.get(
        f"/view?filename={place['filename']}&subfolder={place['subfolder']}&type=output"
    )
    assert view.body == png
    return bytes(png[png.index(b"IDAT") :])


def test_it_listens_before_torch_is_there(child: Child) -> None:
    assert child.listening_after < 3.0  # 0.2 s on an idle machine
    assert child.host.get("/system_stats").json["system"]["embedded_host"] == "vulcan"


def test_pictures_differ_by_prompt_seed_and_lora_and_by_nothing_else(child: Child) -> None:
    prompt = graph()
    prompt["4"]["inputs"]["text"] = "a blue square"
    pictures = [
        picture(child, graph()),
        picture(child, prompt),
        picture(child, graph(seed=2)),
        picture(child, graph(steps=2)),
        picture(child, graph(scheduler="normal")),
        picture(child, graph(cfg=3.0)),
        picture(child, with_lora(graph(), 1.0)),
        picture(child, with_lora(graph(), 0.5)),
    ]
    assert len(set(pictures)) == len(pictures)
    assert picture(child, graph(prefix="again/x")) == pictures[0]
    assert picture(child, with_lora(graph(prefix="zero/x"), 0.0)) == pictures[0]


def test_the_same_request_gives_the_same_bytes_after_a_restart(
    child: Child, models_dir: Path, tmp_path: Path
) -> None:
    first = picture(child, with_lora(graph(seed=77, prefix="restart/x"), 0.8))
    with started(models_dir, tmp_path) as other:
        assert picture(other, with_lora(graph(seed=77, prefix="restart/x"), 0.8)) == first


def test_progress_and_previews_come_for_every_step(child: Child) -> None:
    with client(child.host.url, "watcher", flags=True) as me:
        prompt_id = child.host.submit(graph(seed=5, prefix="watch/x"), client_id="watcher")
        frames = me.until_idle(prompt_id)
    values = [
        (one["data"]["value"], one["data"]["max"])
        for one in frames
        if isinstance(one, dict) and one["type"] == "progress"
    ]
    assert values == [(1, 4), (2, 4), (3, 4), (4, 4)]
    previews = [one for one in frames if isinstance(one, bytes)]
    assert len(previews) == 4
    assert all(one[:4] == b"\0\0\0\4" and b"image/jpeg" in one[:300] for one in previews)


def test_what_need_not_run_again_does_not(child: Child) -> None:
    picture(child, graph(seed=8, prefix="once/x"))
    entry = child.host.history(child.host.submit(graph(seed=9, prefix="once/x")))
    messages = dict(entry["status"]["messages"])
    assert messages["execution_cached"]["nodes"] == ["1", "3", "4", "5", "6", "7", "9"]


def test_an_interrupt_stops_within_a_step(child: Child) -> None:
    with client(child.host.url, "stopper") as me:
        prompt_id = child.host.submit(graph(seed=10, steps=5000), client_id="stopper")
        me.until("progress")
        start = time.monotonic()
        child.host.post("/interrupt", {"prompt_id": prompt_id})
        assert me.until("execution_interrupted")["data"]["node_type"] == "KSampler"
        assert time.monotonic() - start < 3.0
    assert picture(child, graph(seed=11, prefix="after/x"))


def failure(child: Child, one: dict[str, Any]) -> dict[str, Any]:
    entry = child.host.history(child.host.submit(one))
    name, data = entry["status"]["messages"][-1]
    assert name == "execution_error"
    return dict(data)


def test_broken_files_fail_at_their_loader_with_a_sentence(child: Child, models_dir: Path) -> None:
    (models_dir / "unet" / "broken.gguf").write_bytes(b"GGUF" + bytes(50))
    one = graph()
    one["1"]["inputs"]["unet_name"] = "broken.gguf"
    data = failure(child, one)
    assert data["node_type"] == "UnetLoaderGGUF"
    assert data["exception_type"] == "models.errors.ModelError"
    wrong = graph()
    wrong["3"]["inputs"]["clip_name2"] = "vulcan-micro-clip_l.safetensors"
    assert "not Flux's two text encoders" in failure(child, wrong)["exception_message"]
    assert picture(child, graph(prefix="still/x"))


def test_a_lora_for_another_model_fails_at_its_loader(child: Child, models_dir: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    module = "transformer.transformer_blocks.0.attn.to_q"
    narrow = {f"{module}.lora_A.weight": np.zeros((4, 64), np.float32)}
    narrow[f"{module}.lora_B.weight"] = np.zeros((64, 4), np.float32)
    save_file(narrow, models_dir / "loras" / "narrow.safetensors")
    data = failure(child, with_lora(graph(), 1.0, "narrow"))
    assert data["node_type"] == "LoraLoaderModelOnly"
    assert f"{module}.lora_A.weight is (4, 64)" in data["exception_message"]


def test_other_sizes_batches_and_the_unquantised_unet(child: Child) -> None:
    one = graph(prefix="batch/x")
    one["7"]["inputs"] = {"width": 96, "height": 48, "batch_size": 3}
    entry = child.host.history(child.host.submit(one))
    assert len(entry["outputs"]["11"]["images"]) == 3
    plain = graph(prefix="plain/x")
    inputs = {"unet_name": "vulcan-micro-F16.safetensors", "weight_dtype": "default"}
    plain["1"] = {"class_type": "UNETLoader", "inputs": inputs}
    assert picture(child, plain) != picture(child, graph(prefix="plain/y"))
    odd = graph(prefix="odd/x")
    odd["7"] = {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 72, "height": 40, "batch_size": 1},
    }
    assert picture(child, odd)


def test_after_free_it_loads_again(child: Child) -> None:
    before = picture(child, graph(seed=20, prefix="free/x"))
    child.host.post("/free", {"unload_models": True, "free_memory": True})
    assert picture(child, graph(seed=20, prefix="free/y")) == before


# --- life and death ---


def alive(pid: int) -> bool:
    """Whether a process still runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


PARENT = """
import json, subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(child.stdout.readline().decode(), flush=True)
time.sleep(600)
"""


def test_the_host_dies_with_its_parent_even_by_kill_9(models_dir: Path, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *command(models_dir, tmp_path, "--die-with-stdin")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    line = json.loads(parent.stdout.readline())
    LocalHost(line["url"], None).submit(graph(steps=5000))  # type: ignore[arg-type] # it needs no parts
    assert alive(line["pid"])
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not alive(line["pid"]), seconds=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_at_once_and_cleanly(
    models_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with started(models_dir, tmp_path) as one:
        one.host.submit(graph(steps=5000))
        with client(one.host.url, "me") as me:
            me.frame()
            begin = time.monotonic()
            one.process.send_signal(number)
            assert one.process.wait(10) == 0
            assert time.monotonic() - begin < 3


def test_answers_are_not_held_back_by_nagle_s_algorithm() -> None:
    with listen(0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            # What asyncio looks at before it sets TCP_NODELAY (44 ms an answer without).
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_taken_port_is_a_sentence(models_dir: Path, tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run(
            [*command(models_dir, tmp_path), f"--port={port}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port} cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_temp_is_emptied_of_previews_and_of_nothing_else(models_dir: Path, tmp_path: Path) -> None:
    temp = tmp_path / "temp"
    temp.mkdir()
    (temp / "ComfyUI_temp_abcde_00001_.png").touch()
    (temp / "precious.png").touch()
    with started(models_dir, tmp_path):
        assert [path.name for path in temp.iterdir()] == ["precious.png"]
