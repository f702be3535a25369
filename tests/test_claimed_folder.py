"""Claiming and finishing under kills: real files, with a kill before any of the renames."""

import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.claim import CLAIMED, COMPLAINT, DONE, FAILED, Claim, ClaimName, split
from core.claimed_folder import ClaimedFolder, Found
from core.drop_scan import listings
from core.notices import Notices
from core.resting_place import RestingPlace


class Killed(BaseException):
    """The process ended here."""


@contextmanager
def killed_before_rename(number: int) -> Iterator[None]:
    """Rename ``number`` times, then end as kill -9 does: nothing of ours runs any more."""
    rename, left = os.rename, count(number, -1)

    def counted(source: str, target: str) -> None:
        if next(left) <= 0:
            raise Killed
        rename(source, target)

    with mock.patch("os.rename", counted):
        yield


class Site:
    """One drop folder, without its watcher."""

    def __init__(self, inbox: Path) -> None:
        self.inbox = inbox
        self._stamps = count(1)
        self.start()

    def start(self) -> list[Claim]:
        self.claimed = ClaimedFolder(self.inbox, self._stamps.__next__)
        self.resting = RestingPlace(self.inbox)
        return self.claimed.left_over()

    def ready(self) -> list[Found]:
        return [
            Found(listing.batch, entry.name, 0, image.name if image else "")
            for listing in listings(str(self.inbox), lambda path: None, Notices(lambda: 0.0))
            for entry in listing.prompts
            for image in [listing.images.get(split(entry.name)[0])]
        ]

    def files(self) -> dict[bytes, Path]:
        """Return all files but complaints, by content."""
        everything = [path for path in self.inbox.rglob("*") if path.is_file()]
        paths = [path for path in everything if not path.name.endswith(COMPLAINT)]
        contents = {path.read_bytes(): path for path in paths}
        assert len(contents) == len(paths), "something is there twice"
        return contents


