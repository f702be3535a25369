"""Publishing into a folder that a host reads: what its readers see, kills, full disks, prune."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models import publishing, safe_copy, store
from models.errors import ModelError
from models.publishing import Publisher, Source, versioned
from models.store import Folder
from tests.publishing_kit import LORA, listed, silent, source

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher("me", tmp_path / "hashes.json", silent)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models" / "loras").mkdir(parents=True)
    return tmp_path / "models"


def test_a_file_gets_a_name_that_tells_its_content(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    name = publisher.publish({style: [models]})[style]
    assert name == f"style-{style.sha256[:8]}.safetensors"
    assert (models / "loras" / name).read_bytes() == b"one"
    assert listed(models) == [f"loras/{name}"]


def test_another_content_of_the_same_name_replaces_nothing(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    names = set()
    for content in (b"one", b"two"):
        style = source(tmp_path / "dl" / "style.safetensors", content)
        names.add(publisher.publish({style: [models]})[style])
    assert len(names) == 2
    assert {(models / "loras" / name).read_bytes() for name in names} == {b"one", b"two"}


def test_what_lies_there_already_is_used_in_place(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    there = source(models / "loras" / "flux" / "x.safetensors", b"x", name="flux/x.safetensors")
    assert publisher.publish({there: [models]}) == {there: "flux/x.safetensors"}
    copied = source(tmp_path / "dl" / "y.safetensors", b"y")
    (models / "loras" / "y.safetensors").write_bytes(b"y")
    assert publisher.publish({copied: [models]}) == {copied: "y.safetensors"}
    assert listed(models) == ["loras/flux/x.safetensors", "loras/y.safetensors"]


def test_a_second_time_nothing_is_written(
    publisher: Publisher, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    first = publisher.publish({style: [models]})
    monkeypatch.setattr(safe_copy.SafeCopy, "run", lambda *_: pytest.fail("copied again"))
    assert publisher.publish({style: [models]}) == first


def test_every_folder_has_a_file_under_one_name_and_its_own_without_taking_room(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    own = source(models / "loras" / "style.safetensors", b"one")
    other = tmp_path / "comfy"
    (other / "loras").mkdir(parents=True)
    name = publisher.publish({own: [models, other]})[own]
    assert name == own.published_name
    assert (models / "loras" / name).samefile(own.path)
    assert not (other / "loras" / name).samefile(own.path)
    assert (other / "loras" / name).read_bytes() == b"one"
    store.atomic_write(own.path, b"two")  # as a new version comes
    assert (models / "loras" / name).read_bytes() == b"one"


def test_a_file_that_is_a_link_to_another_disk_gets_a_second_link(
    publisher: Publisher, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = source(tmp_path / "disk" / "big.safetensors", b"big")
    link = models / "loras" / "big.safetensors"
    link.symlink_to(real.path)
    own = Source(LORA, link, link.name, real.sha256, real.size)

    def other_disk(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", other_disk)
    other = tmp_path / "comfy"
    (other / "loras").mkdir(parents=True)
    name = publisher.publish({own: [models, other]})[own]
    assert (models / "loras" / name).is_symlink()
    assert (models / "loras" / name).read_bytes() == b"big"


@pytest.mark.parametrize(
    ("kind", "there", "used"),
    [
        (Folder.UNET, ("diffusion_models",), "diffusion_models"),
        (Folder.UNET, ("unet", "diffusion_models"), "unet"),
        (Folder.TEXT_ENCODERS, ("clip",), "clip"),
        (Folder.VAE, (), "vae"),
    ],
)
def test_the_folder_that_comfyui_has_for_a_kind_is_used(
    publisher: Publisher, tmp_path: Path, kind: Folder, there: tuple[str, ...], used: str
) -> None:
    models = tmp_path / "comfy"
    models.mkdir()
    for name in there:
        (models / name).mkdir()
    given = source(tmp_path / "dl" / "x.gguf", b"x", kind)
    name = publisher.publish({given: [models]})[given]
    assert listed(models) == [f"{used}/{name}"]


def test_a_published_file_that_was_damaged_is_made_whole(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    path = models / "loras" / publisher.publish({style: [models]})[style]
    for damage in (b"x", b"two", b""):
        path.write_bytes(damage)
        os.utime(path, ns=(1, 1))
        publisher.publish({style: [models]})
        assert path.read_bytes() == b"one"


def test_a_source_that_changes_while_it_is_copied_is_not_published(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    style.path.write_bytes(b"two")
    with pytest.raises(ModelError, match="changed while it was being copied"):
        publisher.publish({style: [models]})
    assert listed(models) == []


def test_a_disk_that_gives_back_other_bytes_is_found_out(
    publisher: Publisher, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    real = os.write
    monkeypatch.setattr("models.safe_copy.os.write", lambda fd, chunk: real(fd, b"x" * len(chunk)))
    with pytest.raises(ModelError, match="gives back other bytes"):
        publisher.publish({style: [models]})
    assert listed(models) == []


def test_a_disk_that_fills_up_leaves_nothing_and_says_so(
    publisher: Publisher, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")

    def full(_fd: int, _chunk: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("models.safe_copy.os.write", full)
    with pytest.raises(ModelError, match=r"No space left.*Make room.*as it was"):
        publisher.publish({style: [models]})
    assert listed(models) == []


SMALL_DISK = """
import sys
from pathlib import Path
from models import publishing
from models.errors import ModelError
from tests.publishing_kit import source, listed, silent
disk, dl, hashes = map(Path, sys.argv[1:4])
publisher = publishing.Publisher("me", hashes, silent)
if sys.argv[4] == "unlooked":  # somebody else fills the disk after we have looked
    publishing._check_room = lambda copies: None
