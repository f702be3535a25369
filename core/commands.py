"""The commands by name; each takes the parsed command line and returns an exit code."""

import argparse
from collections.abc import Callable, Mapping

from core import plan_command, quantize_command, run_command, verify_command

COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": run_command.run,
    "plan": plan_command.run,
    "quantize": quantize_command.run,
    "verify": verify_command.run,
}
