"""Encodes captions and pictures into the cache: ``encode`` of a run."""

import argparse
import sys
from itertools import chain

from training import encoding, material
from training.progress import Happened, Stage, State
from training.stages import stage_process
from training.stages.stage_process import FINISHED, StageProcess


def work(process: StageProcess, _arguments: argparse.Namespace) -> int:
    """Encode what is not in the cache yet."""
    process.tell(Happened.STAGE)
    found = material.find(process.folder, process.plan, process.assets, process.pictures())
    texts = encoding.missing_captions(found.cache, found.captions)
    pictures = encoding.missing_pictures(found.cache, found.pictures)
    steps = len(texts) + len(pictures)
    process.stands(State.RUNNING, 0, steps)
    encoded = chain(
        encoding.encode_captions(found.cache, texts, process.assets, process.device),
        encoding.encode_pictures(found.cache, pictures, process.assets, process.device),
    )
    for done, _ in enumerate(encoded, 1):
        process.tell(Happened.STEP, step=done, steps=steps)
        if process.stop_wanted():
            return process.paused(done, steps)
    return FINISHED


if __name__ == "__main__":
    sys.exit(stage_process.run(Stage.ENCODE, work))
