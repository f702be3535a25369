"""The concept LoRA on the micro Flux, baked against applied while drawing: its effect and its cost.

    python -m benchmarks.baked_lora [--pictures 50] [--seeds 4] [--rounds 12]

Draws the exam's concept prompts with Q4_K_S and the LoRA at runtime, and with the baked file, and
has the judge say how many show the concept. Then times single steps of bare, baked and runtime: the
three draw the same picture in turns, each with a unet file of its own, and what is printed is the
median step, and the median over the turns of its ratio to the bare one of the same turn.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.micro_flux import Share
from bridge.request import LoraChoice, Request
from core import report_pictures
from core.easel import Easel, easel
from core.report_pictures import Way
from models.micro import concept, exam, micro_set, spec
from models.store import Folder
from models.tensor_types import FileType
from quantize import bake, bake_plan
from quantize.lora_delta import Choice
from tests import studio
from tests.studio import Q4, Asked, Studio

BAKED = "vulcan-micro-baked-Q4_K_S.gguf"
STEPS = 16  # of a picture that is timed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baked_lora")
    parser.add_argument("--pictures", type=int, default=50, help="of the exam's prompts")
    parser.add_argument("--seeds", type=int, default=4, help="of each prompt")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each way, timed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with studio.studio(micro_set.SHIPPED, Path(folder)) as drawing:
            models = Path(folder) / "folder"
            bake_micro(models)
            effect(drawing, chosen.pictures, chosen.seeds)
        cost(models, Path(folder), chosen.rounds)


def bake_micro(models: Path) -> None:
    """Bake the concept LoRA into the set's unet, beside it."""
    files = micro_set.place(models)
    target = files.unet.with_name(BAKED)
    for _ in bake.run(
        bake_plan.make(files.unet, target, FileType.Q4_K_S, [Choice(files.lora)]), workers=2
    ):
        pass


def effect(drawing: Studio, pictures: int, seeds: int) -> None:
    """Print the shares that show the concept, and their ratio."""
    prompts = exam.concept_prompts()[:pictures]
    asked = [Asked(p, 7000 + 1000 * s + n) for s in range(seeds) for n, p in enumerate(prompts)]
    right = {}
    for name, unet, lora in (("bare", Q4, 0.0), ("runtime LoRA", Q4, 1.0), ("baked", BAKED, 0.0)):
        shown = [concept.shown(pixels) for pixels in drawing.draw(asked, unet, lora)]
        right[name] = sum(shown)
        print(f"{name:14} shows the concept {Share(sum(shown), len(shown))}", flush=True)
    print(f"baked / runtime {right['baked'] / max(1, right['runtime LoRA']):.3f}", flush=True)


def cost(models: Path, folder: Path, rounds: int) -> None:
    """Print the time of a step in each way."""
    unets = models / Folder.UNET
    ways = [
        Way("bare", "bare", unets / Q4, lora=False, reference="bare"),
        Way("baked", "baked", unets / BAKED, lora=False, reference="bare"),
        Way("runtime", "runtime LoRA", unets / Q4, lora=True, reference="bare"),
    ]
    files = micro_set.place(models)
    others = {f"{Folder.TEXT_ENCODERS}/{path.name}": path for path in (files.clip_l, files.t5)}
    others[f"{Folder.VAE}/{files.vae.name}"] = files.vae
    (lora,) = report_pictures.lay_out(folder / "timed", ways, [files.lora], others)
    with easel(folder / "timed", folder / "easel") as host:
        found = timed(host, ways, LoraChoice(lora, 1.0), rounds)
    for way in ways:
        ratio = median(own / bare for own, bare in zip(found[way.name], found["bare"], strict=True))
        print(f"{way.label:14} {median(found[way.name]) * 1e3:6.1f} ms a step, {ratio:.3f} x bare")


def timed(
    host: Easel, ways: Sequence[Way], lora: LoraChoice, rounds: int
) -> Mapping[str, list[float]]:
    """The median step of each turn, by way; one turn more than asked warms up."""
    found: dict[str, list[float]] = {way.name: [] for way in ways}
    for turn in range(rounds + 1):
        for way in [*ways[turn % len(ways) :], *ways[: turn % len(ways)]]:
            drawn = host.draw(wanted(way, lora, turn))
            if turn:
                found[way.name].append(median(drawn.steps))
    return found


def wanted(way: Way, lora: LoraChoice, turn: int) -> Request:
    """What a way draws in a turn."""
    return Request(
        prompt=f"a large {spec.TRIGGER_WORD} on a white background",
        negative="",
        width=spec.SIDE,
        height=spec.SIDE,
        steps=STEPS,
        guidance=3.5,
        cfg=1.0,
        seed=turn,
        loras=(lora,) if way.lora else (),
        workflow="txt2img",
        unet=f"{way.name}.gguf",
        text_encoders=(spec.CLIP_FILE, spec.T5_FILE),
        vae=spec.VAE_FILE,
    )


if __name__ == "__main__":
    main()
