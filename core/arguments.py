"""The command line. Nothing but argparse is imported here, so that ``--help`` is instant."""

import argparse
from collections.abc import Sequence
from pathlib import Path

COMMANDS = ("run", "plan", "quantize", "verify")
EXIT_CODES = """\
exit codes:
  0    all went well
  1    a job, a prompt file or the whole run failed; the message says why
  2    the command line is wrong
  130  interrupted
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; without a command it is ``run``."""
    arguments = list(argv)
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("-h", "--help")):
        arguments.insert(0, "run")
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="director.py",
        description="Vulcan: makes FLUX.1 pictures on a 6 GB GPU, unattended. "
        "Without a command it runs the director: see `director.py run --help`.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_plan(commands)
    _add_quantize(commands)
    _add_verify(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser(
        "run",
        help="watch the drop folder and make pictures (the default)",
        description="Watch the drop folder, send each prompt to the host, file the pictures. "
        "Ctrl-C finishes the running job; a second one ends at once, and nothing is lost.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--once", action="store_true", help="work off what is there, then exit")
    run.add_argument("--host", metavar="auto|embedded|URL", help="where to render")
    run.add_argument("--inbox", type=Path, metavar="DIR", help="folder to drop prompt files in")
    run.add_argument("--outbox", type=Path, metavar="DIR", help="folder for the pictures")
    run.add_argument("--models", type=Path, metavar="DIR", help="folder with the model files")
    run.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")
    run.add_argument("--verbose", action="store_true", help="log what is usually left out")


def _add_plan(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    plan = commands.add_parser(
        "plan",
        help="show what a prompt file will give, before anything runs",
        description="Show what prompt files will give: each image with its resolved prompt, seed, "
        "size, steps and LoRA, the layout of grids, and how long it will take as far as earlier "
        "jobs tell. Nothing is rendered or written, and no host is needed.",
        epilog="exit code 1: one of the files cannot be used",
    )
    plan.add_argument("files", type=Path, metavar="FILE", nargs="+", help="prompt files")
    plan.add_argument("--all", action="store_true", help="all images, not the first 20 of a file")
    plan.add_argument("--json", action="store_true", help="one JSON object a file, with all images")
    plan.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")


def _add_quantize(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    quantize = commands.add_parser(
        "quantize",
        help="turn a Flux or a T5 encoder into a smaller GGUF",
        description="Turn a FLUX.1 or its T5 text encoder into a quantised GGUF, in one pass. SRC "
        "is a .safetensors file in F32, F16, BF16 or FP8, in the names of Black Forest Labs or "
        "of diffusers; the index of a sharded model; or a folder with one of these.",
    )
    quantize.add_argument("source", type=Path, metavar="SRC", help="file, index or folder")
    quantize.add_argument(
        "target",
        type=Path,
        metavar="DST",
        nargs="?",
        help="GGUF to write; default: beside SRC, named after it and the type",
    )
    quantize.add_argument("--type", default="Q4_K_S", help="file type (default: Q4_K_S)")
    quantize.add_argument(
        "--tensor-type",
        metavar="PATTERN=TYPE",
        action="append",
        default=[],
        help="another type for the tensors that match (wildcards * ? [...], whole names in the "
        "GGUF); can be given often, the last that matches counts",
    )
    quantize.add_argument(
        "--sorted", action="store_true", help="tensors in the order of their names, as llama.cpp"
    )
    quantize.add_argument(
        "--dry-run", action="store_true", help="write nothing; say what it will give and take"
    )
    quantize.add_argument("--force", action="store_true", help="replace a target that exists")
    quantize.add_argument("--json", action="store_true", help="one JSON object a line, no bar")


def _add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verify = commands.add_parser(
        "verify",
        help="check a GGUF, and measure how far it is from its source",
        description="Check that a GGUF is sound. With --against, compare it with the model that "
        "it was made from, tensor by tensor, and draw the errors over the depth of the model.",
        epilog="exit code 1: the file is not sound, or its weights are not the source's",
    )
    verify.add_argument("file", type=Path, metavar="FILE", help="GGUF of a FLUX.1 or a T5 encoder")
    verify.add_argument(
        "--against", type=Path, metavar="SRC", help="what it was made from: file, index or folder"
    )
    verify.add_argument(
        "--sample",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="compare only this share of each tensor, 0 to 1 (default: 1, everything)",
    )
    verify.add_argument(
        "--report", type=Path, metavar="PNG", help="where to draw (default: FILE's name + .png)"
    )
    verify.add_argument("--json", action="store_true", help="one JSON object a line, no bar")


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return share
