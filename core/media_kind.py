"""What kind of file a host made: told by its first bytes, else by the host's own name for it.

Pictures, animations and sounds only. The answer becomes the ending of a file in the user's
outbox, so it is one of a fixed list and never of a kind that a double click would run.
"""

import re
from pathlib import PurePosixPath

PNG = ".png"
UNKNOWN = ".bin"

_SIGNATURES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), suffix)
    for pattern, suffix in (
        (rb"\x89PNG\r\n\x1a\n", PNG),
        (rb"\xff\xd8\xff", ".jpg"),
        (rb"RIFF....WEBP", ".webp"),
        (rb"GIF8[79]a", ".gif"),
        (rb"....ftypavi[fs]", ".avif"),
        (rb"....ftypqt  ", ".mov"),
        (rb"....ftypM4A ", ".m4a"),
        (rb"....ftyp", ".mp4"),
        (rb"\x1a\x45\xdf\xa3.{0,64}webm", ".webm"),
        (rb"\x1a\x45\xdf\xa3", ".mkv"),
        (rb"(II\*\0|MM\0\*)", ".tif"),
        (rb"\x76\x2f\x31\x01", ".exr"),
        (rb"(\xff\x0a|\0\0\0\x0cJXL )", ".jxl"),
        (rb"RIFF....WAVE", ".wav"),
        (rb"fLaC", ".flac"),
        (rb"OggS", ".ogg"),
        (rb"ID3", ".mp3"),
        (rb"glTF", ".glb"),
    )
)
# Kinds without a signature of their own, or with more than one: taken from the host's name.
_NAMED = frozenset({".mp3", ".opus", ".latent", ".hdr", ".bmp", ".txt", ".obj", ".ply", ".stl"})


def suffix_of(content: bytes, host_name: str) -> str:
    """Return the ending, with its dot, for a file a host made.

    Args:
        content: its bytes.
        host_name: its name on the host; not trusted.
    """
    for signature, suffix in _SIGNATURES:
        if signature.match(content):
            return suffix
    named = PurePosixPath(host_name.replace("\\", "/")).suffix.lower()
    return named if named in _NAMED else UNKNOWN


def claims_png(host_name: str) -> bool:
    """Tell whether the host calls the file a PNG, so that anything else in it is damage."""
    return host_name.lower().endswith(PNG)
