"""Captions beside pictures: any encoding, any bytes, one line of text."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.dataset import caption_file
from training.errors import TrainingError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_caption_is_read_in_the_encoding_it_has(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("ohwx, Grüße\r\n vom\tHügel".encode(encoding))
    read = caption_file.read(tmp_path / "a.png")
    assert read.text == "ohwx, Grüße vom Hügel"
    assert read.encoding == encoding


def test_no_caption_and_an_empty_one_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text(" \n")
    assert not caption_file.read(tmp_path / "a.png").exists
    assert caption_file.read(tmp_path / "b.png").exists
    assert caption_file.read(tmp_path / "b.png").text == ""


def test_a_huge_file_is_cut_off_without_a_broken_sign(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" + "ü" * 50_000)
    read = caption_file.read(tmp_path / "a.png")
    assert read.cut
    assert read.encoding == "utf-8"
    assert set(read.text) == {"x", "ü"}


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "b.txt").mkdir()
    (tmp_path / "c.txt").symlink_to("c.txt")
    for name in ("a.png", "b.png", "c.png"):
        assert not caption_file.read(tmp_path / name).exists


def test_a_caption_that_may_not_be_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("x")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)  # root may read all
    with pytest.raises(TrainingError, match=r"a\.txt: cannot be read: Permission denied"):
        caption_file.read(tmp_path / "a.png")


@given(st.binary(max_size=200))
def test_any_bytes_give_one_printable_line(content: bytes) -> None:
    text, _ = caption_file.decode(content)
    assert text.isprintable()
    assert text == " ".join(text.split())


@given(st.text(alphabet=st.characters(blacklist_categories=("C", "Z")), max_size=100))
def test_utf8_comes_back_as_it_was(text: str) -> None:
    if not text.startswith(("\ufeff", "\ufffe")):
        assert caption_file.decode(text.encode())[0] == text
