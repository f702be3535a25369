"""Has an embedded host draw prompts with the micro Flux, for tests and benchmarks that look."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image

from bridge import workflow
from bridge.client import HostClient
from bridge.graph import Workflow
from bridge.request import LoraChoice, Request
from configs.settings import WORKFLOWS
from core.host_process import HostProcess
from models.micro import judge, micro_set, spec
from models.micro.grammar import Scene
from models.micro.picture import Pixels
from models.tensor_types import FileType
from quantize import convert

STEPS = 8
IN_FLIGHT = 16
Q4 = spec.UNET_FILE.replace("F16.safetensors", "Q4_K_S.gguf")
TEMPLATE = WORKFLOWS / "txt2img.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """One picture to be made; its scene, if it is asked for one."""

    prompt: str
    seed: int
    scene: Scene | None = None


class Studio:
    """An embedded host that draws prompts."""

    def __init__(self, client: HostClient) -> None:
        self._client = client
        self._template = workflow.load(TEMPLATE)
        self.seconds: list[float] = []

    def draw(
        self, asked: Sequence[Asked], unet: str, lora: float = 0.0, file: str = spec.LORA_FILE
    ) -> Iterator[Pixels]:
        """Yield the picture of each, in order; the host always has some to do."""
        for first in range(0, len(asked), IN_FLIGHT):
            begun = time.monotonic()
            some = asked[first : first + IN_FLIGHT]
            jobs = [self._submitted(one, unet, LoraChoice(file, lora)) for one in some]
            yield from [self._picture(job) for job in jobs]
            self.seconds.append((time.monotonic() - begun) / len(jobs))

    def render(self, wanted: Request, image: bytes = b"") -> list[Pixels]:
        """Have one request drawn by its own workflow; `image` is the picture it starts from."""
        name = self._client.upload("start.png", image, "vulcan") if image else ""
        job = str(uuid4())
        template = workflow.named(WORKFLOWS, wanted.workflow)
        self._client.submit(workflow.build(template, wanted, f"drawn/{job}", name), job, {})
        return self._pictures(job)

    def _submitted(self, one: Asked, unet: str, lora: LoraChoice) -> str:
        job = str(uuid4())
        self._client.submit(self._graph(one, unet, lora, job), job, {})
        return job

    def _picture(self, job: str) -> Pixels:
        return self._pictures(job)[0]

    def _pictures(self, job: str) -> list[Pixels]:
        while (outcome := self._client.outcome(job)) is None:
            time.sleep(0.02)
        if not outcome.images:
            raise AssertionError(f"a job failed: {outcome}")
        files = [self._client.fetch(image) for image in outcome.images]
        return [np.asarray(Image.open(BytesIO(file or b"")).convert("RGB")) for file in files]

    def _graph(self, one: Asked, unet: str, lora: LoraChoice, job: str) -> Workflow:
        # The template has a GGUF loader; safetensors are put in its place afterwards.
        named = unet if unet.endswith(".gguf") else Q4
        wanted = request(one, named, lora.strength, lora.file)
        graph = workflow.build(self._template, wanted, f"exam/{job}")
        for node in graph.values():
            if node["class_type"] == "UnetLoaderGGUF" and unet != named:
                node["class_type"] = "UNETLoader"
                node["inputs"] = {"unet_name": unet, "weight_dtype": "default"}
        return graph


def request(one: Asked, unet: str, lora: float, file: str = spec.LORA_FILE) -> Request:
    """The request of one picture."""
    return Request(
        prompt=one.prompt,
        negative="",
        width=spec.SIDE,
        height=spec.SIDE,
        steps=STEPS,
        guidance=3.5,
        cfg=1.0,
        seed=one.seed,
        loras=(LoraChoice(file, lora),) if lora else (),
        workflow="txt2img",
        unet=unet,
        text_encoders=(spec.CLIP_FILE, spec.T5_FILE),
        vae=spec.VAE_FILE,
    )


@contextmanager
def studio(trained: Path, folder: Path) -> Iterator[Studio]:
    """Start an embedded host with a trained set and a Q4_K_S made of it.

    Args:
        trained: the set's files.
        folder: an empty one to work in.
    """
    host = HostProcess(laid_out(trained, folder), folder / "scratch")
    try:
        with HostClient(host.ensure(), "studio") as client:
            yield Studio(client)
    finally:
        host.stop()


def laid_out(trained: Path, root: Path) -> Path:
    """Copy trained files beside one another and quantise the unet."""
    models = root / "folder"
    for path in trained.rglob("*.safetensors"):
        target = models / path.relative_to(trained)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    source = micro_set.place(models).unet
    plan = convert.plan(source, source.with_name(Q4), FileType.Q4_K_S)
    list(convert.run(plan, workers=2))
    return models


def shows(asked: Asked, pixels: Pixels, *, exactly: bool = False) -> bool:
    """Whether a picture shows its scene: shape, colour, background (and size and style)."""
    assert asked.scene is not None
    reading = judge.read(pixels)
    return reading.shows_exactly(asked.scene) if exactly else reading.shows(asked.scene)
