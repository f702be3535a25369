"""A push starts one run, and what Kaggle says to it becomes a sentence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kaggle_kit import a_package, kaggle, ready
from tests.kaggle_stand_in.behaviour import Behaviour, Fault
from tests.kaggle_stand_in.server import StandIn
from training.kaggle import cloud_run
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble, answered, push_refused
from training.kaggle.values import CloudState, CloudStatus, Package

World = tuple[StandIn, Account, Package]
HOURS = 11 * 3600


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with kaggle(monkeypatch, tmp_path) as (stand_in, account):
        _, made = a_package(tmp_path)
        ready(stand_in, made)
        yield stand_in, account, made


def test_a_push_is_private_has_two_t4_its_pictures_and_a_time_limit(world: World) -> None:
    stand_in, account, made = world
    assert cloud_run.push(account, made, resume=False, timeout_s=HOURS) == 1
    kernel = stand_in.site.kernels[made.slug]
    assert kernel.private
    request: dict[str, Any] = kernel.versions[0].request
    assert request["machineShape"] == "NvidiaTeslaT4"
    assert request["enableGpu"] is True
    assert request["enableInternet"] is True
    assert request["datasetDataSources"] == [f"someone/{made.dataset_slug}"]
    assert request.get("kernelDataSources", []) == []
    assert request["sessionTimeoutSeconds"] == HOURS


def test_a_second_push_is_the_next_version_and_sees_the_first_ones_output(world: World) -> None:
    stand_in, account, made = world
    cloud_run.push(account, made, resume=False, timeout_s=HOURS)
    stand_in.site.finish(made.slug)
    assert cloud_run.push(account, made, resume=True, timeout_s=HOURS) == 2
    assert cloud_run.version(account, made.slug) == 2
    request = stand_in.site.kernels[made.slug].versions[1].request
    assert request["kernelDataSources"] == [f"someone/{made.slug}"]


@pytest.mark.parametrize(
    "fault",
    [Fault("SaveKernel"), Fault("SaveKernel", late=True), Fault("SaveKernel", status=502)],
    ids=str,
)
def test_a_cut_push_starts_one_run_not_two(fault: Fault, world: World) -> None:
    stand_in, account, made = world
    stand_in.site.behaviour.faults = [fault]
    assert cloud_run.push(account, made, resume=False, timeout_s=HOURS) == 1
    assert len(stand_in.site.kernels[made.slug].versions) == 1


@pytest.mark.parametrize(
    ("switch", "value", "trouble", "said"),
    [
        ("gpu_hours_used", 30.0, Trouble.QUOTA, "this week's GPU hours on Kaggle are used up"),
        ("most_sessions", 0, Trouble.BUSY, "Maximum batch GPU session count of 0 reached"),
        ("phone_verified", False, Trouble.FORBIDDEN, "Verify your phone number"),
    ],
)
def test_what_kaggle_refuses_is_said_with_what_to_do(
    switch: str, value: float, trouble: Trouble, said: str, world: World
) -> None:
    stand_in, account, made = world
    assert hasattr(Behaviour(), switch)
    setattr(stand_in.site.behaviour, switch, value)
    with pytest.raises(CloudError) as caught:
        cloud_run.push(account, made, resume=False, timeout_s=HOURS)
    assert caught.value.trouble is trouble
    assert said in str(caught.value)
    assert caught.value.fix
    assert cloud_run.version(account, made.slug) == 0


def test_a_data_set_that_is_not_there_is_told(world: World) -> None:
    stand_in, account, made = world
    stand_in.site.datasets.clear()
    with pytest.raises(CloudError, match=made.dataset_slug) as caught:
        cloud_run.push(account, made, resume=False, timeout_s=HOURS)
    assert caught.value.trouble is Trouble.PROCESSING


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("QUEUED", CloudState.QUEUED),
        ("RUNNING", CloudState.RUNNING),
        ("COMPLETE", CloudState.COMPLETE),
        ("ERROR", CloudState.ERROR),
        ("CANCEL_REQUESTED", CloudState.CANCELLED),
        ("CANCEL_ACKNOWLEDGED", CloudState.CANCELLED),
        ("NEW_SCRIPT", CloudState.QUEUED),
    ],
)
def test_every_state_of_kaggles_has_its_own(word: str, state: CloudState, world: World) -> None:
    from kagglesdk.kernels.types.kernels_enums import KernelWorkerStatus

    stand_in, account, made = world
    assert word in KernelWorkerStatus.__members__
    cloud_run.push(account, made, resume=False, timeout_s=HOURS)
    stand_in.site.kernels[made.slug].versions[0].state = word
    stand_in.site.kernels[made.slug].versions[0].message = "said  by\nKaggle"
    assert cloud_run.status(account, made.slug) == CloudStatus(state, "said by Kaggle")


def test_all_states_of_the_package_are_known() -> None:
    from kagglesdk.kernels.types.kernels_enums import KernelWorkerStatus

    assert set(KernelWorkerStatus.__members__) == set(cloud_run._STATES)


def test_a_run_that_was_deleted_is_gone(world: World) -> None:
    _, account, made = world
    with pytest.raises(CloudError) as caught:
        cloud_run.status(account, made.slug)
    assert caught.value.trouble is Trouble.GONE


def test_the_quota_is_in_hours(world: World) -> None:
    stand_in, account, _ = world
    stand_in.site.behaviour.gpu_hours_used = 28.5
    assert cloud_run.quota(account) == 1.5
    stand_in.site.behaviour.gpu_hours_used = 31
    assert cloud_run.quota(account) == 0


def test_an_account_without_a_quota_is_no_error(world: World) -> None:
    stand_in, account, _ = world
    stand_in.site.behaviour.faults = [Fault("GetAccelerator", status=404, times=9)]
    assert cloud_run.quota(account) is None


def test_how_to_stop_names_the_page() -> None:
    assert "https://www.kaggle.com/code/someone/vulcan-x" in cloud_run.how_to_stop(
        "someone", "vulcan-x"
    )


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        ("Maximum batch GPU session count of 2 reached.", Trouble.BUSY),
        ("Maximum weekly GPU quota of 30.00 hours has been reached.", Trouble.QUOTA),
        ("You've exceeded the number of hours allowed to use GPU.", Trouble.QUOTA),
        ("Phone verification is required", Trouble.FORBIDDEN),
        ("The title is already in use", Trouble.CLASH),
        ("Something new", Trouble.FAILED),
    ],
)
def test_words_of_a_refused_push_are_understood_and_kept(words: str, trouble: Trouble) -> None:
    error = push_refused(words, "https://www.kaggle.com/code/someone/x")
    assert error.trouble is trouble
    assert words.rstrip(".") in str(error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 429, 500, 503])
def test_every_status_is_a_sentence(status: int) -> None:
    said = str(answered("pushing the notebook", status, "its words"))
    assert "its words" in said
    assert said.endswith(".")
