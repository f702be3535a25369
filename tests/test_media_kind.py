import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core import media_kind


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp"), ("GIF", ".gif"), ("TIFF", ".tif")],
)
def test_pictures_are_known_by_their_first_bytes_whatever_they_are_called(
    kind: str, suffix: str
) -> None:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, kind)
    assert media_kind.suffix_of(out.getvalue(), "evil.exe") == suffix


@pytest.mark.parametrize(
    ("start", "suffix"),
    [
        (b"\0\0\0\x20ftypisom\0\0", ".mp4"),
        (b"\0\0\0\x1cftypavif\0\0", ".avif"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", ".webm"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska", ".mkv"),
        (b"fLaC\0", ".flac"),
    ],
)
def test_videos_and_sounds_are_too(start: bytes, suffix: str) -> None:
    assert media_kind.suffix_of(start, "x") == suffix


def test_a_kind_without_a_signature_is_known_by_the_hosts_name() -> None:
    assert media_kind.suffix_of(b"\xff\xfb", r"out\a_00001_.MP3") == ".mp3"


@given(content=st.binary(max_size=40), name=st.text())
def test_the_ending_is_plain_and_never_one_that_runs(content: bytes, name: str) -> None:
    for host_name in (
        name,
        f"{name}.exe",
        f"{name}.sh",
        f"../.{name}.desktop",
        ".bashrc",
        "a.html",
    ):
        suffix = media_kind.suffix_of(content, host_name)
        assert re.fullmatch(r"\.[a-z0-9]+", suffix)
        assert suffix not in (".exe", ".sh", ".desktop", ".bashrc", ".html", ".py", ".bat", ".lnk")
