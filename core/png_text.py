"""Text inside PNG files: put in and read out without touching a pixel.

A PNG is a signature and chunks: u32 length, 4-byte type, data, u32 CRC of type and data. Text
stands in ``tEXt`` (Latin-1), ``zTXt`` (the same, deflated) or ``iTXt`` (UTF-8, may be deflated)
chunks. Setting a text replaces every chunk of that keyword and writes one before the first
``IDAT``, where every reader finds it; all other bytes are copied, so an image costs microseconds
and is the same in every pixel.

What fits Latin-1 is written as ``tEXt``, as Pillow (and with it ComfyUI and A1111) does. It
matters: ComfyUI's editor takes everything behind an ``iTXt``'s keyword for the text, flags
included, and then finds no JSON in it (frontend 1.27, ``getFromPngBuffer``). Reading is for
strangers' files too: a text that does not unpack is left out, and unpacking has a limit.

Source: PNG (Third Edition), W3C, sections 5.3 and 11.3.
"""

import struct
import zlib
from collections.abc import Collection, Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT_KINDS = (b"tEXt", b"iTXt", b"zTXt")
MAX_TEXT = 16 << 20  # bytes that the texts of one picture may unpack to, all together


class PngError(ValueError):
    """Not a whole PNG."""


def with_texts(png: bytes, texts: Mapping[str, str], international: Collection[str] = ()) -> bytes:
    """Return the picture with these texts in place of its own of the same keywords.

    Args:
        png: a whole file.
        texts: by keyword; half surrogates, which no encoding has, become question marks.
        international: keywords that must be ``iTXt`` whatever their text, such as XMP's.

    Raises:
        PngError: not a PNG, cut short, or without a picture.
    """
    out: list[bytes | memoryview] = [SIGNATURE]
    whole = memoryview(png)
    added = False
    for kind, start, end in _spans(png):
        if kind in TEXT_KINDS and _keyword(png[start + 8 : end - 4]) in texts:
            continue
        if kind == b"IDAT" and not added:
            out += [_text_chunk(key, text, key in international) for key, text in texts.items()]
            added = True
        out.append(whole[start:end])
    if not added:
        raise PngError("there is no picture in it")
    return b"".join(out)


def texts(png: bytes) -> dict[str, str]:
    """Return the texts of a picture by keyword; those that do not unpack are left out.

    Raises:
        PngError: not a PNG, cut short, or its texts unpack to more than ``MAX_TEXT`` bytes.
    """
    found: dict[str, str] = {}
    room = MAX_TEXT
    for kind, data in chunks(png):
        if kind in TEXT_KINDS and (text := _unpacked(kind, data, room)) is not None:
            room -= len(text)
            found[_keyword(data)] = text.decode(
                "utf-8" if kind == b"iTXt" else "latin-1", "replace"
            )
    return found


def is_whole(png: bytes) -> bool:
    """Tell whether these bytes are a PNG from signature to ``IEND``, checksums included."""
    try:
        return list(chunks(png))[-1][0] == b"IEND"
    except (PngError, IndexError):
        return False


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and data of each chunk up to ``IEND``.

    Raises:
        PngError: bad signature or checksum, or the end is missing.
    """
    for kind, start, end in _spans(png):
        yield kind, png[start + 8 : end - 4]


def _spans(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of each chunk up to ``IEND``; nothing large is copied."""
    if not png.startswith(SIGNATURE):
        raise PngError("no PNG signature")
    whole = memoryview(png)
    start, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if start + 12 > len(png):
            raise PngError("cut short")
        (length,) = struct.unpack_from(">I", png, start)
        kind, end = png[start + 4 : start + 8], start + 12 + length
        if png[end - 4 : end] != _checksum(kind, whole[start + 8 : end - 4]):
            raise PngError(f"damaged in chunk {kind!r}, or cut short")
        yield kind, start, end
        start = end


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + _checksum(kind, data)


def _checksum(kind: bytes, data: bytes | memoryview) -> bytes:
    return struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _keyword(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("latin-1")


def _text_chunk(key: str, text: str, international: bool) -> bytes:
    keyword = key.encode("latin-1")
    try:
        plain = None if international or "\0" in text else text.encode("latin-1")
    except UnicodeEncodeError:
        plain = None
    if plain is not None:
        return _chunk(b"tEXt", keyword + b"\0" + plain)
    # keyword, compression flag and method, language, translated keyword, text
    return _chunk(b"iTXt", keyword + b"\0\0\0\0\0" + text.encode("utf-8", "replace"))


def _unpacked(kind: bytes, data: bytes, room: int) -> bytes | None:
    """Return a text chunk's text, ``None`` when it is malformed."""
    _, found, rest = data.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed, fields = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        found, text = (b"\0", fields[2]) if found and len(fields) == 3 else (b"", b"")
    else:
        text = rest[1:] if packed else rest
    if not found:
        return None
    return _inflated(text, room) if packed else text


def _inflated(packed: bytes, room: int) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, room + 1)
    except zlib.error:
        return None
    if len(text) > room:
        raise PngError(f"its texts unpack to more than {MAX_TEXT >> 20} MB")
    return text if unpacker.eof else None
