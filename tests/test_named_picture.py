from pathlib import Path

import pytest

from core.claim import CLAIMED, DONE, Claim
from core.claimed_folder import ClaimedFolder, Found
from core.named_picture import find
from core.resting_place import RestingPlace


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    (inbox / "night").mkdir(parents=True)
    return inbox


@pytest.fixture
def claim(inbox: Path) -> Claim:
    (inbox / "night" / "pose.txt").write_text("x")
    (inbox / "night" / "pose.png").write_text("beside")
    claim = ClaimedFolder(inbox, lambda: 1).take(Found("night", "pose.txt", 0, "pose.png"))
    assert claim is not None
    return claim


def test_a_name_is_looked_up_where_the_prompt_file_came_from(inbox: Path, claim: Claim) -> None:
    (inbox / "shared.png").write_text("shared")
    assert find(inbox, claim, "shared.png") == inbox / "shared.png"
    (inbox / "night" / "shared.png").write_text("nearer")
    assert find(inbox, claim, "shared.png") == inbox / "night" / "shared.png"
    assert find(inbox, claim, "nowhere.png") is None


def test_the_picture_claimed_with_it_is_found_by_its_old_name(inbox: Path, claim: Claim) -> None:
    found = find(inbox, claim, "pose.png")
    assert found is not None
    assert found == claim.image
    assert found.read_text() == "beside"
    RestingPlace(inbox).put(claim, "")
    assert find(inbox, claim, "pose.png") == inbox / DONE / "night" / "pose.png"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "night/../../secret.png",
        "",
        ".",
        CLAIMED,
        "\0",
        "x" * 5000,
        "night",
        "~nobody-has-this/x.png",
    ],
)
def test_a_name_never_leads_out(inbox: Path, claim: Claim, name: str) -> None:
    (inbox.parent / "secret.png").write_text("x")
    assert find(inbox, claim, name) is None


def test_a_whole_path_is_the_users_word(
    inbox: Path, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = inbox.parent / "mine.png"
    assert find(inbox, claim, str(mine)) is None
    mine.write_text("x")
    assert find(inbox, claim, str(mine)) == mine
    monkeypatch.setenv("HOME", str(inbox.parent))
    assert find(inbox, claim, "~/mine.png") == mine
