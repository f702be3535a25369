"""`python -m models.micro MODELS_DIR`: make the micro set there and print where its files lie."""

import argparse
import sys
from dataclasses import astuple
from pathlib import Path

from models.micro.make import make


def main() -> int:
    """Make the set; 1 and a sentence if the disk refuses."""
    parser = argparse.ArgumentParser(prog="python -m models.micro", description=__doc__)
    parser.add_argument("models_dir", type=Path, help="the models folder, in ComfyUI's layout")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        files = make(arguments.models_dir, arguments.seed)
    except OSError as error:
        sys.stderr.write(f"The micro set cannot be written: {error}.\n")
        return 1
    sys.stdout.writelines(f"{path}\n" for path in astuple(files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
