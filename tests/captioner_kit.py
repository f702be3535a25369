"""Captioners of the real classes, as small as they go, with random weights: they babble."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BartConfig,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    OPTConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<image>")
WORDS = (
    "a",
    "woman",
    "in",
    "the",
    "garden",
    "with",
    "red",
    "hat",
    "and",
    "one",
    "tree",
    "paragraph",
)
QUERIES = 4


def florence_2(folder: Path) -> Path:
    """Write a Florence-2 of a few thousand weights."""
    torch.manual_seed(0)
    tokenizer = _tokenizer({"image_token": "<image>"})
    config = Florence2Config(
        text_config=_bart(len(tokenizer)),
        vision_config={
            "depths": [1, 1, 1, 1],
            "embed_dim": [4, 8, 8, 16],
            "num_heads": [1, 1, 1, 2],
            "num_groups": [1, 1, 1, 2],
            "window_size": 4,
            "projection_dim": 16,
            "drop_path_rate": 0.0,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    pictures = CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False)
    pictures.image_seq_length = 5  # 2 x 2 places and their mean
    _talking(Florence2ForConditionalGeneration(config)).save_pretrained(folder)
    Florence2Processor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def blip_2(folder: Path) -> Path:
    """Write a BLIP-2 of a few thousand weights."""
    torch.manual_seed(0)
    tokenizer = _tokenizer({})
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
        ).to_dict(),
        qformer_config=Blip2QFormerConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            encoder_hidden_size=16,
        ).to_dict(),
        text_config=OPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            ffn_dim=16,
            num_attention_heads=2,
            max_position_embeddings=128,
            word_embed_proj_dim=16,
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
        ).to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    pictures = BlipImageProcessorPil(size={"height": 32, "width": 32})
    _talking(Blip2ForConditionalGeneration(config)).save_pretrained(folder)
    Blip2Processor(pictures, tokenizer, num_query_tokens=QUERIES).save_pretrained(folder)
    return folder


def _talking(model: Any) -> Any:
    """Have a model say words, where random weights would as soon end or say marks."""
    model.generation_config.suppress_tokens = [0, 1, 3, 4]
    model.generation_config.min_new_tokens = 4
    return model


def _bart(words: int) -> dict[str, object]:
    config = BartConfig(
        vocab_size=words,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=256,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    )
    return dict(config.to_dict())


def _tokenizer(special: dict[str, str]) -> PreTrainedTokenizerFast:
    words = {word: index for index, word in enumerate((*SPECIAL, *WORDS))}
    own = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=special,
    )
