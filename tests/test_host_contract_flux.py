"""A whole Flux picture, held against how a real ComfyUI tells of one.

In which order nodes run that do not need each other is ComfyUI's own affair; so the order is
compared within each node and of what stands around them.
"""

from pathlib import Path
from typing import Any

import pytest

from models.micro.micro_set import lay_out
from tests.host_kit import client, transcript
from tests.test_host_process import graph, started

UNET = {"unet_name": "vulcan-micro-F16.safetensors", "weight_dtype": "default"}


def picture(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return the recorded workflow's like for the micro model: the same nodes, the same steps."""
    mine = graph(steps=recorded["workflow"]["8"]["inputs"]["steps"])
    mine["1"] = {"class_type": "UNETLoader", "inputs": UNET}
    assert set(mine) == set(recorded["workflow"])
    return mine


def told(frames: list[Any]) -> dict[Any, list[str]]:
    """Return the kinds of messages in their order, by node; those of no node under None."""
    by_node: dict[Any, list[str]] = {}
    node = None
    for frame in frames:
        if isinstance(frame, bytes):
            by_node[node].append(f"picture {frame[3]}")
        elif frame["type"] != "progress_state":
            node = frame["data"].get("node")
            by_node.setdefault(node, []).append(frame["type"])
    return by_node


@pytest.mark.parametrize("name", ["flux_recommended_frames", "flux_exact_clip_vae"])
def test_a_flux_picture_is_told_as_recorded(tmp_path: Path, name: str) -> None:
    recorded = transcript(name)
    lay_out(tmp_path / "models")
    frames: list[Any] = [
        one["text"] if "text" in one else bytes.fromhex(one["hex_head"])
        for one in recorded["frames"]
        if "text" in one or "hex_head" in one
    ]
    flags = bool(recorded["client_flags"])
    with (
        started(tmp_path / "models", tmp_path, "--preview") as child,
        client(child.host.url, "flux", flags=flags) as me,
    ):
        mine: list[Any] = [me.frame()]
        mine += [me.frame()] if flags else []
        mine += me.until_idle(child.host.submit(picture(recorded), client_id="flux"))
    theirs = told(frames)
    cached = set(told(mine)) - set(theirs)  # what the recorded host still had from before
    assert {node: kinds for node, kinds in told(mine).items() if node not in cached} == theirs
    assert cached <= {"1", "7"}
