"""A data set comes to Kaggle once, whole and private, whatever the network does."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kaggle_kit import NOTEBOOK, a_package, kaggle
from tests.kaggle_stand_in.behaviour import Fault
from tests.kaggle_stand_in.server import StandIn
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.cloud_package import package
from training.kaggle.dataset_upload import Sent, Waiting, upload
from training.kaggle.values import Contents, Package

World = tuple[StandIn, Account]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with kaggle(monkeypatch, tmp_path) as both:
        yield both


def there(stand_in: StandIn, made: Package) -> dict[str, bytes]:
    newest = stand_in.site.datasets[made.dataset_slug].versions[-1]
    return {name: path.read_bytes() for name, path in newest.items()}


def here(made: Package) -> dict[str, bytes]:
    skip = "dataset-metadata.json"
    return {p.name: p.read_bytes() for p in made.dataset.iterdir() if p.name != skip}


def times(stand_in: StandIn, method: str) -> int:
    return sum(method in request for request in stand_in.site.requests)


def test_it_is_private_and_whole(world: World, tmp_path: Path) -> None:
    stand_in, account = world
    _, made = a_package(tmp_path)
    assert upload(account, made) is Sent.CREATED
    assert stand_in.site.datasets[made.dataset_slug].private
    assert there(stand_in, made) == here(made)


def test_twice_it_is_uploaded_once(world: World, tmp_path: Path) -> None:
    stand_in, account = world
    _, made = a_package(tmp_path)
    upload(account, made)
    puts = times(stand_in, "PUT")
    assert upload(account, made) is Sent.NOTHING
    assert times(stand_in, "PUT") == puts
    assert times(stand_in, "CreateDataset") == 1


def test_what_changed_is_a_new_version_and_the_old_one_is_gone(
    world: World, tmp_path: Path
) -> None:
    stand_in, account = world
    run, made = a_package(tmp_path)
    upload(account, made)
    (tmp_path / "photos" / "photo 2.png").unlink()
    contents = Contents(tmp_path / "photos", lambda _: NOTEBOOK)
    changed = package(run, "someone", tmp_path / "work", contents)
    assert upload(account, changed) is Sent.VERSION
    assert there(stand_in, changed) == here(changed)
    assert len(stand_in.site.datasets[made.dataset_slug].versions) == 1
    assert stand_in.site.datasets[made.dataset_slug].private


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/upload/", after=40),
        Fault("/upload/", late=True, times=1),
        Fault("/upload/", status=503, times=2),
        Fault("/upload/", status=400),
        Fault("/upload/", status=404, times=2),
        Fault("StartBlobUpload", skip=2),
        Fault("StartBlobUpload", late=True),
        Fault("/CreateDataset"),
        Fault("/CreateDataset", late=True),
        Fault("/CreateDataset", status=500),
        Fault("GetDatasetStatus", status=500, times=2),
        Fault("GetDatasetStatus", skip=2, times=2),
        Fault("ListDatasetFiles", times=2),
    ],
    ids=str,
)
def test_a_cut_anywhere_leaves_one_whole_data_set(
    fault: Fault, world: World, tmp_path: Path
) -> None:
    stand_in, account = world
    _, made = a_package(tmp_path)
    stand_in.site.behaviour.faults = [fault]
    upload(account, made)
    upload(account, made)
    assert fault.times == 0, "the fault did befall"
    assert there(stand_in, made) == here(made)
    assert len(stand_in.site.datasets) == 1
    assert len(stand_in.site.datasets[made.dataset_slug].versions) == 1


def test_after_a_kill_the_next_call_sends_only_the_rest(world: World, tmp_path: Path) -> None:
    stand_in, account = world
    _, made = a_package(tmp_path)
    (made.dataset / "base.gguf").write_bytes(bytes(300_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(account.api, "dataset_create_new", killed_after_three(account))
        with pytest.raises(KeyboardInterrupt):
            upload(account, made)
    assert times(stand_in, "StartBlobUpload") == 3
    assert stand_in.site.taken > 300_000
    assert upload(account, made) is Sent.CREATED
    assert there(stand_in, made) == here(made)
    assert times(stand_in, "StartBlobUpload") == len(here(made))
    assert stand_in.site.taken == sum(map(len, here(made).values())), "no byte went twice"


def killed_after_three(account: Account) -> Callable[..., None]:
    """Upload three files as the package does, then end as a kill does."""

    def create(folder: str, **_: object) -> None:
        from kaggle.api.kaggle_api_extended import ResumableUploadContext
        from kagglesdk.blobs.types.blob_api_service import ApiBlobType

        with ResumableUploadContext() as context:
            for name in ("base.gguf", "photo_0.png", "run.json"):
                account.api._upload_blob(f"{folder}/{name}", True, ApiBlobType.DATASET, context)
            raise KeyboardInterrupt

    return create


def test_processing_is_waited_for(world: World, tmp_path: Path) -> None:
    stand_in, account = world
    _, made = a_package(tmp_path)
    stand_in.site.behaviour.processing = 6
    upload(account, made)
    assert stand_in.site.is_ready(stand_in.site.datasets[made.dataset_slug])


def test_processing_that_does_not_end_is_told(world: World, tmp_path: Path) -> None:
    stand_in, account = world
    _, made = a_package(tmp_path)
    stand_in.site.behaviour.processing = 10_000
    now = iter(range(0, 10_000, 60))
    with pytest.raises(
        CloudError, match=r"still processing .* nothing is uploaded twice"
    ) as caught:
        upload(account, made, Waiting(longest=600, clock=lambda: float(next(now))))
    assert caught.value.trouble is Trouble.PROCESSING
    stand_in.site.behaviour.processing = 0
    puts = times(stand_in, "PUT")
    assert upload(account, made) is Sent.NOTHING
    assert times(stand_in, "PUT") == puts


def test_processing_that_fails_is_told(world: World, tmp_path: Path) -> None:
    stand_in, account = world
    _, made = a_package(tmp_path)
    stand_in.site.behaviour.processing_fails = True
    with pytest.raises(CloudError, match="could not process"):
        upload(account, made)