class KilledAnywhere(RuleBasedStateMachine):
    """Drops, claims, finishes and kills in any order: nothing is lost, and pairs stay pairs."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="vulcan-test-"))
        self.site = Site(self.root)
        self.claims: dict[str, Claim] = {}
        self.pictures: dict[bytes, bytes | None] = {}

    @rule(
        batch=st.sampled_from(["", "night", "night/deep"]),
        name=st.sampled_from(["a", "a-2", "b"]),
        picture=st.sampled_from(["", ".png", ".JPG"]),
    )
    def drop(self, batch: str, name: str, picture: str) -> None:
        folder = self.root / batch
        folder.mkdir(parents=True, exist_ok=True)
        if [path for path in folder.iterdir() if path.is_file() and path.stem == name]:
            return
        number = len(self.pictures)
        text, image = b"prompt %d" % number, b"picture %d" % number
        self.pictures[text] = image if picture else None
        if picture:
            (folder / (name + picture)).write_bytes(image)
        (folder / f"{name}.txt").write_bytes(text)

    @rule(kill=st.sampled_from([0, 1, 2, 9]))
    def claim(self, kill: int) -> None:
        ready = self.site.ready()
        self._unless_killed(kill, lambda: self._keep(self.site.claimed.take(ready[0])), ready)

    @precondition(lambda self: self.claims)
    @rule(kill=st.sampled_from([0, 1, 2, 3, 4, 9]), error=st.sampled_from(["", "# no"]))
    def finish(self, kill: int, error: str) -> None:
        claim = self.claims.pop(min(self.claims))
        self._unless_killed(kill, lambda: self.site.resting.put(claim, error), [claim])

    @rule()
    def restart(self) -> None:
        self.claims = {claim.name: claim for claim in self.site.start()}
        assert all(self.site.claimed.find(name) == claim for name, claim in self.claims.items())

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        images = {image for image in self.pictures.values() if image}
        assert self.site.files().keys() == self.pictures.keys() | images

    def teardown(self) -> None:
        self.restart()
        for found in self.site.ready():
            self._keep(self.site.claimed.take(found))
        for claim in self.claims.values():
            self.site.resting.put(claim, "")
        assert self.site.start() == []
        files = self.site.files()
        for text, image in self.pictures.items():
            assert files[text].relative_to(self.root).parts[0] in (DONE, FAILED)
            if image:
                assert files[image].with_suffix("") == files[text].with_suffix(""), "still a pair"
        shutil.rmtree(self.root)

    def _keep(self, claim: Claim | None) -> None:
        assert claim is not None
        self.claims[claim.name] = claim

    def _unless_killed(self, kill: int, work: Callable[[], object], on: Sequence[object]) -> None:
        if not on:
            return
        try:
            with killed_before_rename(kill):
                work()
        except Killed:
            self.restart()


TestKilledAnywhere = KilledAnywhere.TestCase
TestKilledAnywhere.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def claim_one(site: Site, name: str, content: str = "x") -> Claim:
    (site.inbox / name).write_text(content)
    (found,) = site.ready()
    claim = site.claimed.take(found)
    assert claim is not None
    return claim


def test_strange_things_among_the_claims_are_left_alone(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    claim = claim_one(site, "a.txt")
    inside = site.inbox / CLAIMED
    for name in ("notes.txt", "1-2-a.txt", f"{1:020}-{1:06}-a.doc", "line\nbreak"):
        (inside / name).write_text("x")
    (inside / os.fsdecode(b"\xff")).mkdir()
    (inside / os.fsdecode(b"\xff") / f"{2:020}-{2:06}-b.txt").write_text("x")
    (inside / f"{3:020}-{3:06}-folder.txt").mkdir()
    os.mkfifo(inside / "fifo.txt")
    assert site.start() == [claim]
    assert "line_break is no claim of ours" in caplog.text


@pytest.mark.parametrize(
    "name", ["", "a.txt", "/etc/passwd", "../a.txt", "x/../../y", "\0", "x" * 5000]
)
def test_a_name_that_is_no_claims_finds_nothing(site: Site, name: str) -> None:
    claim = claim_one(site, "a.txt")
    assert site.claimed.find(name) is None
    assert site.claimed.find(f"../{CLAIMED}/{claim.name}") is None
    assert site.claimed.find(f"/{claim.name}") is None


def test_a_finished_claim_may_be_finished_again(site: Site) -> None:
    claim = claim_one(site, "a.txt")
    place = site.resting.put(claim, "")
    assert site.resting.put(claim, "") == place == site.inbox / DONE / "a.txt"
    assert [path.name for path in place.parent.iterdir()] == ["a.txt"]


def test_a_full_disk_costs_the_complaint_but_not_the_file(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    claim = claim_one(site, "a.txt")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        place = site.resting.put(claim, "# too long")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert place.read_text() == "x"
    assert [path.name for path in place.parent.iterdir()] == ["a.txt"]
    assert "it would say: # too long" in caplog.text


def test_a_batch_whose_folder_is_a_file_in_done_goes_to_the_top(site: Site) -> None:
    (site.inbox / DONE).mkdir()
    (site.inbox / DONE / "night").write_text("a file of the user's")
    (site.inbox / "night").mkdir()
    claim = claim_one(site, "night/a.txt")
    assert site.resting.put(claim, "") == site.inbox / DONE / "a.txt"
    assert (site.inbox / DONE / "night").read_text() == "a file of the user's"


def test_a_picture_that_was_taken_away_is_not_waited_for(site: Site) -> None:
    (site.inbox / "pose.png").write_text("picture")
    claim = claim_one(site, "pose.txt")
    assert claim.image is not None
    claim.image.unlink()
    (again,) = site.start()
    assert again.image is None
    assert site.resting.put(again, "").is_file()


def test_a_failed_move_leaves_file_and_picture_claimed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.inbox / "pose.png").write_text("picture")
    claim = claim_one(site, "pose.txt")
    rename = os.rename

    def held(source: Path, target: Path) -> None:
        if source == claim.path:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", held)
    with pytest.raises(PermissionError):
        site.resting.put(claim, "")
    assert site.claimed.find(claim.name) == claim
    monkeypatch.undo()
    assert site.resting.put(claim, "").with_suffix(".png").read_text() == "picture"


def test_left_over_claims_come_in_the_order_they_were_claimed(site: Site) -> None:
    for batch in ("z", "a", "m"):
        (site.inbox / batch).mkdir()
        claim_one(site, f"{batch}/{batch}.txt")
    assert [claim.batch for claim in site.start()] == ["z", "a", "m"]
    assert all(ClaimName.parse(claim.path.name) for claim in site.start())
