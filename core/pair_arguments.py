"""The command line of ``director.py pair``."""

import argparse
from pathlib import Path


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``pair``."""
    pair = commands.add_parser(
        "pair",
        help="name a set of unet, LoRAs and companions, and publish it to a ComfyUI",
        description="Make a pair: check that every key of each LoRA finds its target, hash all "
        "files, publish them to hosts' models folders, and write the pair down under its name, "
        "which prompt files then use (pair: NAME). Without options it is shown; without a name "
        "all are listed. Files are paths, or names in the models folder.",
        epilog="exit code 1: it was not made; or a pair that is shown cannot be used as it is",
    )
    pair.add_argument("name", metavar="NAME", nargs="?", help="the pair's name")
    pair.add_argument("--unet", metavar="FILE", help="GGUF (default: the settings' own)")
    pair.add_argument(
        "--lora", action="append", metavar="FILE[:STRENGTH]", help="can be given often"
    )
    pair.add_argument("--trigger", metavar="WORD", help="instead of those that the LoRAs name")
    pair.add_argument("--clip-l", metavar="FILE", help="text encoder (default: the settings')")
    pair.add_argument("--t5", metavar="FILE", help="text encoder (default: the settings')")
    pair.add_argument("--vae", metavar="FILE", help="autoencoder (default: the settings')")
    pair.add_argument(
        "--to",
        type=Path,
        action="append",
        metavar="DIR",
        help="a ComfyUI's models folder, can be given often (default: host.models of the settings)",
    )
    pair.add_argument("--again", action="store_true", help="make it anew of the files it was from")
    pair.add_argument("--remove", action="store_true", help="forget the pair")
    pair.add_argument(
        "--prune", action="store_true", help="remove published files that nothing uses any more"
    )
    pair.add_argument("--json", action="store_true", help="one JSON object a line")
    pair.add_argument("--models", type=Path, metavar="DIR", help="folder with the model files")
    pair.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")
