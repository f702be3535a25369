"""The command line of ``director.py vram``."""

import argparse
from pathlib import Path


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``vram``."""
    vram = commands.add_parser(
        "vram",
        help="say what a job will do on a graphics card: what stays, what streams, what fits",
        description="Follow ComfyUI's own rules of memory with the headers of the model files: "
        "what stays on the card, what crosses the bus at each step, the peak, whether it fits, "
        "and the best settings for that card. Nothing is loaded or sent.",
        epilog="exit code 1: the job cannot fit, or a file cannot be used",
    )
    vram.add_argument("--workflow", metavar="NAME|FILE", help="workflow (default: the settings')")
    vram.add_argument(
        "--unet",
        metavar="FILE|TYPE",
        help="GGUF or safetensors, or a file type such as Q4_K_S: FLUX.1-dev of that type "
        "(default: the settings')",
    )
    vram.add_argument("--t5", metavar="FILE|TYPE", help="likewise of the T5 encoder; fp8, fp16")
    vram.add_argument(
        "--lora", type=Path, action="append", default=[], metavar="FILE", help="can be given often"
    )
    vram.add_argument("--width", type=int, metavar="N", help="pixels")
    vram.add_argument("--height", type=int, metavar="N", help="pixels")
    vram.add_argument("--batch", type=int, metavar="N", help="pictures at once (default: 1)")
    where = vram.add_mutually_exclusive_group()
    where.add_argument("--vram", metavar="SIZE", help="the card, such as 6GB (the default)")
    where.add_argument("--host", metavar="URL", help="ask this ComfyUI for its card and its flags")
    vram.add_argument(
        "--system", choices=("windows", "linux"), help="of the host (default: windows)"
    )
    vram.add_argument("--table", action="store_true", help="all file types on all usual cards")
    vram.add_argument("--log", action="store_true", help="also the lines that ComfyUI will print")
    vram.add_argument("--json", action="store_true", help="one JSON object")
    vram.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")
