import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from bridge import workflow
from configs.settings import WORKFLOWS
from core.drop_folder import Claim, DropFolder
from core.input_images import InputImages
from core.intake import Intake
from core.job import State
from core.journal import Journal, JournalError
from core.native import Native
from core.resolve import Ready, UsableLora, Usual
from core.wildcards import Wildcards
from models.errors import ModelError
from tests.journal_kit import take

READY = Ready("u", Path("u"), "aa", ("c", "t"), "v", (), Native(64, 64, 2))
USUAL = Usual("txt2img", 0, 0, 0, 3.5, 1.0, 2.0)


def no_lora(name: str) -> UsableLora:
    raise ModelError(f"there is no {name}")


class Site:
    """A drop folder and a journal, and the intake between them."""

    def __init__(self, root: Path) -> None:
        self.folder = DropFolder(root / "inbox", time.monotonic, time.time_ns)
        self.journal = Journal(root / "state", time.time)
        self.outbox = root / "outbox"
        self.intake = Intake(
            folder=self.folder,
            journal=self.journal,
            ready=READY,
            usual=USUAL,
            find_lora=no_lora,
            template=lambda name: workflow.named(WORKFLOWS, name),
            wildcards=Wildcards(root / "wildcards"),
            images=InputImages(root / "images"),
            outbox=self.outbox,
            today=lambda: "2026-01-02",
        )

    def drop(self, name: str, text: str) -> Claim:
        (self.folder.inbox / name).write_text(text)
        (claim,) = self.folder.claims(until_empty=True)
        return claim

    def end(self, *states: State) -> None:
        for state in states:
            job = take(self.journal)
            assert job is not None
            if state is State.DONE:
                self.journal.rendered(job.id, [])
                self.journal.done(job.id)
            else:
                self.journal.failed(job.id, "boom")

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.folder.inbox / folder).iterdir())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.folder.close()
    site.journal.close()


def test_a_claim_entered_twice_is_entered_once_with_the_same_seeds(site: Site) -> None:
    claim = site.drop("a.txt", "one\ntwo\n")
    assert site.intake.enter([claim]) == 0
    before = site.journal.all()
    assert site.intake.enter([claim]) == 0
    assert site.journal.all() == before
    assert len({job.request.seed for job in before}) == 2
    assert all(job.request.seed < 2**53 for job in before)


def test_a_file_is_done_when_its_last_job_is(site: Site) -> None:
    claim = site.drop("a.txt", "one\ntwo\n")
    site.intake.enter([claim])
    site.end(State.DONE)
    site.intake.settle(claim.name)
    assert site.names("done") == []
    site.end(State.DONE)
    site.intake.settle(claim.name)
    assert site.names("done") == ["a.txt"]


def test_a_file_with_a_failed_job_is_failed_and_says_which(site: Site) -> None:
    claim = site.drop("a.txt", "one\ntwo\n")
    site.intake.enter([claim])
    site.end(State.DONE, State.FAILED)
    site.intake.settle(claim.name)
    assert site.names("failed") == ["a.txt", "a.txt.error.md"]
    text = (site.folder.inbox / "failed" / "a.txt.error.md").read_text()
    assert "1 of 2 images" in text
    assert "image 2, 'two': boom" in text


def test_what_ended_before_a_crash_is_settled_after_it(site: Site) -> None:
    site.intake.enter([site.drop("a.txt", "one\n")])
    site.end(State.DONE)
    site.intake.settle_all()
    assert site.names("done") == ["a.txt"]
    site.intake.settle_all()
    assert site.names("done") == ["a.txt"]


def test_a_claimed_file_that_somebody_removed_stops_nothing(site: Site) -> None:
    claim = site.drop("a.txt", "one\n")
    site.intake.enter([claim])
    claim.path.unlink()
    site.end(State.DONE)
    site.intake.settle_all()
    assert site.journal.finished_claims() == []


def test_a_lora_that_does_not_fit_fails_the_file_before_any_job(site: Site) -> None:
    claim = site.drop("a.yaml", "prompt: x\nlora: nobody\n")
    assert site.intake.enter([claim]) == 1
    assert site.journal.all() == []
    assert "there is no nobody" in (site.folder.inbox / "failed" / "a.yaml.error.md").read_text()


def test_a_file_that_cannot_be_settled_keeps_no_other_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = [site.drop(name, "one\n") for name in ("a.txt", "b.txt")]
    site.intake.enter(claims)
    site.end(State.DONE, State.DONE)
    real = site.folder.finish

    def finish(claim: Claim, error: str = "") -> Path:
        if claim.file == "a.txt":
            raise OSError(28, "No space left on device")
        return real(claim, error)

    monkeypatch.setattr(site.folder, "finish", finish)
    assert not site.intake.settle_all()
    assert site.names("done") == ["b.txt"]
    monkeypatch.undo()
    assert site.intake.settle_all()
    assert site.names("done") == ["a.txt", "b.txt"]


def test_a_full_disk_is_no_fault_of_a_prompt_file_with_a_picture(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (8, 8)).save(site.folder.inbox / "pose.png")
    claim = site.drop("pose.json", '{"prompt": "x", "image": "pose.png", "workflow": "img2img"}')

    def full(path: Path, name: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(site.intake._images, "keep", full)
    with pytest.raises(JournalError, match=r"pose.png.*make room"):
        site.intake.enter([claim])
    assert claim.path.exists()
    assert not (site.folder.inbox / "failed").exists() or site.names("failed") == []


def test_a_claim_that_was_pruned_meanwhile_is_nobody_s_trouble(site: Site) -> None:
    site.intake.settle("gone")


def test_a_damaged_picture_keeps_no_grid_s_file_claimed(site: Site) -> None:
    claim = site.drop("a.yaml", "prompt: x\ngrid: {seed: [1, 2]}\n")
    site.intake.enter([claim])
    broken = site.outbox / "broken.png"
    broken.parent.mkdir()
    content = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(content, "PNG")
    damaged = bytearray(content.getvalue())
    damaged[33 + 4 : 33 + 8] = b"\0\0\0\0"  # the name of a chunk
    broken.write_bytes(bytes(damaged))
    for _ in range(2):
        job = take(site.journal)
        assert job is not None
        site.journal.rendered(job.id, [])
        site.journal.intends(job.id, [broken])
        site.journal.done(job.id)
    assert site.intake.settle_all()
    assert site.names("done") == ["a.yaml"]
