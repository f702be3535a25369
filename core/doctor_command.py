"""``director.py doctor``: what is so, what is wrong, and the exact fix.

Works however broken things are: settings that cannot be read are a finding, too. The checks are
loaded only here, so the director proper stays small.
"""

import argparse
import logging
from typing import TYPE_CHECKING, Any

from rich.console import Console

from configs import settings as configs
from configs.settings import ConfigError, Settings

if TYPE_CHECKING:
    from bridge.finding import Finding

EXIT_PROBLEM = 1


def run(arguments: argparse.Namespace) -> int:
    """Examine everything.

    Returns:
        0 if there is no problem (warnings are none), else 1.
    """
    from bridge.finding import Level
    from core import doctor_report

    # What libraries log is no part of the report; without any handler Python prints it.
    logging.getLogger().addHandler(logging.NullHandler())
    findings = _findings(arguments)
    if arguments.json:
        print(doctor_report.to_json(findings))
    else:
        doctor_report.show(findings, Console())
    return EXIT_PROBLEM if any(one.level is Level.PROBLEM for one in findings) else 0


def _findings(arguments: argparse.Namespace) -> "list[Finding]":
    from bridge.finding import fine, problem
    from bridge.surroundings import Machine
    from core import doctor

    settings = _settings(arguments)
    if isinstance(settings, ConfigError):
        why = "the director does not start with them; what depends on them was not checked"
        bad = problem("settings.values", str(settings), why, _fix(settings))
        return [bad, *doctor.examine(doctor.checks_without_settings(Machine()))]
    found = doctor.examine(doctor.checks(settings, Machine()))
    return [fine("settings.values", "the settings can be read"), *found]


def _settings(arguments: argparse.Namespace) -> Settings | ConfigError:
    flags: dict[str, Any] = {
        "host": {"use": arguments.host},
        "defaults": {"workflow": arguments.workflow},
    }
    try:
        return configs.load(arguments.config, flags)
    except ConfigError as error:
        return error


def _fix(error: ConfigError) -> str:
    where = f"{error.key} in {error.source}" if error.key else error.source
    return f"correct {where}; configs/vulcan.toml explains every setting"
