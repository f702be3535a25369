"""What a LoRA learns on the 4-bit file that will render, against one learned on FP16 and on NF4.

    python -m benchmarks.lora_training [--seeds 2] [--backends gguf bf16 nf4] [--share 0.25]

Trains the same 20 pictures with `python -m training` on each base, with each seed, and has an
embedded host draw with every one of these LoRAs on the Q4_K_S file. The judge says how many of the
trigger's pictures show the concept, how many of another word's do, and how many scenes without the
trigger are right, which is compared with the bare base; and the loss on pictures that no LoRA saw
is measured on the Q4_K_S file (:mod:`benchmarks.heldout`).
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks import heldout
from benchmarks.micro_flux import OTHER_WORDS, Share, scenes_asked
from models.micro import concept, exam, micro_set, spec
from models.store import Folder
from tests import studio, training_kit
from tests.studio import Q4, Asked, Studio, shows
from training.run_plan import Backend


def main() -> None:
    """Train, draw, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lora_training")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--backends", nargs="+", default=["gguf", "bf16"], choices=list(Backend))
    parser.add_argument("--share", type=float, default=0.25, help="of the scenes without trigger")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = training_kit.models(folder / "training")
        pictures = training_kit.photos(folder / "photos")
        with studio.studio(micro_set.SHIPPED, folder) as drawing:
            loras = folder / "folder" / Folder.LORAS
            tell(drawing, "no LoRA", "", chosen.share)
            for seed in range(chosen.seeds):
                for backend in map(Backend, chosen.backends):
                    run = training_kit.run(
                        folder / f"{backend}-{seed}", files, pictures, backend, seed=seed
                    )
                    begun = time.monotonic()
                    done = training_kit.train(run, timeout=1800)
                    assert done.returncode == 0, done.stderr
                    seconds = time.monotonic() - begun
                    file = run.lora(run.path.name)
                    shutil.copy(file, loras / file.name)
                    name = f"trained on {backend}, seed {seed}, {seconds:.0f} s"
                    tell(drawing, name, file.name, chosen.share)
                    unseen = heldout.loss(run, files.unet.with_name(training_kit.Q4))
                    print(f"  loss on unseen pictures    {unseen:.5f}", flush=True)


def tell(drawing: Studio, name: str, lora: str, share: float) -> None:
    """Print what a LoRA does on the Q4_K_S."""
    strength = 1.0 if lora else 0.0
    prompts = exam.concept_prompts()
    trigger = [Asked(p, 7000 + 1000 * s + n) for s in range(2) for n, p in enumerate(prompts)]
    others = [
        Asked(p.replace(spec.TRIGGER_WORD, OTHER_WORDS[n % len(OTHER_WORDS)]), 7000 + n)
        for n, p in enumerate(prompts)
    ]
    scenes = scenes_asked(exam.mixed(), share)

    def drawn(asked: list[Asked]) -> list[bool]:
        return [concept.shown(one) for one in drawing.draw(asked, Q4, strength, lora)]

    own, other = drawn(trigger), drawn(others)
    pictures = zip(scenes, drawing.draw(scenes, Q4, strength, lora), strict=True)
    right = [shows(*one) for one in pictures]
    print(name)
    print(f"  trigger draws the concept  {Share(sum(own), len(own))}")
    print(f"  another word draws it      {Share(sum(other), len(other))}")
    print(f"  scenes without it right    {Share(sum(right), len(right))}", flush=True)


if __name__ == "__main__":
    main()
