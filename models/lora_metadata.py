"""What a LoRA's metadata tell about its making: base, words, steps, data, who made it.

The keys are those of kohya's sd-scripts (ss_*), Stability's model spec (modelspec.*), ai-toolkit
(software, training_info), OneTrainer (ot_*), diffusers and Vulcan (vulcan.*). All are texts that
anyone may have written: whatever they hold, the answer is an About, and what cannot be understood
is left out.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import lora_scale

MOST_TAGS = 10
_LONGEST = 400  # characters of one value


@dataclass(frozen=True, slots=True)
class About:
    """How a LoRA came about; what is not known is empty.

    Attributes:
        base: the model it was trained on.
        title: its own name.
        author: whom it names.
        made_by: the program that trained it.
        date: when, as the file says it.
        steps: of training.
        epochs: of training.
        images: in the data set.
        resolution: of training, as the file says it.
        tags: the captions' most frequent tags and how often each occurs.
        recorded_hash: the hash over its tensors that the trainer wrote down.
    """

    base: str = ""
    title: str = ""
    author: str = ""
    made_by: str = ""
    date: str = ""
    steps: str = ""
    epochs: str = ""
    images: str = ""
    resolution: str = ""
    tags: tuple[tuple[str, int], ...] = ()
    recorded_hash: str = ""


def read(metadata: Mapping[str, str]) -> About:
    """Collect what the metadata tell."""
    training = _table(metadata, "training_info")

    def first(*keys: str) -> str:
        return next((text for key in keys if (text := _text(metadata.get(key)))), "")

    return About(
        base=first("vulcan.base_file", "modelspec.architecture", "ss_base_model_version")
        or first("base_model", "ss_sd_model_name"),
        title=first("modelspec.title", "ss_output_name", "name"),
        author=first("modelspec.author"),
        made_by=_made_by(metadata),
        date=first("modelspec.date", "ss_training_started_at"),
        steps=first("ss_steps") or _text(training.get("step")),
        epochs=first("ss_epoch", "ss_num_epochs") or _text(training.get("epoch")),
        images=first("ss_num_train_images"),
        resolution=first("modelspec.resolution", "ss_resolution"),
        tags=_tags(metadata),
        recorded_hash=first("sshs_model_hash"),
    )


def goes_in_front(metadata: Mapping[str, str]) -> bool:
    """Whether prompts that hold no trigger word get the first one put in front.

    So it is with a style. A file whose word names one thing among others says otherwise by
    ``vulcan.trigger_in_front = "false"``: not every prompt is to show that thing.
    """
    return metadata.get("vulcan.trigger_in_front", "").strip().lower() != "false"


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The words that a file's metadata name as its trigger, without repeats."""
    texts = (metadata.get(key, "") for key in ("trigger_words", "modelspec.trigger_phrase"))
    words = (word.strip() for text in texts for word in text.split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _made_by(metadata: Mapping[str, str]) -> str:
    software = _table(metadata, "software")
    if name := _text(software.get("name")):
        return f"{name} {_text(software.get('version'))}".strip()
    if any(key.startswith("vulcan.") for key in metadata):
        return "Vulcan"
    if any(key.startswith("ot_") for key in metadata):
        return "OneTrainer"
    if module := _text(metadata.get("ss_network_module")):
        return f"kohya sd-scripts ({module})"
    if any(key.startswith("ss_") for key in metadata):
        return "kohya sd-scripts, or a program that writes its metadata"
    return "diffusers" if lora_scale.KEY in metadata else ""


def _tags(metadata: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Sum kohya's table of folder -> tag -> count over the folders."""
    counts: Counter[str] = Counter()
    for folder in _table(metadata, "ss_tag_frequency").values():
        if isinstance(folder, dict):
            for tag, count in folder.items():
                if type(count) is int and 0 < count < 1 << 62:
                    counts[_text(tag)] += count
    del counts[""]
    return tuple(counts.most_common(MOST_TAGS))


def _table(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        table = json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _text(value: object) -> str:
    """One line that can be shown; empty for what trainers write where they know nothing."""
    if value is None or isinstance(value, dict | list | bool):
        return ""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(value)[:_LONGEST])
    text = " ".join(printable.split())
    return "" if text in ("None", "null") else text
