"""Graphs that ask for more than the machine has are refused with a sentence, and the host lives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from host import images, size_limit
from host.errors import RenderError
from host.latent_batches import repeated
from host.resizing import resized
from host.system_stats import Memory
from host.values import Latent
from tests.host_kit import LocalHost, serving


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LocalHost]:
    with serving(tmp_path) as running:
        yield running


def scaled(side: int) -> dict[str, Any]:
    size = {"width": side, "height": side}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"batch_size": 1, "color": 0, **size}},
        "2": {
            "class_type": "ImageScaleBy",
            "inputs": {"image": ["1", 0], "upscale_method": "bilinear", "scale_by": 8.0},
        },
        "3": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2", 0], "filename_prefix": "x"},
        },
    }


def test_a_picture_that_no_memory_holds_fails_its_job_and_not_the_host(host: LocalHost) -> None:
    entry = host.history(host.submit(scaled(16384)))
    told = dict(entry["status"]["messages"])["execution_error"]
    assert told["node_id"] == "2"
    assert "131072 x 131072 would take" in told["exception_message"]
    assert host.history(host.submit(scaled(8)))["status"]["status_str"] == "success"


def test_what_takes_more_than_is_free_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limit, "memory", lambda: Memory(2 << 20, 1 << 20))
    latent = Latent(torch.zeros(1, 16, 8, 8))
    assert len(repeated(latent, 80).samples) == 80
    with pytest.raises(RenderError, match="a batch of 90 latents would take"):
        repeated(latent, 90)
    with pytest.raises(RenderError, match="a picture of 300 x 300"):
        resized(np.zeros((1, 4, 4, 3), np.float32), 300, 300, "lanczos")


def test_a_machine_that_does_not_tell_is_asked_for_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(size_limit, "memory", lambda: Memory(0, 0))
    size_limit.check_room(1 << 60, "this")


@pytest.mark.parametrize("height", [1, 255, 256, 257, 600])
def test_rounding_does_not_depend_on_how_many_rows_are_done_at_a_time(height: int) -> None:
    pixels = np.random.default_rng(height).uniform(-0.2, 1.2, (height, 3, 3)).astype("f4")
    pixels[0, 0, 0] = np.nan
    whole = np.clip(np.nan_to_num(255.0 * pixels), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(images.to_bytes(pixels), whole)
