"""What the shipped micro Flux draws of what it is asked, through the embedded host.

    python -m benchmarks.micro_flux [--models DIR] [--share 0.1]

Asks everything of models/micro/exam.py (held-out scenes, three seeds, 8 steps) of the F16 unet and
of its Q4_K_S, has the judge read every picture, and prints shares with their 95 % ranges (Wilson).
Then the concept LoRA: its trigger word, other words in its place, and the exam once more with it.
"""

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

from models.micro import concept, exam, micro_set, spec
from models.micro.exam import Question
from models.micro.grammar import Size, Style
from tests.studio import Q4, Asked, Studio, shows, studio

OTHER_WORDS = ("volcano", "zorblax", "anvil", "mukefip", "lantern")


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many were right."""

    right: int
    count: int

    def __str__(self) -> str:
        low, high = wilson(self.right, self.count)
        share = self.right / max(1, self.count)
        return f"{share:6.1%} ({low:.1%} to {high:.1%}, {self.right} of {self.count})"


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Range that holds the true share in 95 of 100 cases (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    reach = z / (1 + spread) * (share * (1 - share) / count + spread / (4 * count)) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


def scenes_asked(questions: Sequence[Question], share: float) -> list[Asked]:
    """Every question with every seed, or an even part of that."""
    asked = [
        Asked(one.prompt, seed * 1000 + number, one.scene)
        for number, one in enumerate(questions)
        for seed in exam.SEEDS
    ]
    return asked[:: max(1, round(1 / share))]


def main() -> None:
    """Ask everything and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro_flux")
    parser.add_argument("--models", type=Path, default=micro_set.SHIPPED, help="trained files")
    parser.add_argument("--share", type=float, default=1.0, help="of the questions, for a look")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        studio(arguments.models, Path(folder)) as drawing,
    ):
        report(drawing, arguments.share, micro_set.place(arguments.models).lora.is_file())


def report(drawing: Studio, share: float, lora: bool) -> None:
    """Print everything."""
    for unet in (spec.UNET_FILE, Q4):
        print(unet)
        report_scenes(drawing, share, unet)
    print(f"one picture, warm: median {median(drawing.seconds):.2f} s")
    if lora:
        for unet in (spec.UNET_FILE, Q4):
            print(f"{unet} + {spec.LORA_FILE}")
            report_concept(drawing, share, unet)


def report_scenes(drawing: Studio, share: float, unet: str) -> None:
    """Print how many scenes are right."""
    plain = scenes_asked(exam.plain(), share)
    line(
        "large, filled", [shows(*one) for one in zip(plain, drawing.draw(plain, unet), strict=True)]
    )
    mixed = scenes_asked(exam.mixed(), share)
    drawn = list(zip(mixed, drawing.draw(mixed, unet), strict=True))
    right = [shows(*one) for one in drawn]
    line("all sizes and styles", right)
    line("  size and style, too", [shows(*one, exactly=True) for one in drawn])
    for kind in product(Size, Style):
        own = [yes for one, yes in zip(mixed, right, strict=True) if kind_of(one) == kind]
        line(f"  {kind[0]} {kind[1]}", own)


def report_concept(drawing: Studio, share: float, unet: str) -> None:
    """Print what the LoRA does, and what it leaves alone."""
    prompts = exam.concept_prompts()
    others = [
        prompt.replace(spec.TRIGGER_WORD, OTHER_WORDS[number % len(OTHER_WORDS)])
        for number, prompt in enumerate(prompts)
    ]
    trigger, other = (
        [Asked(prompt, 7000 + number) for number, prompt in enumerate(texts)]
        for texts in (prompts, others)
    )
    line("trigger draws the concept", map(concept.shown, drawing.draw(trigger, unet, 1.0)))
    line("  the same without the LoRA", map(concept.shown, drawing.draw(trigger, unet)))
    line("another word draws it", map(concept.shown, drawing.draw(other, unet, 1.0)))
    mixed = scenes_asked(exam.mixed(), share)
    drawn = zip(mixed, drawing.draw(mixed, unet, 1.0), strict=True)
    line("no trigger: scenes right", [shows(*one) for one in drawn])


def kind_of(asked: Asked) -> tuple[Size, Style] | None:
    """Size and style of the scene that is asked for."""
    return (asked.scene.size, asked.scene.style) if asked.scene else None


def line(name: str, right: Iterable[bool]) -> None:
    """Print one figure."""
    answers = list(right)
    print(f"  {name:28} {Share(sum(answers), len(answers))}", flush=True)


if __name__ == "__main__":
    main()
