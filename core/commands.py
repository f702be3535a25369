"""The commands by name; each takes the parsed command line and returns an exit code."""

import argparse
from collections.abc import Callable, Mapping

from core import (
    bake_command,
    dataset_command,
    doctor_command,
    lora_command,
    pair_command,
    plan_command,
    quantize_command,
    queue_commands,
    report_command,
    rerun_command,
    run_command,
    train_command,
    verify_command,
    vram_command,
)

COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": run_command.run,
    "status": queue_commands.status,
    "jobs": queue_commands.jobs,
    "cancel": queue_commands.cancel,
    "retry": queue_commands.retry,
    "pause": queue_commands.pause,
    "resume": queue_commands.resume,
    "prune": queue_commands.prune,
    "quantize": quantize_command.run,
    "bake": bake_command.run,
    "verify": verify_command.run,
    "plan": plan_command.run,
    "lora": lora_command.run,
    "pair": pair_command.run,
    "doctor": doctor_command.run,
    "rerun": rerun_command.run,
    "report": report_command.run,
    "train": train_command.run,
    "vram": vram_command.run,
    "dataset": dataset_command.run,
}
