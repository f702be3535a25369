"""The command line of ``director.py lora``."""

import argparse
from pathlib import Path

UNET = "the Flux it is for: .gguf, .safetensors, an index or a folder"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``lora`` and what can be done with one."""
    lora = commands.add_parser(
        "lora",
        help="look into a LoRA, check that it fits, convert it",
        description="Look into a LoRA, check it against a Flux, or rewrite it so that ComfyUI and "
        "diffusers load it. Only .safetensors files are read.",
    )
    actions = lora.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_inspect(actions)
    _add_check(actions)
    _add_convert(actions)


def _add_inspect(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    inspect = actions.add_parser(
        "inspect",
        help="say what is in a LoRA",
        description="Say what is in a LoRA: naming, rank, scale, which layers it changes and how "
        "much, how it was made, its hashes, and who loads it.",
        epilog="exit code 1: it is damaged, or of a kind that Vulcan cannot apply",
    )
    inspect.add_argument("file", type=Path, metavar="FILE", help="LoRA (.safetensors)")
    inspect.add_argument("--unet", type=Path, metavar="FILE", help=f"{UNET}; else it is guessed")
    inspect.add_argument("--json", action="store_true", help="one JSON object, with every layer")


def _add_check(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = actions.add_parser(
        "check",
        help="check that all of a LoRA applies to a Flux",
        description="Check that every tensor of a LoRA finds its target in a Flux, with the right "
        "shape, that its numbers and scales are sound, and that ComfyUI knows its names.",
        epilog="exit code 0: all of it applies; 1: some of it does not",
    )
    check.add_argument("file", type=Path, metavar="FILE", help="LoRA (.safetensors)")
    check.add_argument("--unet", type=Path, metavar="FILE", required=True, help=UNET)
    check.add_argument("--json", action="store_true", help="one JSON object")


def _add_convert(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    convert = actions.add_parser(
        "convert",
        help="rewrite a LoRA in the names that ComfyUI and diffusers both load",
        description="Rewrite a LoRA in diffusers' names, with its scale multiplied in: ComfyUI and "
        "diffusers both load that, with the same result. Its effect stays the same.",
    )
    convert.add_argument("file", type=Path, metavar="FILE", help="LoRA (.safetensors)")
    convert.add_argument("target", type=Path, metavar="OUT", help="file to write (.safetensors)")
    convert.add_argument("--unet", type=Path, metavar="FILE", help=f"{UNET}; else it is guessed")
    convert.add_argument("--force", action="store_true", help="replace a file that exists")
    convert.add_argument("--json", action="store_true", help="one JSON object")
