"""`python -m training.micro`: train the micro Flux from nothing, or go on where it was stopped."""

import argparse
import logging
import sys
from pathlib import Path

import torch
from rich.console import Console

from training.micro import course
from training.micro.recipe import Recipe
from training.micro.stage import Progress

console = Console(highlight=False)


def main() -> int:
    """Train; 1 and a sentence if the disk refuses."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = _parser().parse_args()
    recipe = Recipe(seed=arguments.seed)
    if arguments.shorter != 1.0:
        recipe = recipe.shortened(arguments.shorter)
    try:
        course.run(recipe, arguments.work, arguments.device, _tell)
    except KeyboardInterrupt:
        console.print(f"Stopped. The same command goes on from {arguments.work}.")
        return 130
    except course.OtherRecipeError as error:
        sys.stderr.write(f"{error}. Choose another folder with --work, or delete that one.\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"The training stopped: {error}. The same command goes on from there.\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.micro", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(".vulcan/micro-training"),
        help="folder of checkpoints, pictures, the curve and, at the end, models/",
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda"
    )
    parser.add_argument(
        "--shorter",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="train for this share of the steps only: to see that all of it runs",
    )
    return parser


def _tell(progress: Progress) -> None:
    left = (progress.steps - progress.step) * progress.rate / 60
    console.print(
        f"{progress.stage:9} {progress.step:5} of {progress.steps}  loss {progress.loss:.4f}  "
        f"{progress.rate:.2f} s/step  {left:.0f} min left"
    )


if __name__ == "__main__":
    sys.exit(main())
