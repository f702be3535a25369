"""Says why a run on Kaggle that is over has made no progress, in words for a person.

The notebook's own report goes first, then Kaggle's message, then the end of the log.
"""

import re

from training import progress
from training.errors import TrainingError
from training.kaggle import cloud_log
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.values import CloudState, CloudStatus, Fetched, KernelReport, page
from training.run_folder import RunFolder

_TAIL = 3  # lines of the log
_NOISE = re.compile(
    r"^\s*$|nbconvert|^\[(NbConvert|IPKernel)App\]|FutureWarning|DeprecationWarning"
)
_FIXES = {  # where the notebook says none
    "wrong_gpu": "Open {page}, choose Settings > Accelerator > GPU T4 x2, and call this again",
    "no_base": "Attach the secret HF_TOKEN on {page} (docs/kaggle.md), and call this again",
    "disk": "Call this again: the next machine may have more room",
}


def verdict(
    account: Account, slug: str, run: RunFolder, status: CloudStatus, fetched: Fetched
) -> CloudError | None:
    """Judge a run that is over and was fetched.

    Returns:
        None where it ended as it should, done or paused.

    Raises:
        CloudError: Kaggle cannot be reached.
    """
    if fetched.report is not None and fetched.report.refused:
        return refused(fetched.report, page(account.user, slug))
    if status.state is CloudState.CANCELLED:
        return cancelled(page(account.user, slug))
    stands = _stands(run) if run.status.name in fetched.listed else None
    if stands and stands.state in (progress.State.DONE, progress.State.PAUSED):
        return None
    if stands and stands.state is progress.State.RUNNING:
        return stopped(stands)
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


def stopped(stands: progress.Status) -> CloudError:
    """The training was ended from outside: its own last word is that it runs."""
    return CloudError(
        Trouble.STOPPED,
        "the run on Kaggle was ended from outside",
        why=f"it was at {stands.stage} {stands.step} of {stands.steps}; a run ends so at Kaggle's "
        "time limit, or when its machine is taken away",
        fix="Call this again to go on from its last checkpoint",
    )


def _stands(run: RunFolder) -> progress.Status | None:
    try:
        return progress.read_status(run.status)
    except TrainingError:
        return None


def _tail(lines: list[str]) -> str:
    told = [line.strip() for line in lines if not _NOISE.search(line)]
    return " / ".join(told[-_TAIL:]) if told else "its log is empty"
