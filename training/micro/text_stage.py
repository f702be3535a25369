"""Stage: the two text encoders, before anything is drawn, as FLUX.1's were trained before it.

Both learn to say what a caption says: which shape, colour, background, size and style, or that it
does not say. CLIP's pooled output is asked once, T5's outputs at every token. So that words without
a meaning stay apart as well, CLIP also tells which tokens were there, and T5 which it is.
"""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from models.micro import clip_tokenizer, spec, t5_tokenizer
from training.micro import pictures
from training.micro.captions import PARTS, Caption, caption
from training.micro.recipe import Recipe
from training.micro.stage import Stage
from training.randomness import stream

_PRESENT = 20.0  # weight of a token that is there: there are few among the hundreds
_CLASSES = [len(part) + 1 for part in PARTS]


class Words:
    """Both tokenizers: texts to ids."""

    def __init__(self) -> None:
        self._clip = Tokenizer.from_str(clip_tokenizer.tokenizer_json())
        self._t5 = Tokenizer.from_str(t5_tokenizer.tokenizer_json())

    def clip(self, texts: Sequence[str]) -> torch.Tensor:
        """(batch, up to 77): without the padding that all share.

        CLIP looks only backwards, so what stands behind a text's end changes nothing before it.
        """
        ids = _ids(self._clip, texts)
        end = ids[0, -1]
        return ids[:, : int((ids != end).sum(dim=1).max()) + 1]

    def t5(self, texts: Sequence[str]) -> torch.Tensor:
        """(batch, T5.tokens)."""
        return _ids(self._t5, texts)


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    return torch.tensor([one.ids for one in tokenizer.encode_batch(list(texts))])


def encode(t5: Any, clip: Any, words: Words, texts: Sequence[str]) -> tuple[Any, Any]:
    """Return T5's tokens (batch, tokens, width) and CLIP's pooled output (batch, width)."""
    device = next(t5.parameters()).device
    ids = words.t5(texts).to(device)
    # All ones, not the padding's mask: that is how Flux, and our host, reads T5.
    context = t5(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
    return context, clip(input_ids=words.clip(texts).to(device)).pooler_output


class Questions(nn.Module):
    """What the encoders are asked; thrown away afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.scene_t5 = nn.Linear(spec.T5.width, sum(_CLASSES))
        self.scene_clip = nn.Linear(spec.CLIP.width, sum(_CLASSES))
        self.token = nn.Linear(spec.T5.width, len(t5_tokenizer.pieces()))
        self.present = nn.Linear(spec.CLIP.width, len(clip_tokenizer.vocabulary()))


def stage(recipe: Recipe, t5: Any, clip: Any) -> Stage:
    """The stage."""
    words = Words()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        questions = Questions()
    questions.to(next(t5.parameters()).device)

    def loss(step: int) -> torch.Tensor:
        captions = batch(recipe, step)
        return wrong(t5, clip, questions, words, captions)

    return Stage("text", recipe.text, {"t5": t5, "clip": clip, "questions": questions}, loss)


def batch(recipe: Recipe, step: int) -> list[Caption]:
    """A step's captions."""
    drawn = stream(recipe.seed, "text", step)
    return [caption(pictures.random_scene(drawn), drawn) for _ in range(recipe.text.batch)]


def wrong(
    t5: Any, clip: Any, questions: Questions, words: Words, captions: Sequence[Caption]
) -> torch.Tensor:
    """How wrong the answers are."""
    texts = [one.text for one in captions]
    device = next(t5.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        context, pooled = (one.float() for one in encode(t5, clip, words, texts))
    said = torch.tensor([one.said for one in captions], device=device)
    every = said[:, None].expand(-1, context.shape[1], -1).flatten(0, 1)
    ids = words.t5(texts).to(device)
    return (
        _scene(questions.scene_clip(pooled), said)
        + _scene(questions.scene_t5(context).flatten(0, 1), every)
        + cross_entropy(questions.token(context).flatten(0, 1), ids.flatten())
        + _present(questions.present(pooled), words.clip(texts).to(device))
    )


def _scene(answers: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    parts = torch.split(answers, _CLASSES, dim=1)
    losses = [cross_entropy(part, said[:, place]) for place, part in enumerate(parts)]
    return torch.stack(losses).sum()


def _present(answers: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    there = torch.zeros_like(answers).scatter_(1, ids, 1.0)
    weight = answers.new_tensor(_PRESENT)
    return binary_cross_entropy_with_logits(answers, there, pos_weight=weight)
