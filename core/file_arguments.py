"""The command line of what makes and checks GGUFs: ``quantize``, ``bake``, ``verify``."""

import argparse
from pathlib import Path


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the three."""
    _add_quantize(commands)
    _add_bake(commands)
    _add_verify(commands)


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


def _add_bake(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    bake = commands.add_parser(
        "bake",
        help="turn a Flux with LoRAs in it into a smaller GGUF, and prove that they are",
        description="Turn a FLUX.1 into a quantised GGUF with LoRAs added on the way, in float32, "
        "and measure of each layer how much of them the file keeps. A layer below 97 % gets a "
        "finer type. The same LoRAs, base and type are baked once.",
        epilog="exit code 1: nothing was made; the message says why",
    )
    bake.add_argument("source", type=Path, metavar="SRC", help="as for `quantize`, not quantised")
    bake.add_argument(
        "--lora",
        metavar="FILE[:STRENGTH]",
        action="append",
        required=True,
        help="LoRA and its strength (default: 1); can be given often, all are added",
    )
    bake.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="GGUF to write; default: beside SRC, named after it, the LoRAs and the type",
    )
    bake.add_argument("--type", default="Q4_K_S", help="file type (default: Q4_K_S)")
    bake.add_argument(
        "--tensor-type",
        metavar="PATTERN=TYPE",
        action="append",
        default=[],
        help="as for `quantize`; such a tensor keeps its type, whatever is lost",
    )
    bake.add_argument("--report", type=Path, metavar="JSON", help="write all layers there")
    bake.add_argument("--plot", type=Path, metavar="PNG", help="draw all layers there")
    bake.add_argument("--force", action="store_true", help="make it again, replace what is there")
    bake.add_argument("--json", action="store_true", help="one JSON object a line, no bar")


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
