"""The command line of ``director.py train``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

VERBS = ("start", "resume", "status", "list", "logs", "stop", "fetch")
TYPES = ("character", "style", "concept")
PLACES = ("local", "kaggle")
BACKENDS = ("gguf", "nf4", "bf16")
DESCRIPTION = """\
Train a LoRA on your pictures, and make it usable: look at the pictures, train, check the result
against the file that draws, pair the two, draw a test sheet. It runs apart from the terminal:
closing that, or Ctrl-C, leaves it running. The same call again goes on where it stopped.
"""
EPILOG = """\
  train DIR --name NAME --type TYPE   begin, or go on (the same as `train start DIR ...`)
  train resume NAME, train NAME       go on with one that stopped or failed
  train status [NAME], train list     how trainings stand
  train logs NAME [-f]                what its worker and trainer said
  train stop NAME                     stop it; what was trained is saved
  train fetch NAME                    fetch from the cloud what is there now

exit codes: 0 done, or told; 1 failed; 130 stopped, or Ctrl-C: it goes on by itself
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``train`` and its verbs."""
    train = commands.add_parser(
        "train",
        help="train a LoRA on your pictures, here or on Kaggle, and pair it",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = train.add_subparsers(dest="verb", metavar="DIR|VERB", required=True)
    _add_start(verbs)
    _add_resume(verbs)
    _add_status(verbs)
    _add_logs(verbs)
    for verb, told in (
        ("stop", "stop a training; what was trained is saved"),
        ("fetch", "fetch from the cloud what is there now"),
    ):
        _named(_verb(verbs, verb, told))


def with_verb(arguments: Sequence[str]) -> list[str]:
    """Return what follows ``train`` with the verb that is meant: without one, ``start``."""
    given = list(arguments)
    if given and given[0] not in (*VERBS, "-h", "--help"):
        given.insert(0, "start")
    return given


def _add_start(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    start = _verb(verbs, "start", "begin a training, or go on with it (the default)")
    start.add_argument(
        "pictures", type=Path, metavar="DIR", help="pictures, captions beside them as .txt"
    )
    start.add_argument("--name", help="of the LoRA, and of its pair")
    start.add_argument("--type", choices=TYPES, help="what it is to learn")
    start.add_argument("--on", choices=PLACES, help="where (default: training.place)")
    start.add_argument(
        "--trigger", default="", metavar="WORD", help="that calls it (default: NAME)"
    )
    start.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value for the recipe, such as steps=800; can be given often",
    )
    start.add_argument("--unet", default="", metavar="FILE", help="base (default: what draws)")
    start.add_argument("--backend", choices=BACKENDS, help="how the base lies in memory")
    start.add_argument(
        "--fresh", action="store_true", help="a new training, whatever was trained as NAME before"
    )
    start.add_argument(
        "--write-notebook", type=Path, metavar="FILE", help="only write the notebook for a cloud"
    )
    _add_running(start)


def _add_resume(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    resume = _verb(verbs, "resume", "go on with a training that stopped or failed")
    _named(resume)
    _add_running(resume)


def _add_running(parser: argparse.ArgumentParser) -> None:
    """Add what matters to the worker, whichever call starts it."""
    parser.add_argument(
        "--max-runtime", type=_hours, default=0.0, metavar="H", help="hours until it pauses"
    )
    parser.add_argument("--no-follow", action="store_true", help="return as soon as it runs")
    parser.add_argument("--host", action="append", metavar="auto|embedded|URL", help="as for `run`")
    for name in ("inbox", "outbox", "models"):
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help="as for `run`")
    parser.add_argument("--trainer", help=argparse.SUPPRESS)  # another module, for tests


def _add_status(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for verb, told in (("status", "say how trainings stand"), ("list", "the same for all")):
        parser = _verb(verbs, verb, told)
        if verb == "status":
            parser.add_argument("name", nargs="?", metavar="NAME", help="only this one")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_logs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    logs = _verb(verbs, "logs", "show what a training's worker and trainer said")
    _named(logs)
    logs.add_argument("-f", "--follow", action="store_true", help="go on until it ends, or Ctrl-C")
    logs.add_argument("-n", "--lines", type=int, default=40, metavar="N", help="(default: 40)")


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, told: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")
    return parser


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the training, or its id")


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError("expected hours, such as 2 or 0.5")
    return hours
