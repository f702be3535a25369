"""The command line of ``director.py report``."""

import argparse
from pathlib import Path


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``report``."""
    report = commands.add_parser(
        "report",
        help="compare FP16, quantised, LoRA while drawing and LoRA baked in, on a page",
        description="Draw the same prompts and seeds with the FP16 model, quantised, quantised "
        "with the LoRA added while drawing, and with it baked in; compare pictures, weights and "
        "time, and write one HTML page. Without --unet it is the micro Flux that comes with "
        "Vulcan. The embedded host draws; the files it needs are made and deleted.",
        epilog="exit code 1: no page was written; the message says why",
    )
    report.add_argument("--unet", type=Path, metavar="SRC", help="FLUX.1 as for `quantize`")
    report.add_argument(
        "--lora",
        metavar="FILE[:STRENGTH]",
        action="append",
        default=[],
        help="as for `bake` (default without --unet: the micro Flux's own)",
    )
    report.add_argument("--type", default="Q4_K_S", help="file type (default: Q4_K_S)")
    report.add_argument(
        "--prompts", type=Path, metavar="FILE", help="prompt file (default: held-out scenes)"
    )
    report.add_argument(
        "--seeds", type=_count, default=1, metavar="N", help="for each prompt (default: 1)"
    )
    report.add_argument("--weights-only", action="store_true", help="compare weights, draw nothing")
    report.add_argument(
        "--work", type=Path, metavar="DIR", help="keep the model files there, use those there"
    )
    report.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="page to write (default: report.html)",
    )
    report.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 100")
    return int(text)