big = source(dl / "big.safetensors", bytes(3_000_000))
try:
    publisher.publish({big: [disk]})
except ModelError as error:
    print(error)
print(listed(disk))
"""


@pytest.mark.parametrize(
    ("options", "look", "told"),
    [
        ("size=2m", "looked", "3.0 MB are to be copied there, 2.1 MB are free"),
        ("size=2m", "unlooked", "No space left on device"),
        ("size=9m,ro", "unlooked", "Read-only file system"),
    ],
)
def test_a_real_disk_that_is_small_or_read_only(
    tmp_path: Path, options: str, look: str, told: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o {options} none {disk} && exec {sys.executable} -c '{SMALL_DISK}'"
        f" {disk} {tmp_path / 'dl'} {tmp_path / 'h.json'} {look}"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script.replace("\n", "\n")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this machine lets nobody mount a disk of his own")
    assert done.returncode == 0, done.stderr
    error, left = done.stdout.splitlines()
    assert told in error
    assert left == "[]"


def test_what_a_windows_program_holds_for_a_moment_is_tried_again(
    publisher: Publisher, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    tried: list[str] = []
    real = Path.replace

    def held(path: Path, target: Path) -> Path:
        if path.name.endswith(".safetensors.me.part"):
            tried.append(path.name)
            if len(tried) < 4:
                raise OSError(errno.EACCES if len(tried) % 2 else errno.EBUSY, "held")
        return real(path, target)

    monkeypatch.setattr("models.safe_copy.time.sleep", lambda _: None)
    monkeypatch.setattr(Path, "replace", held)
    publisher.publish({style: [models]})
    assert len(tried) == 4


READER = """
import hashlib, sys, time
from pathlib import Path
folder, seen = Path(sys.argv[1]), 0
print("ready", flush=True)
while not (folder / "stop").exists():
    for path in folder.glob("loras/*.safetensors"):  # what a host lists
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # pruned since it was listed
        seen += 1
        if not path.stem.endswith(hashlib.sha256(content).hexdigest()[:8]):
            sys.exit(f"{path.name} has {len(content)} bytes that are not its own")
print(seen)
"""


def test_a_reader_never_sees_half_a_file_or_another_under_a_published_name(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(models)], stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for number in range(40):
            content = bytes([number]) * (1_000_000 + number)
            style = source(tmp_path / "dl" / "style.safetensors", content)
            name = publisher.publish({style: [models]})[style]
            list(publisher.withdraw(models, {(LORA, name)}))
        (models / "stop").touch()
        told = reader.stdout.read()
        assert reader.wait(30) == 0
    assert int(told) > 40
    assert len(listed(models)) == 2  # the last one, and the sign to stop


# Names and folders


@example(stem="/")
@example(stem="..")
@given(st.text(min_size=1, max_size=300))
def test_any_name_gives_one_that_windows_takes_and_that_stays(stem: str) -> None:
    name = versioned(f"{stem}.safetensors", "0123456789abcdef")
    assert name.endswith("-01234567.safetensors")
    assert len(name.encode()) < 230
    assert not set(name) & set('<>:"/\\|?*\0\n')
    assert versioned(name, "0123456789abcdef") == name


def test_a_folder_that_is_no_models_folder_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "x"
    with pytest.raises(ModelError, match="no such folder"):
        publishing.check_target(wrong)
    (wrong / "models" / "loras").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"Did you mean .*x/models"):
        publishing.check_target(wrong)
    publishing.check_target(wrong / "models")
    (tmp_path / "empty").mkdir()
    publishing.check_target(tmp_path / "empty")
