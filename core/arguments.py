"""The command line. Nothing but argparse is imported for it, so that ``--help`` is instant."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core import (
    dataset_arguments,
    file_arguments,
    lora_arguments,
    pair_arguments,
    report_arguments,
    train_arguments,
    vram_arguments,
)

STATES = ("queued", "sent", "running", "rendered", "done", "failed", "cancelled")
STATES_TOLD = f"only those in this state, can be given often: {', '.join(STATES)}"
COMMANDS = (
    *("run", "status", "jobs", "cancel", "retry", "pause", "resume", "prune"),
    *("quantize", "bake", "verify", "doctor", "rerun", "plan", "lora", "pair", "vram"),
    *("report", "dataset", "train"),
)
EXIT_CODES = """\
exit codes:
  0    all went well
  1    a job, a prompt file or the whole run failed; the message says why
  2    the command line is wrong
  130  stopped by Ctrl-C or SIGTERM; nothing is lost, the next start goes on
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; without a command it is ``run``."""
    arguments = list(argv)
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("-h", "--help")):
        arguments.insert(0, "run")
    if arguments[0] == "train":
        arguments[1:] = train_arguments.with_verb(arguments[1:])
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="director.py",
        description="Vulcan: makes FLUX.1 pictures on a 6 GB GPU, unattended. "
        "Without a command it runs the director: see `director.py run --help`.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_queue_commands(commands)
    _add_plan(commands)
    pair_arguments.add(commands)
    file_arguments.add(commands)
    _add_doctor(commands)
    _add_rerun(commands)
    lora_arguments.add(commands)
    vram_arguments.add(commands)
    report_arguments.add(commands)
    dataset_arguments.add(commands)
    train_arguments.add(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser(
        "run",
        help="watch the drop folder and make pictures (the default)",
        description="Watch the drop folder, send each prompt to the host, file the pictures. "
        "Ctrl-C finishes the running job, a second one interrupts it; nothing is lost.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--once", action="store_true", help="work off what is there, then exit")
    run.add_argument(
        "--host",
        action="append",
        metavar="auto|embedded|URL",
        help="where to render; several URLs share the work",
    )
    run.add_argument("--pair", metavar="NAME", help="named pair that prompts use by default")
    run.add_argument("--inbox", type=Path, metavar="DIR", help="folder to drop prompt files in")
    run.add_argument("--outbox", type=Path, metavar="DIR", help="folder for the pictures")
    run.add_argument("--models", type=Path, metavar="DIR", help="folder with the model files")
    run.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")
    run.add_argument(
        "--allow-partial",
        action="store_true",
        help="use LoRAs of which only a part applies; each picture's record says how much",
    )
    run.add_argument("--verbose", action="store_true", help="log what is usually left out")


def _add_queue_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add what acts on the queue; all of it works beside a running director and without one."""

    def add(name: str, told: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
        parser.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")
        return parser

    status = add("status", "say what the director does")
    status.add_argument("--watch", action="store_true", help="go on until Ctrl-C")
    status.add_argument("--json", action="store_true", help="one JSON object")
    jobs = add("jobs", "list jobs, the newest last")
    jobs.add_argument("--state", action="append", metavar="STATE", choices=STATES, help=STATES_TOLD)
    jobs.add_argument("--batch", metavar="FOLDER", help="only those of this sub-folder")
    jobs.add_argument("--last", type=int, default=20, metavar="N", help="so many (default: 20)")
    jobs.add_argument("--all", action="store_true", help="all of them")
    jobs.add_argument("--json", action="store_true", help="one JSON object a line")
    told = "beginning of a job's id, as `jobs` shows it"
    cancel = add("cancel", "cancel exactly these jobs")
    cancel.add_argument("job", nargs="+", metavar="ID", help=told)
    retry = add("retry", "make failed or cancelled jobs again")
    retry.add_argument("job", nargs="+", metavar="ID|failed", help=f"{told}; failed: all that did")
    pause = add("pause", "send no new jobs until `resume`; the running one is finished")
    pause.add_argument("--free", action="store_true", help="then have the hosts free their memory")
    add("resume", "send jobs again")
    prune = add("prune", "forget jobs that ended long ago; pictures stay")
    prune.add_argument(
        "--days", type=float, metavar="N", help="how long ago (default: keep_days of the settings)"
    )


def _add_plan(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    plan = commands.add_parser(
        "plan",
        help="show what a prompt file will give, before anything runs",
        description="Show what prompt files will give: each image with its resolved prompt, seed, "
        "size, steps and LoRA, the layout of grids, and how long it will take as far as earlier "
        "jobs tell. Nothing is rendered or written, and no host is needed.",
        epilog="exit code 1: one of the files cannot be used",
    )
    plan.add_argument("files", type=Path, metavar="FILE", nargs="+", help="prompt files")
    plan.add_argument("--all", action="store_true", help="all images, not the first 20 of a file")
    plan.add_argument("--json", action="store_true", help="one JSON object a file, with all images")
    plan.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    doctor = commands.add_parser(
        "doctor",
        help="look at host, network, models and folders; say what is wrong and the exact fix",
        description="Look at WSL's network, the hosts, their nodes and models, model files, "
        "folders and disks. Each finding says what is so, why it matters, and the exact fix. "
        "Nothing is changed; it ends within some ten seconds.",
        epilog="exit code 1: there is a problem; warnings are none",
    )
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of text")
    doctor.add_argument("--host", metavar="auto|embedded|URL", help="the host to look at")
    doctor.add_argument("--workflow", metavar="NAME", help="the workflow that jobs will use")
    doctor.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")


def _add_rerun(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    rerun = commands.add_parser(
        "rerun",
        help="make pictures again and say what differs",
        description="Read from each picture how it was made, compare that with what is here now, "
        "make it again through the inbox, and compare the pixels. A running director makes it; "
        "where none runs, one is started and works off the inbox.",
        epilog="exit code 0: every picture came out identical; 1: one differs or was not made",
    )
    rerun.add_argument("images", type=Path, metavar="IMAGE", nargs="+", help="picture of Vulcan's")
    rerun.add_argument("--out", type=Path, metavar="DIR", help="copy the new pictures here")
    rerun.add_argument(
        "--anyway", action="store_true", help="also with another unet or LoRA, or without one"
    )
    rerun.add_argument("--json", action="store_true", help="one JSON object a line")
    rerun.add_argument("--host", metavar="auto|embedded|URL", help="where to render")
    rerun.add_argument("--inbox", type=Path, metavar="DIR", help="as for `run`")
    rerun.add_argument("--outbox", type=Path, metavar="DIR", help="as for `run`")
    rerun.add_argument("--models", type=Path, metavar="DIR", help="as for `run`")
    rerun.add_argument("--config", type=Path, metavar="FILE", help="your own settings (TOML)")
