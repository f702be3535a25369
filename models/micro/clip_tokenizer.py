"""The micro CLIP's tokenizer: byte-level BPE in Hugging Face's tokenizer.json format.

Built like CLIP's own: lower-cased text, split into words, each word spelled in bytes, the last of
them marked `</w>`, then merged by rank. Every byte is in the vocabulary, so any text can be
tokenised. It is written as plain JSON; the tokenizers library only reads it.
"""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, TypeAlias

from models.micro.spec import CLIP, WORDS

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

Merge: TypeAlias = tuple[str, str]
Spelling: TypeAlias = tuple[str, ...]


def byte_letters() -> dict[int, str]:
    """GPT-2's letter for each byte: printable bytes are themselves, the rest come from 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (byte for byte in range(256) if byte not in printable)
    moved = {byte: chr(256 + place) for place, byte in enumerate(others)}
    return {byte: moved.get(byte, chr(byte)) for byte in range(256)}


def spell(word: str) -> Spelling:
    """A word as single letters, the last with the mark of its end."""
    letters = [byte_letters()[byte] for byte in word.encode()]
    return (*letters[:-1], letters[-1] + _WORD_END)


def learn_merges(words: Iterable[str]) -> list[Merge]:
    """Byte-pair encoding to its end: the most frequent pair first, until every word is one token.

    Equal counts are decided by the alphabet, so the same words give the same merges.
    """
    spellings = [spell(word) for word in words]
    merges: list[Merge] = []
    while pairs := Counter(pair for letters in spellings for pair in pairwise(letters)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spellings = [_merged(letters, best) for letters in spellings]
    return merges


def _merged(letters: Spelling, pair: Merge) -> Spelling:
    out: list[str] = []
    for letter in letters:
        if out and (out[-1], letter) == pair:
            out[-1] += letter
        else:
            out.append(letter)
    return tuple(out)


def vocabulary() -> dict[str, int]:
    """Token to id: bytes, bytes at a word's end, merged tokens, start, end (the highest id)."""
    letters = list(byte_letters().values())
    merged = ["".join(pair) for pair in learn_merges(WORDS)]
    tokens = [*letters, *(letter + _WORD_END for letter in letters), *merged, START, END]
    return {token: place for place, token in enumerate(dict.fromkeys(tokens))}


def tokenizer_json() -> str:
    """The whole tokenizer: 77 tokens, start and end around the text, filled up with the end."""
    ids = vocabulary()
    return json.dumps(
        {
            "version": "1.0",
            "truncation": {
                "direction": "Right",
                "max_length": CLIP.tokens,
                "strategy": "LongestFirst",
                "stride": 0,
            },
            "padding": {
                "strategy": {"Fixed": CLIP.tokens},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": ids[END],
                "pad_type_id": 0,
                "pad_token": END,
            },
            "added_tokens": [_special(token, ids[token]) for token in (START, END)],
            "normalizer": _normalizer(),
            "pre_tokenizer": _pre_tokenizer(),
            "post_processor": {
                "type": "RobertaProcessing",
                "sep": [END, ids[END]],
                "cls": [START, ids[START]],
                "trim_offsets": False,
                "add_prefix_space": False,
            },
            "decoder": {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            },
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": END,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": _WORD_END,
                "fuse_unk": False,
                "byte_fallback": False,
                "vocab": ids,
                "merges": [list(pair) for pair in learn_merges(WORDS)],
            },
        },
        ensure_ascii=False,
    )


def _special(token: str, token_id: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": token, **flags, "special": True}


def _normalizer() -> dict[str, Any]:
    blanks = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
    return {"type": "Sequence", "normalizers": [{"type": "NFC"}, blanks, {"type": "Lowercase"}]}


def _pre_tokenizer() -> dict[str, Any]:
    words = {
        "type": "Split",
        "pattern": {"Regex": _SPLIT},
        "behavior": "Removed",
        "invert": True,
    }
    spelling = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {"type": "Sequence", "pretokenizers": [words, spelling]}
