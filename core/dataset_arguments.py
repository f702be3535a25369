"""The command line of ``director.py dataset``."""

import argparse
from pathlib import Path

TYPES = ("character", "style", "concept")
CAPTIONERS = ("florence-2", "blip-2")
EXIT_CODE = "exit code 1: there is an error (warnings are none), or a folder cannot be used"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``dataset`` and what can be done with one."""
    dataset = commands.add_parser(
        "dataset",
        help="check the pictures and captions of a LoRA's training, write a cleaned copy",
        description="Check the pictures and captions that a LoRA is to be trained on, or write a "
        "cleaned copy of them. The folder itself is never written to.",
    )
    actions = dataset.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_validate(actions)
    _add_prepare(actions)


def _add_validate(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    validate = actions.add_parser(
        "validate",
        help="say what is wrong with a data set",
        description="Look for pictures that are damaged, too small, blurred, doubled, barred; "
        "captions that are missing, the same, too long; too few pictures, all of one framing. "
        "Show the sizes that they will be trained at, and write a page with thumbnails.",
        epilog=EXIT_CODE,
    )
    _add_common(validate)
    validate.add_argument("--json", action="store_true", help="one JSON object instead of text")


def _add_prepare(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    prepare = actions.add_parser(
        "prepare",
        help="write a cleaned copy of a data set",
        description="Write a copy: upright sRGB PNGs without metadata, captions in UTF-8 that "
        "hold the trigger word, copies of a picture and what cannot be trained left out. "
        "Captions can be written by Florence-2 or BLIP-2. Nothing is cropped or overwritten.",
        epilog=EXIT_CODE,
    )
    _add_common(prepare)
    prepare.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder to make")
    prepare.add_argument(
        "--crops", type=Path, metavar="DIR", help="folder to make for proposed crops around faces"
    )
    prepare.add_argument(
        "--drop-near",
        action="store_true",
        help="of pictures that look nearly the same keep the sharpest",
    )
    prepare.add_argument(
        "--caption", choices=CAPTIONERS, help="have it describe pictures without a caption"
    )
    prepare.add_argument(
        "--captioner", type=Path, metavar="DIR", help="its checkpoint, in transformers' format"
    )
    prepare.add_argument(
        "--download", action="store_true", help="fetch it from the Hugging Face hub if need be"
    )
    prepare.add_argument(
        "--caption-again", action="store_true", help="also pictures that have a caption"
    )
    prepare.add_argument("--json", action="store_true", help="one JSON object instead of text")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="pictures, captions beside them")
    parser.add_argument(
        "--name", type=_word, required=True, metavar="WORD", help="the trigger word, such as ohwx"
    )
    parser.add_argument(
        "--type", choices=TYPES, default=TYPES[0], help=f"what is learned (default: {TYPES[0]})"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the recipe, as for the training; resolution=[768] is what matters here",
    )
    parser.add_argument("--micro", action="store_true", help="it is for the micro Flux (64 pixels)")
    parser.add_argument("--yunet", type=Path, metavar="FILE", help="better face detector (.onnx)")
    parser.add_argument(
        "--t5", type=Path, metavar="FILE", help="text encoder by whose tokenizer captions count"
    )
    parser.add_argument("--clip", type=Path, metavar="FILE", help="likewise, CLIP-L")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="page to write, with a .json beside it (default: dataset-report/WORD.html)",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")


def _word(text: str) -> str:
    word = " ".join(text.split())
    if not word or not word.isprintable() or len(word) > 100:  # training/run_plan.py
        raise argparse.ArgumentTypeError("it must be a word of up to 100 signs")
    return word
