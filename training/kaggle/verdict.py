"""Says why a run on Kaggle that is over has made no progress, in words for a person.

The notebook's own report goes first, then Kaggle's message, then the end of the log.
"""

import re

from training import progress
from training.errors import TrainingError
from training.kaggle import cloud_log
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.values import CloudState, CloudStatus, KernelReport, page
from training.run_folder import RunFolder

_TAIL = 3  # lines of the log
_NOISE = re.compile(r"^\s*$|nbconvert|^\[NbConvertApp\]|FutureWarning|DeprecationWarning")
_FIXES = {  # where the notebook says none
    "wrong_gpu": "Open {page}, choose Settings > Accelerator > GPU T4 x2, and call this again",
    "no_base": "Attach the secret HF_TOKEN on {page} (docs/kaggle.md), and call this again",
    "disk": "Call this again: the next machine may have more room",
}


def verdict(
    account: Account, slug: str, run: RunFolder, status: CloudStatus, report: KernelReport | None
) -> CloudError | None:
    """Judge a run that is over and was fetched.

    Returns:
        None where it ended as it should, done or paused.

    Raises:
        CloudError: Kaggle cannot be reached.
    """
    if report is not None and report.refused:
        return refused(report, page(account.user, slug))
    if status.state is CloudState.CANCELLED:
        return cancelled(page(account.user, slug))
    if status.state is CloudState.COMPLETE and _ended_well(run):
        return None
    why = status.message or _tail(cloud_log.log(account, slug))
    what = "the run on Kaggle failed"
    if status.state is CloudState.COMPLETE:
        what = "the run on Kaggle ended without a result"
    fix = f"See its log at {page(account.user, slug)}; calling this again goes on from its output"
    return CloudError(Trouble.FAILED, what, why=why.rstrip(". "), fix=fix)


def refused(report: KernelReport, url: str) -> CloudError:
    """The notebook looked at its machine and would not begin."""
    fix = report.fix or _FIXES.get(report.code, "See {page}").format(page=url)
    what = f"the run on Kaggle would not begin ({report.code or 'no reason given'})"
    return CloudError(Trouble.REFUSED, what, why=report.why, fix=fix)


def cancelled(url: str) -> CloudError:
    """Somebody pressed Cancel Run."""
    return CloudError(
        Trouble.CANCELLED,
        "the run was cancelled on Kaggle's site",
        fix=f"Call this again to go on from what it saved, or delete it at {url}",
    )


def _ended_well(run: RunFolder) -> bool:
    try:
        status = progress.read_status(run.status)
    except TrainingError:
        return False
    return status is not None and status.state in (progress.State.DONE, progress.State.PAUSED)


def _tail(lines: list[str]) -> str:
    told = [line.strip() for line in lines if not _NOISE.search(line)]
    return " / ".join(told[-_TAIL:]) if told else "its log is empty"
