"""Writes captions with Florence-2 or BLIP-2, as transformers has them built in.

A checkpoint is a folder of transformers' kind, or comes from the hub if that is asked for. Only
safetensors are read and no code that a checkpoint brings is run; the older repositories
``microsoft/Florence-2-*`` need that, their twins ``florence-community/Florence-2-*`` do not.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from PIL import Image

from training.errors import TrainingError


class Kind(StrEnum):
    """Which captioner."""

    FLORENCE_2 = "florence-2"
    BLIP_2 = "blip-2"


REPOSITORIES = {
    Kind.FLORENCE_2: "florence-community/Florence-2-large",
    Kind.BLIP_2: "Salesforce/blip2-opt-2.7b",
}
"""On the Hugging Face hub: 1.6 GB in half precision, and 15 GB in single."""

_PROMPTS = {Kind.FLORENCE_2: "<MORE_DETAILED_CAPTION>", Kind.BLIP_2: None}
_LONGEST = {Kind.FLORENCE_2: 200, Kind.BLIP_2: 60}  # tokens; a caption is one paragraph
_BEAMS = 3  # as Florence-2's own examples
_MOST_REPEATED = 3  # tokens in a row that may come twice: BLIP-2 repeats itself otherwise

_THINGS = r"(?:image|picture|photo(?:graph)?|illustration|painting|drawing)"
_PREFIX = re.compile(
    rf"^(?:in )?(?:the|this|an?) (?:\w+ )?{_THINGS}(?:,? (?:we can see|there is)| of| (?:that )?"
    r"(?:shows?|showing|depicts?|depicting|features?|featuring|displays?|captures?|portrays?|"
    r"contains?|is of|is)),? ",
    re.IGNORECASE,
)
_MARKS = re.compile(r"</?s>|<pad>|<unk>|<image>|<loc_\d+>")


@dataclass(frozen=True, slots=True)
class Captioner:
    """A loaded captioner.

    Attributes:
        kind: which.
        model: transformers' model.
        processor: transformers' processor of the same checkpoint.
    """

    kind: Kind
    model: Any
    processor: Any

    def caption(self, image: Image.Image) -> str:
        """Return a description of a picture; empty if the model says nothing."""
        import torch

        prompt = _PROMPTS[self.kind]
        inputs = self.processor(images=image, text=prompt, return_tensors="pt").to(
            self.model.device, self.model.dtype
        )
        with torch.inference_mode():
            made = self.model.generate(
                **inputs,
                max_new_tokens=_LONGEST[self.kind],
                num_beams=_BEAMS,
                no_repeat_ngram_size=_MOST_REPEATED,
                do_sample=False,
            )
        return tidy(self.processor.batch_decode(made, skip_special_tokens=True)[0])


def tidy(text: str) -> str:
    """Return a caption without what speaks of the picture instead of what is on it."""
    words = " ".join(_MARKS.sub(" ", text).split())
    short = _PREFIX.sub("", words)
    return short[:1].lower() + short[1:] if short != words else words


def load(kind: Kind, folder: Path | None, *, download: bool = False) -> Captioner:
    """Load a captioner.

    Args:
        kind: which.
        folder: of a checkpoint; None: the hub's, from its cache.
        download: what is not in the hub's cache may be fetched.

    Raises:
        TrainingError: there is no such checkpoint, or it is no such model.
    """
    if folder is not None and not (folder / "config.json").is_file():
        raise TrainingError(
            "is no captioner", path=folder, why="there is no config.json in it", fix=_advice(kind)
        )
    source = str(folder) if folder else REPOSITORIES[kind]
    # transformers meets a strange checkpoint with all of these
    strange = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError)
    try:
        return _loaded(kind, source, local=folder is not None or not download)
    except strange as error:
        why = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"{kind} cannot be loaded from {source}", why=why, fix=_advice(kind)
        ) from error


def _loaded(kind: Kind, source: str, *, local: bool) -> Captioner:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()  # it speaks of torchvision, which is not needed
    transformers.logging.disable_progress_bar()
    cuda = torch.cuda.is_available()
    model_class, processor_class = _classes(kind)
    model, about = model_class.from_pretrained(
        source,
        local_files_only=local,
        use_safetensors=True,
        dtype=torch.float16 if cuda else torch.float32,
        output_loading_info=True,
    )
    if about["missing_keys"]:
        raise ValueError(f"weights are missing: {sorted(about['missing_keys'])[0]} and others")
    processor = processor_class.from_pretrained(source, local_files_only=local)
    return Captioner(kind, model.eval().to("cuda" if cuda else "cpu"), processor)


def _classes(kind: Kind) -> tuple[Any, Any]:
    import transformers

    if kind == Kind.FLORENCE_2:
        return transformers.Florence2ForConditionalGeneration, transformers.Florence2Processor
    return transformers.Blip2ForConditionalGeneration, transformers.Blip2Processor


def _advice(kind: Kind) -> str:
    return (
        f"Fetch {REPOSITORIES[kind]} and name its folder with --captioner, or let --download do it"
    )
