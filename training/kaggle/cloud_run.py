"""Starts a run on Kaggle and asks how it stands.

A push that was cut may have arrived: before it is sent again, Kaggle is asked whether the Kaggle
kernel has a new version, so that no second run eats the quota.
"""

from typing import Any

from training.kaggle import cloud_errors, cloud_package, patience
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.values import CloudState, CloudStatus, Package, page

_STATES = {
    "QUEUED": CloudState.QUEUED,
    "NEW_SCRIPT": CloudState.QUEUED,
    "RUNNING": CloudState.RUNNING,
    "COMPLETE": CloudState.COMPLETE,
    "ERROR": CloudState.ERROR,
    "CANCEL_REQUESTED": CloudState.CANCELLED,
    "CANCEL_ACKNOWLEDGED": CloudState.CANCELLED,
}


def push(account: Account, package: Package, *, resume: bool, timeout_s: int) -> int:
    """Start a run.

    Args:
        account: whose quota it takes.
        package: its data set must be there already.
        resume: the run sees its own last output and goes on from it.
        timeout_s: Kaggle ends the run after so many seconds; the notebook should end itself before.

    Returns:
        The version's number.

    Raises:
        CloudError: Kaggle refuses it, or cannot be reached.
    """
    cloud_package.set_resume(package, resume=resume)
    before = version(account, package.slug)
    return account.ask(
        "pushing the notebook", lambda: _push_once(account, package, before, timeout_s)
    )


def version(account: Account, slug: str) -> int:
    """Return the number of the newest version, 0 where there is none.

    Raises:
        CloudError: Kaggle cannot be reached.
    """
    return account.ask("looking for the notebook", lambda: _version(account, slug))


def status(account: Account, slug: str) -> CloudStatus:
    """Return where the newest version stands.

    Raises:
        CloudError: there is none, or Kaggle cannot be reached.
    """
    doing = "asking for the run's state"
    answer = account.ask(doing, lambda: _reached(account.api.kernels_status, account, slug, doing))
    state = _STATES.get(str(answer.status.name))
    if state is None:
        raise CloudError(Trouble.FAILED, "Kaggle names an unknown state", why=answer.status.name)
    return CloudStatus(state, " ".join((answer.failure_message or "").split()))


def quota(account: Account) -> float | None:
    """Return the GPU hours that are left of this week, None where Kaggle does not say.

    Raises:
        CloudError: Kaggle cannot be reached.
    """
    try:
        answer = account.ask("asking for the quota", account.api.quota_view)
    except CloudError as error:
        if error.trouble in (Trouble.NETWORK, Trouble.BUSY, Trouble.CREDENTIALS):
            raise
        return None  # not every account has one
    gpu = answer.gpu_quota
    if gpu is None or gpu.total_time_allowed is None:
        return None
    used = gpu.time_used.total_seconds() if gpu.time_used else 0.0
    return max(0.0, float(gpu.total_time_allowed.total_seconds()) - used) / 3600


def how_to_stop(user: str, slug: str) -> str:
    """Say how a person stops a run.

    Kaggle's interface cancels by a session's number, which it tells nobody (kaggle 2.2.4).
    """
    return f"Kaggle lets only the site stop a run: open {page(user, slug)} and press Cancel Run"


def _push_once(account: Account, package: Package, before: int, timeout_s: int) -> int:
    now = _version(account, package.slug)
    if now > before:  # an attempt before this one arrived
        return now
    answer = account.api.kernels_push(str(package.kernel), timeout=str(timeout_s))
    if answer.error:
        raise cloud_errors.push_refused(str(answer.error), package.url)
    missing = [*answer.invalid_dataset_sources, *answer.invalid_kernel_sources]
    if missing:
        raise cloud_errors.not_mounted([str(source) for source in missing])
    return int(answer.version_number or before + 1)


def _version(account: Account, slug: str) -> int:
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

    request = ApiGetKernelRequest()
    request.user_name, request.kernel_slug = account.user, slug
    try:
        with account.api.build_kaggle_client() as client:
            answer = client.kernels.kernels_api_client.get_kernel(request)
    except Exception as error:
        if patience.status_of(error) in (403, 404):  # 403 is Kaggle's answer to unknown names, too
            return 0
        raise
    return int(answer.metadata.current_version_number or 0)


def _reached(call: Any, account: Account, slug: str, doing: str) -> Any:
    """Ask about a Kaggle kernel; a 403 or 404 means that it is not there."""
    try:
        return call(f"{account.user}/{slug}")
    except Exception as error:
        if patience.status_of(error) in (403, 404):
            raise cloud_errors.gone(doing, patience.words_of(error)) from error
        raise
