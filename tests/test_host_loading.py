"""Pictures on their way in: uploaded over HTTP, loaded, encoded, decoded and saved again."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from host.folders import Folders
from host.validation import validate
from models.micro.micro_set import lay_out
from tests.host_kit import TABLE, LocalHost, folders_below, serving
from tests.test_host_process import Child, graph, started
from tests.test_host_uploads import upload


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def loaded_and_saved(name: str) -> dict[str, Any]:
    save = {"images": ["1", 0], "filename_prefix": "back"}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "SaveImage", "inputs": save},
    }


def shown(host: LocalHost, entry: dict[str, Any], node: str = "2") -> Any:
    (place,) = entry["outputs"][node]["images"]
    body = host.get("/view?filename={filename}&subfolder={subfolder}&type={type}".format(**place))
    return np.asarray(Image.open(io.BytesIO(body.body)))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LocalHost]:
    with serving(tmp_path) as running:
        yield running


def test_an_uploaded_picture_comes_back_to_the_bit(host: LocalHost) -> None:
    pixels = noise(9, 14)
    answer = upload(host, "a b.png", png(pixels), subfolder="vulcan/in").json
    graph = loaded_and_saved(f"{answer['subfolder']}/{answer['name']}")
    assert np.array_equal(shown(host, host.history(host.submit(graph))), pixels)


def test_a_picture_that_was_replaced_is_loaded_again_and_only_then(host: LocalHost) -> None:
    graph = loaded_and_saved("x.png")

    def cached() -> list[str]:
        (message,) = [one for one in entry["status"]["messages"] if one[0] == "execution_cached"]
        return list(message[1]["nodes"])

    upload(host, "x.png", png(noise(4, 4)))
    entry = host.history(host.submit(graph))
    entry = host.history(host.submit(graph))
    assert "1" in cached()
    upload(host, "x.png", png(noise(4, 4, seed=1)), overwrite="true")
    entry = host.history(host.submit(graph))
    assert cached() == []
    assert np.array_equal(shown(host, entry), noise(4, 4, seed=1))


def test_a_result_can_be_loaded_by_its_folder(host: LocalHost) -> None:
    upload(host, "out.png", png(noise(5, 6)), type="output")
    upload(host, "preview.png", png(noise(5, 6, seed=1)), type="temp")
    for name, seed in (("out.png [output]", 0), ("preview.png [temp]", 1)):
        entry = host.history(host.submit(loaded_and_saved(name)))
        assert np.array_equal(shown(host, entry), noise(5, 6, seed))


def test_a_bad_picture_ends_its_job_with_a_sentence(host: LocalHost) -> None:
    upload(host, "x.png", b"no picture at all")
    entry = host.history(host.submit(loaded_and_saved("x.png")))
    (failure,) = [one[1] for one in entry["status"]["messages"] if one[0] == "execution_error"]
    assert failure["node_type"] == "LoadImage"
    assert "the picture cannot be read" in failure["exception_message"]
    assert "x.png" in failure["exception_message"]


# --- what is said before a job is taken ---


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = folders_below(tmp_path)
    (made.input / "sub").mkdir(parents=True)
    (made.input / "sub" / "x.png").write_bytes(png(noise(2, 2)))
    return made


def test_any_file_that_is_there_may_be_named_listed_or_not(folders: Folders) -> None:
    for name in ("sub/x.png", "sub/x.png [input]"):
        verdict = validate(loaded_and_saved(name), TABLE, folders)
        assert verdict.outputs == ("2",), verdict.node_errors


@pytest.mark.parametrize(
    "name",
    ["gone.png", "sub", "", "../x.png", "/etc/hostname", "a\0b", "\ud800", "n" * 300, 7],
)
def test_a_picture_that_is_not_there_is_refused_in_comfyuis_words(
    name: Any, folders: Folders
) -> None:
    verdict = validate(loaded_and_saved(name), TABLE, folders)
    assert verdict.error is not None
    assert verdict.error["type"] == "prompt_outputs_failed_validation"
    assert verdict.node_errors["1"]["errors"] == [
        {
            "type": "custom_validation_failed",
            "message": "Custom validation failed for node",
            "details": f"image - Invalid image file: {name}",
            "extra_info": {"input_name": "image"},
        }
    ]


# --- through the VAE ---


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    models = tmp_path_factory.mktemp("models")
    lay_out(models)
    with started(models, tmp_path_factory.mktemp("host")) as running:
        yield running


def waves(height: int, width: int) -> Any:
    down, across = np.mgrid[0:height, 0:width]
    bands = [np.sin(down / 20), np.cos(across / 15), np.sin((down + across) / 30)]
    return np.uint8(np.stack(bands, axis=-1) * 100 + 127)


def through_the_vae(name: str, **more: Any) -> dict[str, Any]:
    tiles = {"tile_size": 64, "overlap": 16, "temporal_size": 64, "temporal_overlap": 8}
    nodes = {
        "1": ("LoadImage", {"image": name}),
        "2": ("VAELoader", {"vae_name": "vulcan-micro-ae.safetensors"}),
        "3": ("VAEEncode", {"pixels": ["1", 0], "vae": ["2", 0]}),
        "4": ("VAEDecode", {"samples": ["3", 0], "vae": ["2", 0]}),
        "5": ("SaveImage", {"images": ["4", 0], "filename_prefix": "whole"}),
        "6": ("VAEEncodeTiled", {"pixels": ["1", 0], "vae": ["2", 0], **tiles, "overlap": 8}),
        "7": ("VAEDecodeTiled", {"samples": ["6", 0], "vae": ["2", 0], **tiles}),
        "8": ("SaveImage", {"images": ["7", 0], "filename_prefix": "tiled"}),
        **more,
    }
    return {node: {"class_type": kind, "inputs": inputs} for node, (kind, inputs) in nodes.items()}


def likeness(one: Any, other: Any) -> float:
    """Peak signal to noise in dB."""
    return float(10 * np.log10(255**2 / np.mean((np.float64(one) - other) ** 2)))


def test_a_picture_goes_through_the_vae_and_back_whole_and_in_tiles(child: Child) -> None:
    pixels = waves(96, 128)
    upload(child.host, "waves.png", png(pixels))
    entry = child.host.history(child.host.submit(through_the_vae("waves.png")))
    assert entry["status"]["completed"], entry["status"]["messages"][-1]
    whole, tiled = (shown(child.host, entry, node) for node in ("5", "8"))
    assert whole.shape == tiled.shape == pixels.shape
    assert likeness(whole, pixels) > 20
    assert likeness(tiled, whole) > 30


def test_a_masked_picture_is_encoded_with_its_middle_grey(child: Child) -> None:
    upload(child.host, "waves.png", png(waves(96, 128)), overwrite="true")
    mask = {"value": 1.0, "width": 128, "height": 96}
    inpaint = {"pixels": ["1", 0], "vae": ["2", 0], "mask": ["9", 0], "grow_mask_by": 6}
    graph = through_the_vae(
        "waves.png",
        **{"9": ("SolidMask", mask), "3": ("VAEEncodeForInpaint", inpaint)},
    )
    entry = child.host.history(child.host.submit(graph))
    assert entry["status"]["completed"], entry["status"]["messages"][-1]
    middle = shown(child.host, entry, "5")[16:-16, 16:-16]
    assert np.abs(middle.astype(int) - 127).mean() < 20


def test_drawing_starts_from_a_loaded_picture_the_more_so_the_less_is_denoised(
    child: Child,
) -> None:
    pixels = np.full((64, 64, 3), (200, 40, 40), np.uint8)
    upload(child.host, "red.png", png(pixels))
    found = []
    for denoise in (0.2, 0.9):
        one = graph(denoise=denoise, latent_image=["21", 0])
        one["1"] = {
            "class_type": "UNETLoader",
            "inputs": {"unet_name": "vulcan-micro-F16.safetensors", "weight_dtype": "default"},
        }
        one["20"] = {"class_type": "LoadImage", "inputs": {"image": "red.png"}}
        encode = {"pixels": ["20", 0], "vae": ["9", 0]}
        one["21"] = {"class_type": "VAEEncode", "inputs": encode}
        entry = child.host.history(child.host.submit(one))
        assert entry["status"]["completed"], entry["status"]["messages"][-1]
        found.append(likeness(shown(child.host, entry, "11"), pixels))
    assert found[0] > found[1] + 3, found
