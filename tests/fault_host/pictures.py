"""Pictures that prove what they were made from: the pixels are a hash of prompt and seed.

So a picture that was filed under the wrong prompt is found out from the file alone, whatever
its name and its record say.
"""

import hashlib
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def pixels(prompt: str, seed: int, number: int = 0) -> bytes:
    """Return the row of 11 RGB pixels that stands for this image of a batch."""
    digest = hashlib.sha256(f"{prompt}\0{seed}\0{number}".encode()).digest()
    return digest + b"\0"


def picture(prompt: str, seed: int, number: int = 0, graph: str = "") -> bytes:
    """Make the PNG, with the graph in a text chunk as SaveImage writes it."""
    text = [_chunk(b"tEXt", b"prompt\0" + graph.encode("ascii"))] if graph else []
    header = struct.pack(">IIBBBBB", 11, 1, 8, 2, 0, 0, 0)
    row = zlib.compress(b"\0" + pixels(prompt, seed, number), 1)
    parts = [_chunk(b"IHDR", header), *text, _chunk(b"IDAT", row), _chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(parts)


def pixels_of(png: bytes) -> bytes:
    """Read a picture's raw pixels, without the filter bytes; written apart from the project."""
    place, packed, width = len(SIGNATURE), b"", 0
    while place < len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        data = png[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width = struct.unpack_from(">I", data)[0]
        if kind == b"IDAT":
            packed += data
        place += 12 + length
    rows, stride = zlib.decompress(packed), 1 + 3 * width
    return b"".join(rows[at + 1 : at + stride] for at in range(0, len(rows), stride))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
