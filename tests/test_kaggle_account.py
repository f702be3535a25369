"""Signing in to Kaggle, and asking it with patience: the real package, a stand-in server."""

from pathlib import Path

import pytest

from tests.kaggle_kit import BRIEF, at_home, kaggle
from tests.kaggle_stand_in.behaviour import Fault
from tests.kaggle_stand_in.kaggle_site import KEY, TOKEN, USER
from tests.kaggle_stand_in.server import standing_in
from training.kaggle import cloud_run
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.patience import Patience


def test_a_token_in_the_environment_is_enough_and_nothing_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with kaggle(monkeypatch, tmp_path) as (_, account):
        assert account.user == USER
    assert capfd.readouterr() == ("", "")


def test_a_token_in_its_file_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home(monkeypatch, tmp_path, token="")
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "access_token").write_text(TOKEN)
    with standing_in(tmp_path / "kaggle") as stand_in:
        assert Account.open(stand_in.endpoint, BRIEF).user == USER


def test_the_older_name_and_key_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home(monkeypatch, tmp_path, token="")
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    with standing_in(tmp_path / "kaggle") as stand_in:
        assert Account.open(stand_in.endpoint, BRIEF).user == USER


def test_without_credentials_the_sentence_says_where_to_get_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    at_home(monkeypatch, tmp_path, token="")
    with standing_in(tmp_path / "kaggle") as stand_in, pytest.raises(CloudError) as caught:
        Account.open(stand_in.endpoint, BRIEF)
    assert caught.value.trouble is Trouble.CREDENTIALS
    assert "kaggle.com/settings" in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["token", "key"])
def test_refused_credentials_are_told_without_showing_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home(monkeypatch, tmp_path, token="KGAT_not-the-right-one" if kind == "token" else "")
    if kind == "key":
        monkeypatch.setenv("KAGGLE_USERNAME", USER)
        monkeypatch.setenv("KAGGLE_KEY", "not-the-right-one")
    with standing_in(tmp_path / "kaggle") as stand_in, pytest.raises(CloudError) as caught:
        Account.open(stand_in.endpoint, BRIEF)
    assert caught.value.trouble is Trouble.CREDENTIALS
    assert "right-one" not in str(caught.value)


def test_an_unreachable_kaggle_is_asked_again_with_growing_pauses_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home(monkeypatch, tmp_path)
    with standing_in(tmp_path / "kaggle") as stand_in:
        endpoint = stand_in.endpoint
    slept: list[float] = []
    with pytest.raises(CloudError) as caught:
        Account.open(endpoint, Patience(pauses=(1, 2, 4), sleep=slept.append))
    assert caught.value.trouble is Trouble.NETWORK
    assert slept == [1, 2, 4]
    assert "the connection is refused; nothing is lost" in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GetAccelerator", times=3),
        Fault("GetAccelerator", times=3, status=503),
        Fault("GetAccelerator", times=3, status=429),
        Fault("GetAccelerator", times=3, late=True),
    ],
)
def test_what_passes_is_waited_for(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path) as (stand_in, account):
        stand_in.site.behaviour.faults = [fault]
        assert cloud_run.quota(account) == 30.0
        assert fault.times == 0


def test_kaggle_names_the_time_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    with kaggle(monkeypatch, tmp_path) as (stand_in, account):
        account.patience = Patience(pauses=(1, 2), longest=60, sleep=slept.append)
        busy = Fault("GetAccelerator", status=429, headers={"Retry-After": "7"})
        stand_in.site.behaviour.faults = [busy]
        assert cloud_run.quota(account) == 30.0
        assert slept == [7]
        stand_in.site.behaviour.faults = [
            Fault("GetAccelerator", status=429, headers={"Retry-After": "600"})
        ]
        with pytest.raises(CloudError, match="wait 10 min") as caught:
            cloud_run.quota(account)
    assert caught.value.trouble is Trouble.BUSY


def test_a_server_that_falls_silent_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with kaggle(monkeypatch, tmp_path) as (_, account), socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        from kagglesdk import kaggle_env

        name = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, name)
        # The limit is set when the account is opened: this one is made anew.
        slow = Patience(pauses=(), connect=0.2, silence=0.2)
        with pytest.raises(CloudError, match="does not answer in time"):
            Account.open(name, slow)
        assert account.user == USER
