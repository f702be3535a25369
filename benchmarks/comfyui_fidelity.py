"""Compare what the embedded host samples with what a running ComfyUI samples, latent by latent.

    python -m benchmarks.comfyui_fidelity URL MODELS --unet A --clip-l B --t5 C --vae D --lora E

URL is a ComfyUI with ComfyUI-GGUF that has the model files of the folder MODELS (a GGUF unet).
Each case is one graph that both run as it is, at the same time; ComfyUI's latents come back through
SaveLatent and ``/view``. Printed is |ours - theirs| / |theirs| of each, and the largest difference
of one number. docs/host.md has the figures.
"""

import argparse
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from host import nodes
from host.engine import Engine
from host.executor import Executor
from host.folders import Folders
from host.interrupt import Interrupt
from host.job_queue import Job
from host.node_inputs import wire
from host.node_types import Context, NodeType, Result
from host.sampler_nodes import SAMPLERS, SCHEDULERS
from host.surroundings import Surroundings
from host.values import Latent

Graph = dict[str, dict[str, Any]]

WAIT = 600.0  # seconds for one graph of ComfyUI


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """Return a node of a graph."""
    return {"class_type": kind, "inputs": inputs}


# --- the graphs ---


@dataclass(frozen=True, slots=True)
class Files:
    """Names of the model files, and what all graphs share.

    Attributes:
        unet: a GGUF.
        clip_l: a text encoder.
        t5: the other.
        vae: for pictures to start from.
        lora: its strength is 1.
        steps: of each sampling.
        side: of the pictures, in pixels.
    """

    unet: str
    clip_l: str
    t5: str
    vae: str
    lora: str
    steps: int
    side: int

    def base(self) -> Graph:
        """Models, prompts, an empty latent, a picture, and the latent of it."""
        return {
            "unet": node("UnetLoaderGGUF", unet_name=self.unet),
            "lora": node(
                "LoraLoaderModelOnly",
                model=["unet", 0],
                lora_name=self.lora,
                strength_model=1.0,
            ),
            "clips": node(
                "DualCLIPLoaderGGUF", clip_name1=self.clip_l, clip_name2=self.t5, type="flux"
            ),
            "wanted": node("CLIPTextEncode", text="a red circle on sand", clip=["clips", 0]),
            "good": node("FluxGuidance", conditioning=["wanted", 0], guidance=3.5),
            "unwanted": node("CLIPTextEncode", text="a blue square", clip=["clips", 0]),
            "bad": node("FluxGuidance", conditioning=["unwanted", 0], guidance=1.0),
            "empty": node("EmptySD3LatentImage", width=self.side, height=self.side, batch_size=1),
            "small": node(
                "EmptyImage", width=self.side // 2, height=self.side, batch_size=1, color=0x3366CC
            ),
            # The right half is to be drawn anew, with a soft edge.
            "padded": node(
                "ImagePadForOutpaint",
                image=["small", 0],
                left=0,
                top=0,
                right=self.side // 2,
                bottom=0,
                feathering=self.side // 4,
            ),
            "vae": node("VAELoader", vae_name=self.vae),
            "picture": node("VAEEncode", pixels=["padded", 0], vae=["vae", 0]),
            "masked": node("SetLatentNoiseMask", samples=["picture", 0], mask=["padded", 1]),
        }

    def ksampler(self, sampler: str, scheduler: str, **other: Any) -> dict[str, Any]:
        """A KSampler; from noise, at a cfg of 1, unless it is told otherwise."""
        usual = {
            "model": ["unet", 0],
            "seed": 803813584476,
            "steps": self.steps,
            "cfg": 1.0,
            "sampler_name": sampler,
            "scheduler": scheduler,
            "positive": ["good", 0],
            "negative": ["bad", 0],
            "latent_image": ["empty", 0],
            "denoise": 1.0,
        }
        return node("KSampler", **{**usual, **other})

    def cases(self) -> Iterator[tuple[str, Graph]]:
        """Yield every case: its name, and the graph whose node ``end`` is the latent."""
        base = self.base()
        yield "picture encoded", {**base, "end": base["picture"]}
        for sampler in SAMPLERS:
            for scheduler in SCHEDULERS:
                name = f"{sampler} {scheduler}"
                yield name, {**base, "end": self.ksampler(sampler, scheduler)}
                with_lora = self.ksampler(sampler, scheduler, model=["lora", 0])
                yield f"{name}, LoRA", {**base, "end": with_lora}
            for name, other in _VARIANTS.items():
                end = self.ksampler(sampler, "simple", **other)
                yield f"{sampler} simple, {name}", {**base, "end": end}
        yield "custom, shifted levels", {**base, **self._custom()}

    def _custom(self) -> Graph:
        size = {"width": 512, "height": 512}
        return {
            "shifted": node(
                "ModelSamplingFlux", model=["lora", 0], max_shift=1.15, base_shift=0.5, **size
            ),
            "noise": node("RandomNoise", noise_seed=11),
            "guider": node("BasicGuider", model=["shifted", 0], conditioning=["good", 0]),
            "walk": node("KSamplerSelect", sampler_name="dpmpp_2m"),
            "levels": node(
                "BasicScheduler",
                model=["shifted", 0],
                scheduler="beta",
                steps=self.steps,
                denoise=0.8,
            ),
            "end": node(
                "SamplerCustomAdvanced",
                noise=["noise", 0],
                guider=["guider", 0],
                sampler=["walk", 0],
                sigmas=["levels", 0],
                latent_image=["masked", 0],
            ),
        }


