"""Where a text encoder's tokenizer comes from.

In this order: the metadata of the encoder's own file (the micro set, and what our quantiser made
with a tokenizer beside its source), the file
``tokenizers/<name>/tokenizer.json`` in the models folder, and last the hub's ungated copies, which
are fetched once and kept in the hub's cache. Nothing else here asks the network.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from tokenizers import Tokenizer

from host.errors import RenderError

logger = logging.getLogger(__name__)

HUB = {"clip_l": "openai/clip-vit-large-patch14", "t5xxl": "google-t5/t5-base"}
"""Public repositories with the same vocabularies as Flux's own text encoders."""


def find(name: str, metadata: Mapping[str, object], models: Path, encoder: Path) -> Tokenizer:
    """Return the tokenizer of a text encoder.

    Args:
        name: ``clip_l`` or ``t5xxl``.
        metadata: of the encoder's file.
        models: the models folder.
        encoder: the encoder's file, for errors.

    Raises:
        RenderError: there is none, or it is damaged.
    """
    own = metadata.get("tokenizer") or metadata.get("tokenizer.huggingface.json")
    if isinstance(own, str):
        return _parse(own, encoder)
    path = models / "tokenizers" / name / "tokenizer.json"
    if not path.is_file():
        path = _from_hub(name, path, encoder)
    return _parse(path.read_text(encoding="utf-8"), path)


def _parse(text: str, path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(text)
    except Exception as error:
        raise RenderError("the tokenizer is damaged", path=path, why=str(error)) from error


def _from_hub(name: str, wanted: Path, encoder: Path) -> Path:
    logger.info("%s has no tokenizer of its own: looking in the hub's %s", encoder.name, HUB[name])
    try:
        return Path(hf_hub_download(HUB[name], "tokenizer.json"))
    except (OSError, HfHubHTTPError) as error:
        raise RenderError(
            "the text encoder has no tokenizer",
            path=encoder,
            why=f"there is no {wanted}, and the hub cannot be reached",
            fix=f"Copy tokenizer.json of {HUB[name]} there",
        ) from error
