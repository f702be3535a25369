import hashlib
import os
from pathlib import Path

import pytest

from models import store
from models.errors import ModelError
from models.store import Folder


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_folders_are_named_as_in_comfyui() -> None:
    assert list(Folder) == ["unet", "loras", "text_encoders", "vae"]


def test_files_are_listed_as_comfyui_lists_them(tmp_path: Path) -> None:
    for name in ("b.gguf", "a.safetensors", "deep/c.gguf", "notes.txt", "d.gguf.part"):
        put(tmp_path / name)
    assert store.names(tmp_path) == ["a.safetensors", "b.gguf", "deep/c.gguf"]


def test_a_file_is_found_in_the_first_folder_that_has_it(tmp_path: Path) -> None:
    second = put(tmp_path / "2" / "deep" / "x.gguf")
    assert store.find([tmp_path / "1", tmp_path / "2"], "deep/x.gguf") == second
    assert store.find(tmp_path / "2", "deep/x.gguf") == second


def test_a_file_that_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    put(tmp_path / "a.gguf")
    with pytest.raises(ModelError, match=r"no model file 'b.gguf' in .*what is there: a\.gguf"):
        store.find(tmp_path, "b.gguf")


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    put(tmp_path / "secret.gguf")
    (tmp_path / "unet").mkdir()
    for name in ("../secret.gguf", str(tmp_path / "secret.gguf")):
        with pytest.raises(ModelError, match="no model file"):
            store.find(tmp_path / "unet", name)


def test_a_linked_file_or_folder_is_found_like_any_other(tmp_path: Path) -> None:
    put(tmp_path / "disk" / "x.gguf")
    unet = tmp_path / "unet"
    unet.mkdir()
    (unet / "linked").symlink_to(tmp_path / "disk")
    (unet / "y.gguf").symlink_to(tmp_path / "disk" / "x.gguf")
    assert store.names(unet) == ["linked/x.gguf", "y.gguf"]
    assert all(store.find(unet, name).is_file() for name in store.names(unet))


def test_the_hash_is_sha256(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    path = put(tmp_path / "x", content)
    assert store.sha256(path) == hashlib.sha256(content).hexdigest()
    with pytest.raises(ModelError, match="no such file"):
        store.sha256(tmp_path / "nothing")


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = put(tmp_path / "x"), tmp_path / "state" / "sha256.json"
    first = store.cached_sha256(path, cache)
    monkeypatch.setattr(store, "sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert store.cached_sha256(path, cache) == first


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    path, cache = put(tmp_path / "x", b"one"), tmp_path / "sha256.json"
    old = store.cached_sha256(path, cache)
    stat = path.stat()
    put(path, b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    new = store.cached_sha256(path, cache)
    assert new == hashlib.sha256(b"two").hexdigest() != old


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"x": 1}', b"\xff"])
def test_a_damaged_cache_is_only_slow(tmp_path: Path, content: bytes) -> None:
    path, cache = put(tmp_path / "x"), put(tmp_path / "sha256.json", content)
    assert store.cached_sha256(path, cache) == store.sha256(path)
    assert store.cached_sha256(path, cache) == store.sha256(path)


def test_a_write_leaves_only_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    store.atomic_write(path, b"one")
    store.atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "x.json", b"old")

    def fail(temp: Path, final: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "publish", fail)
    with pytest.raises(OSError, match="No space"):
        store.atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
