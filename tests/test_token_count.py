"""Tokens are counted where a tokenizer is, and estimated where none is; nothing is fetched."""

from pathlib import Path

import pytest

from models.micro import micro_set
from models.store import Folder
from training.dataset import token_count
from training.errors import TrainingError

ENCODERS = micro_set.SHIPPED / Folder.TEXT_ENCODERS


def test_without_a_tokenizer_words_are_counted() -> None:
    t5, clip = token_count.find(None, None, None)
    assert (t5.exact, clip.exact, t5.cap, clip.cap) == (False, False, 256, 77)
    assert t5.count("one two three four five six seven eight nine ten") == 14
    assert t5.count("") == 1


def test_the_tokenizer_inside_an_encoder_counts_and_says_where_it_cuts() -> None:
    t5, clip = token_count.find(
        ENCODERS / "vulcan-micro-t5.safetensors", ENCODERS / "vulcan-micro-clip_l.safetensors", None
    )
    assert (t5.exact, t5.cap, clip.cap) == (True, 24, 77)
    assert t5.count("a red circle") == 4, "three words and the end, without padding"
    assert t5.count("a red circle " * 40) > 100, "and beyond where it would be cut"
    assert clip.count("a red circle") == 5


def test_a_tokenizer_in_the_models_folder_counts_too(tmp_path: Path) -> None:
    from models import safetensors_file

    own = safetensors_file.read_header(ENCODERS / "vulcan-micro-t5.safetensors").metadata
    path = tmp_path / "tokenizers" / "t5xxl" / "tokenizer.json"
    path.parent.mkdir(parents=True)
    path.write_text(own["tokenizer"])
    t5, clip = token_count.find(None, None, tmp_path)
    assert (t5.exact, clip.exact) == (True, False)
    path.write_text("{}")
    with pytest.raises(TrainingError, match="its tokenizer cannot be used"):
        token_count.find(None, None, tmp_path)
