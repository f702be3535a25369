"""What a file really is, told from its first bytes.

For explaining a refusal ("it is a pickle"); whether a file is sound, its parser decides.
"""

SAFETENSORS = "a safetensors file"
_PICKLE = "a PyTorch pickle, which can run any program when it is opened; Vulcan never opens one"

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "a GGUF file"),
    (b"PK\x03\x04", _PICKLE),
    (b"\x80\x02", _PICKLE),
    (b"\x80\x03", _PICKLE),
    (b"\x80\x04", _PICKLE),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was never downloaded"),
    (b"<!DOCTYPE", "a web page: the download did not give the file"),
    (b"<!doctype", "a web page: the download did not give the file"),
    (b"<html", "a web page: the download did not give the file"),
)


def describe(first: bytes) -> str:
    """Say what a file with these first bytes is; empty if they tell nothing."""
    if not first:
        return "an empty file"
    # A header's length below 4 GB, then its JSON. Asked first: the length may look like a pickle.
    if first[4:9] == b"\0\0\0\0{":
        return SAFETENSORS
    return next((kind for magic, kind in _SIGNATURES if first.startswith(magic)), "")
