"""`python -m models.micro MODELS_DIR`: lay the micro set out there, print where its files lie."""

import argparse
import sys
from dataclasses import astuple
from pathlib import Path

from models.micro.micro_set import lay_out


def main() -> int:
    """Copy the set; 1 and a sentence if the disk refuses."""
    parser = argparse.ArgumentParser(prog="python -m models.micro", description=__doc__)
    parser.add_argument("models_dir", type=Path, help="the models folder, in ComfyUI's layout")
    arguments = parser.parse_args()
    try:
        files = lay_out(arguments.models_dir)
    except OSError as error:
        sys.stderr.write(f"The micro set cannot be laid out: {error}.\n")
        return 1
    sys.stdout.writelines(f"{path}\n" for path in astuple(files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