_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "cfg 2": {"cfg": 2.0},
    "denoise 0.6": {"denoise": 0.6, "latent_image": ["picture", 0]},
    "mask": {"latent_image": ["masked", 0]},
    "mask, denoise 0.6, cfg 2": {"latent_image": ["masked", 0], "denoise": 0.6, "cfg": 2.0},
}


# --- the two hosts ---


class ComfyUI:
    """A running ComfyUI."""

    def __init__(self, url: str, *, unpacks_exactly: bool) -> None:
        """Take a ComfyUI.

        Args:
            url: where it listens.
            unpacks_exactly: have ComfyUI-GGUF unpack weights in float32; its own way is float16.
        """
        self._url = url.rstrip("/")
        self._unpacks_exactly = unpacks_exactly

    def latent(self, graph: Graph) -> torch.Tensor:
        """Run a graph; return the latent at its node ``end``."""
        save = node("SaveLatent", samples=["end", 0], filename_prefix=f"fidelity/{time.time_ns()}")
        unet = self._unet(graph["unet"])
        prompt = {**graph, "unet": unet, "save": save}
        answer = json.loads(self._ask("/prompt", {"prompt": prompt}))
        entry = self._ended(answer["prompt_id"])
        if entry["status"]["status_str"] != "success":
            raise SystemExit(f"ComfyUI failed: {entry['status']['messages'][-1]}")
        (saved,) = entry["outputs"]["save"]["latents"]
        return load(self._ask(f"/view?{urllib.parse.urlencode(saved)}"))["latent_tensor"]

    def _unet(self, loader: dict[str, Any]) -> dict[str, Any]:
        if not self._unpacks_exactly:
            return loader
        exactly = {"dequant_dtype": "float32", "patch_dtype": "default", "patch_on_device": False}
        return node("UnetLoaderGGUFAdvanced", **loader["inputs"], **exactly)

    def _ended(self, prompt_id: str) -> dict[str, Any]:
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            entry = json.loads(self._ask(f"/history/{prompt_id}")).get(prompt_id)
            if entry:
                return dict(entry)
            time.sleep(0.1)
        raise SystemExit(f"ComfyUI did not end a graph within {WAIT:g} s")

    def _ask(self, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self._url + path, data, timeout=60) as reply:
            return bytes(reply.read())


class Ours:
    """The embedded host's engine and executor, without its server."""

    def __init__(self, models: Path) -> None:
        self._kept: list[Latent] = []
        self._interrupt = Interrupt()
        engine = Engine.on_best_device(models)
        keep = NodeType("Keep", (wire("samples", "LATENT"),), (), self._keep, always_runs=True)
        around = Surroundings(
            {**nodes.TABLE, "Keep": keep},
            Folders(models, models, models, models),
            lambda: engine,
            time.time,
            lambda: "abcde",
            previews=False,
        )
        self._executor = Executor(around, self._interrupt, lambda message, client: None)

    def latent(self, graph: Graph) -> torch.Tensor:
        """Run a graph; return the latent at its node ``end``."""
        self._interrupt.begin("job")
        job = Job(1, "job", {**graph, "keep": node("Keep", samples=["end", 0])}, outputs=("keep",))
        ended = self._executor.run(job).entry()
        if ended["status"]["status_str"] != "success":
            raise SystemExit(f"the embedded host failed: {ended['status']['messages'][-1]}")
        return self._kept.pop().samples

    def _keep(self, context: Context, *, samples: Latent) -> Result:
        del context
        self._kept.append(samples)
        return Result((), {})


def main() -> None:
    """Run every case on both and print a table."""
    options = _options()
    files = Files(
        options.unet,
        options.clip_l,
        options.t5,
        options.vae,
        options.lora,
        options.steps,
        options.side,
    )
    theirs, ours = ComfyUI(options.url, unpacks_exactly=options.exactly), Ours(options.models)
    print("| case | relative L2 | largest difference |\n|---|---|---|")
    for name, graph in files.cases():
        if options.only in name:
            expected, found = _both(theirs, ours, graph)
            off = (found - expected).norm() / expected.norm()
            largest = (found - expected).abs().max()
            print(f"| {name} | {off:.1e} | {largest:.1e} |", flush=True)


def _both(theirs: ComfyUI, ours: Ours, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
    with ThreadPoolExecutor(1) as beside:
        expected = beside.submit(theirs.latent, graph)
        found = ours.latent(graph)
        return expected.result().float(), found.float()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("models", type=Path)
    for name in ("unet", "clip-l", "t5", "vae", "lora"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--side", type=int, default=64, help="of the pictures, in pixels")
    parser.add_argument("--only", default="", help="cases whose names hold this")
    parser.add_argument(
        "--exactly", action="store_true", help="ComfyUI-GGUF unpacks weights in float32"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
