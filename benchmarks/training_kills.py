"""Kill -9 at random moments of a training: does what goes on come to the same bits?

    python -m benchmarks.training_kills [--kills 20] [--steps 800]

Trains the micro Flux once without disturbance, then again with all processes killed at random
moments, anywhere between the start of a stage and its end, and compares the two LoRA files.
"""

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests import training_kit
from training import checkpoint_files, progress
from training.run_folder import RunFolder

LONGEST = 16.0
"""Seconds until a kill, at most: some nine of them are for loading, the rest for updates."""


def main() -> None:
    """Train twice, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_kills")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = training_kit.models(folder / "models")
        pictures = training_kit.photos(folder / "photos")
        shape = {"steps": chosen.steps, "checkpoint_minutes": 0.01, "batch": 4, "prior": 16}
        # The same name: it is in the LoRA's metadata.
        through = training_kit.run(folder / "through" / "lora", files, pictures, **shape)
        begun = time.monotonic()
        assert training_kit.train(through).returncode == 0
        whole = time.monotonic() - begun
        print(f"undisturbed: {whole:.0f} s, {chosen.steps} updates", flush=True)
        killed = training_kit.run(folder / "killed" / "lora", files, pictures, **shape)
        disturbed(killed, chosen.kills, random.Random(chosen.seed))
        assert training_kit.train(killed).returncode == 0
        same = through.lora("lora").read_bytes() == killed.lora("lora").read_bytes()
        print(f"after {chosen.kills} kills the LoRA's file is", "the same" if same else "ANOTHER")


def disturbed(run: RunFolder, kills: int, drawn: random.Random) -> None:
    """Start and kill, again and again; a training that gets done early has had its kills."""
    for number in range(kills):
        child = subprocess.Popen(
            training_kit.command(run), cwd=training_kit.ROOT, start_new_session=True
        )
        # Late enough on average that each start gets some way beyond loading.
        time.sleep(drawn.uniform(0.0, LONGEST))
        done = child.poll() is not None
        kill(run, child)
        there = checkpoint_files.newest(run.checkpoints)
        status = progress.read_status(run.status)
        stage = status.stage if status else "nothing yet"
        print(f"kill {number + 1}: in {stage}, at update {there.step if there else 0}", flush=True)
        if done:
            break


def kill(run: RunFolder, child: "subprocess.Popen[bytes]") -> None:
    """Kill the training and its stage."""
    child.kill()
    child.wait()
    told = subprocess.run(
        ["pgrep", "-f", str(run.path)], capture_output=True, text=True, check=False
    )
    for pid in told.stdout.split():
        if int(pid) != os.getpid():
            os.kill(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    main()
