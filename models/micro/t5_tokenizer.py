"""The micro T5's tokenizer: a unigram model in Hugging Face's tokenizer.json format.

Built like T5's own (SentencePiece): blanks become `▁`, the likeliest split wins, `</s>` ends the
text. A whole word costs less than its letters, so a known word is one token. What no piece covers
is spelled in bytes, so any text can be tokenised. Unlike T5, it does not tell capitals apart: the
word list is short and has none.
"""

import json
from typing import Any, TypeAlias

from models.micro.spec import T5, WORDS

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
_BLANK = "▁"

Piece: TypeAlias = tuple[str, float]


def pieces() -> list[Piece]:
    """Piece and log-probability, by id; `<pad>` is 0 and `</s>` is 1, as in every T5."""
    special = [(token, 0.0) for token in (PAD, END, UNKNOWN)]
    words = [(_BLANK + word, -5.0) for word in WORDS]
    letters = [(_BLANK, -6.0), *((chr(code), -8.0) for code in range(33, 127))]
    spelled = [(f"<0x{byte:02X}>", -12.0) for byte in range(256)]
    return [*special, *words, *letters, *spelled]


def tokenizer_json() -> str:
    """The whole tokenizer: a fixed number of tokens, filled up with `<pad>`."""
    ids = {piece: place for place, (piece, _) in enumerate(pieces())}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": {
                "direction": "Right",
                "max_length": T5.tokens,
                "strategy": "LongestFirst",
                "stride": 0,
            },
            "padding": {
                "strategy": {"Fixed": T5.tokens},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": ids[PAD],
                "pad_type_id": 0,
                "pad_token": PAD,
            },
            "added_tokens": [_special(token, ids[token]) for token in (PAD, END, UNKNOWN)],
            "normalizer": _normalizer(),
            "pre_tokenizer": _metaspace(),
            "post_processor": _ending(ids[END]),
            "decoder": _metaspace(),
            "model": {
                "type": "Unigram",
                "unk_id": ids[UNKNOWN],
                "vocab": pieces(),
                "byte_fallback": True,
            },
        },
        ensure_ascii=False,
    )


def _special(token: str, token_id: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": token, **flags, "special": True}


def _normalizer() -> dict[str, Any]:
    blanks = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
    ends = {"type": "Strip", "strip_left": True, "strip_right": True}
    lower = {"type": "Lowercase"}
    return {"type": "Sequence", "normalizers": [{"type": "NFKC"}, lower, blanks, ends]}


def _metaspace() -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": _BLANK, "prepend_scheme": "always", "split": True}


def _ending(end_id: int) -> dict[str, Any]:
    text = {"Sequence": {"id": "A", "type_id": 0}}
    end = {"SpecialToken": {"id": END, "type_id": 0}}
    pair = [text, end, {"Sequence": {"id": "B", "type_id": 0}}, end]
    token = {"id": END, "ids": [end_id], "tokens": [END]}
    return {
        "type": "TemplateProcessing",
        "single": [text, end],
        "pair": pair,
        "special_tokens": {END: token},
    }
