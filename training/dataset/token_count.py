"""How many tokens a caption is: counted by a text encoder's own tokenizer, or estimated.

Nothing is fetched: where neither the encoder's file nor the models folder has a tokenizer, words
are counted instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models import gguf_file, safetensors_file
from training.errors import TrainingError

CLIP_TOKENS = 77
"""CLIP reads no more (openai/clip-vit-large-patch14: 77 positions, start and end among them)."""
T5_TOKENS = 256
"""To so many T5's tokens are padded (ComfyUI, host/text_encoders.py); more make a step longer."""
_PER_WORD = 1.3  # tokens of English prose, T5's and CLIP's vocabularies alike


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts the tokens of one text encoder.

    Attributes:
        name: of the encoder, for people.
        cap: how many there should be at most.
        exact: they are counted, not estimated.
        count: gives the number of tokens of a text, end and start among them.
    """

    name: str
    cap: int
    exact: bool
    count: Callable[[str], int]

    def told(self, text: str) -> str:
        """Say how many tokens a text is."""
        about = "" if self.exact else "about "
        return f"{about}{self.count(text)} tokens of {self.name}"


def estimates() -> tuple[TokenCounter, TokenCounter]:
    """Return counters for T5 and CLIP that know words only."""
    return (
        TokenCounter("T5", T5_TOKENS, False, _estimate),
        TokenCounter("CLIP", CLIP_TOKENS, False, _estimate),
    )


def find(t5: Path | None, clip_l: Path | None, models: Path | None) -> tuple[TokenCounter, ...]:
    """Return the best counters for T5 and CLIP that can be had without a network.

    Args:
        t5: file of the text encoder (GGUF or safetensors), whose metadata may hold a tokenizer.
        clip_l: the same of CLIP.
        models: the models folder, which may hold ``tokenizers/NAME/tokenizer.json``.

    Raises:
        TrainingError: a tokenizer is damaged.
        ModelError: a text encoder's file is.
    """
    guesses = estimates()
    files = (("t5xxl", t5), ("clip_l", clip_l))
    return tuple(
        _own(guess, name, file, models) for guess, (name, file) in zip(guesses, files, strict=True)
    )


def _own(guess: TokenCounter, name: str, file: Path | None, models: Path | None) -> TokenCounter:
    metadata = _metadata(file) if file else {}
    has = any(isinstance(metadata.get(key), str) for key in _KEYS)
    if not has and not (models and (models / "tokenizers" / name / "tokenizer.json").is_file()):
        return guess
    from host import tokenizer_files
    from host.errors import RenderError

    try:
        found = tokenizer_files.find(name, metadata, models or Path(), file or Path(name))
    except RenderError as error:
        raise TrainingError("its tokenizer cannot be used", path=file, why=error.why) from error
    cap = int(found.truncation["max_length"]) if found.truncation else guess.cap
    found.no_truncation()
    found.no_padding()
    return TokenCounter(guess.name, cap, True, lambda text: len(found.encode(text).ids))


_KEYS = ("tokenizer", "tokenizer.huggingface.json")  # host/tokenizer_files.py reads the same


def _metadata(file: Path) -> Mapping[str, object]:
    if file.suffix.lower() == ".gguf":
        return gguf_file.read_header(file).metadata
    return safetensors_file.read_header(file).metadata


def _estimate(text: str) -> int:
    return round(len(text.split()) * _PER_WORD) + 1
