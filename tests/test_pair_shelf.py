"""Manifests of named pairs: the way through a file and back, names, and what is no manifest."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import pair_shelf, pairing
from models.errors import ModelError
from models.pair_shelf import PairShelf, UnknownPairError
from models.pairing import LoraUse, Pair, PairedFile
from models.store import Folder

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
FILE = st.builds(
    PairedFile,
    st.sampled_from(Folder),
    TEXT,
    TEXT,
    st.integers(0, 2**50),
    TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
)
USE = st.builds(
    LoraUse, TEXT, st.floats(-10, 10), TEXT, st.lists(TEXT, max_size=3).map(tuple), st.booleans()
)
PAIR = st.builds(
    Pair,
    name=TEXT,
    unet=TEXT,
    unet_sha256=TEXT,
    text_encoders=st.lists(TEXT, max_size=3).map(tuple),
    vae=TEXT,
    loras=st.lists(USE, max_size=3).map(tuple),
    files=st.lists(FILE, max_size=3).map(tuple),
    trigger=TEXT,
    targets=st.lists(TEXT, max_size=3).map(tuple),
)
OLD = """{"name": "demo", "unet": "x.gguf", "unet_sha256": "ab", "text_encoders": ["c", "t"],
"vae": "v", "loras": [{"file": "l", "strength": 0.8, "sha256": "cd", "trigger_words": ["w"]}]}"""


def pair(name: str) -> Pair:
    return Pair(name, "x.gguf", "ab", ("c", "t"), "v")


@given(PAIR)
def test_a_manifest_survives_the_way_through_json(made: Pair) -> None:
    assert pairing.from_json(pairing.to_json(made)) == made


def test_a_manifest_of_an_earlier_version_is_read() -> None:
    read = pairing.from_json(OLD)
    assert read.loras == (LoraUse("l", 0.8, "cd", ("w",)),)
    assert (read.files, read.targets, read.loras[0].in_front) == ((), (), True)


def test_a_pair_is_saved_listed_loaded_and_removed(tmp_path: Path) -> None:
    shelf = PairShelf(tmp_path)
    assert shelf.names() == []
    for name in ("b", "\u4e2d 1.5", "a"):
        shelf.save(pair(name))
    assert shelf.names() == ["a", "b", "\u4e2d 1.5"]
    assert shelf.load("\u4e2d 1.5") == pair("\u4e2d 1.5")
    shelf.remove("b")
    assert shelf.names() == ["a", "\u4e2d 1.5"]
    with pytest.raises(UnknownPairError):
        shelf.remove("b")


@pytest.mark.parametrize("name", ["portait", "../portrait", "portrait.json", ""])
def test_an_unknown_name_is_told_with_the_nearest(tmp_path: Path, name: str) -> None:
    shelf = PairShelf(tmp_path)
    with pytest.raises(UnknownPairError, match="Make it"):
        shelf.load(name)
    shelf.save(pair("portrait"))
    with pytest.raises(UnknownPairError, match="portrait"):
        shelf.load(name)


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".hidden", "-x", "a:b", "x ", " x", "x.", "a\nb", "\ud800", "x" * 101]
)
def test_a_name_that_cannot_be_a_files_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="cannot be a pair's name"):
        pairing.check_name(name)


@pytest.mark.parametrize("name", ["a", "x" * 100, "v1.5 (old)", "\u00e9t\u00e9"])
def test_other_names_are_fine(name: str) -> None:
    assert pairing.check_name(name) == name


def test_what_is_no_manifest_is_refused_with_its_path(tmp_path: Path) -> None:
    shelf = PairShelf(tmp_path)
    shelf.save(pair("a"))
    path = shelf.path("a")
    for text in ("", "[]", "{}", "\0", pairing.to_json(pair("b"))):
        path.write_text(text)
        with pytest.raises(ModelError, match=r"a\.json"):
            shelf.load("a")
    path.unlink()
    path.mkdir()
    assert shelf.names() == []
    with pytest.raises(ModelError, match="cannot be read"):
        pair_shelf.load(path)
