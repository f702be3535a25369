"""A trained LoRA as a file that ComfyUI and diffusers both load, and what is asked of it first.

Names of diffusers with ``transformer.`` in front, float16, alpha equal to the rank and so not
written (of the spellings there are, that and kohya's are the only ones that both load whole). The
metadata are kohya's (``ss_*``), Stability's (``modelspec.*``) and our own. There is no time in
them: the same training gives the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models import base_shape, flux, lora, lora_fit, safetensors_file, store
from training.dataset.picture_set import PictureSet
from training.errors import TrainingError
from training.recipe import Preset
from training.run_plan import Plan

_FLOAT16_MOST = 65504.0


@dataclass(frozen=True, slots=True)
class Exported:
    """A LoRA on disk.

    Attributes:
        path: the file.
        sha256: of the file.
        layers: how many it changes.
    """

    path: Path
    sha256: str
    layers: int


def write(
    path: Path, tensors: Mapping[str, torch.Tensor], plan: Plan, pictures: PictureSet, base: Path
) -> Exported:
    """Check a LoRA, write it, and check the file as those who load it would.

    Args:
        path: where to.
        tensors: from :func:`training.adapter.tensors`, float32.
        plan: what it was trained by.
        pictures: what it was trained on.
        base: the unet's file.

    Raises:
        TrainingError: it was not trained, or holds what is no number, or would not all be loaded.
        OSError: the disk refuses.
    """
    _refuse_bad(tensors, path)
    arrays = {name: one.half().numpy() for name, one in sorted(tensors.items())}
    store.atomic_write(path, safetensors_file.serialise(arrays, _metadata(arrays, plan, pictures)))
    return Exported(path, store.sha256(path), _check(path, base))


def _refuse_bad(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    for name, one in tensors.items():
        if not torch.isfinite(one).all() or one.abs().max() > _FLOAT16_MOST:
            raise TrainingError(
                "the LoRA was not written",
                path=path,
                why=f"{name} holds what float16 cannot hold",
                fix="Train again with a lower learning rate",
            )
    if not any(one.any() for name, one in tensors.items() if ".lora_B." in name):
        raise TrainingError("the LoRA was not written", path=path, why="it changes nothing yet")


def _check(path: Path, base: Path) -> int:
    """Have every key of the file apply by ComfyUI's rules, and by diffusers'."""
    shape = base_shape.read(base)
    found = lora.read(path, shape)
    fit = lora_fit.judge(found, flux.tensor_shapes(shape))
    if fit.findings or len(fit.in_diffusers) != fit.total:
        why = "; ".join(fit.texts[:3]) or "diffusers would not load all of it"
        raise TrainingError("the LoRA does not fit its own base", path=path, why=why)
    return fit.total


def _metadata(
    arrays: Mapping[str, "np.ndarray[tuple[int, ...], np.dtype[np.float16]]"],
    plan: Plan,
    pictures: PictureSet,
) -> dict[str, str]:
    recipe = plan.recipe
    content = hashlib.sha256()
    for array in arrays.values():
        content.update(array.tobytes())
    resolution = "x".join([str(max(recipe.resolution))] * 2)
    named = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "flux-1-dev/lora",
        "modelspec.title": plan.name,
        "modelspec.trigger_phrase": plan.trigger,
        "modelspec.resolution": resolution,
        "modelspec.hash_sha256": f"0x{content.hexdigest()}",
        "modelspec.license": "as the base's: FLUX.1 [dev] Non-Commercial License",
        "sshs_model_hash": content.hexdigest(),
        "trigger_words": plan.trigger,
        # A style is for every prompt; a character or a thing for those that name it.
        "vulcan.trigger_in_front": str(plan.preset is Preset.STYLE).lower(),
        "vulcan.base_file": plan.base_name,
        "vulcan.base_sha256": plan.base_sha256,
        "vulcan.backend": plan.backend.value,
        "vulcan.dataset_hash": pictures.hash,
        "vulcan.preset": plan.preset.value,
        "vulcan.config": json.dumps(recipe.model_dump(mode="json"), sort_keys=True),
    }
    return named | _kohya(plan, pictures, resolution)


def _kohya(plan: Plan, pictures: PictureSet, resolution: str) -> dict[str, str]:
    """What the tools that read kohya's metadata show."""
    recipe = plan.recipe
    return {
        "ss_base_model_version": "flux1",
        "ss_output_name": plan.name,
        "ss_network_dim": str(recipe.rank),
        "ss_network_alpha": str(recipe.rank),
        "ss_learning_rate": str(recipe.learning_rate),
        "ss_optimizer": recipe.optimizer.value,
        "ss_steps": str(recipe.steps),
        "ss_num_train_images": str(len(pictures.items)),
        "ss_resolution": resolution,
        "ss_caption_dropout_rate": str(recipe.caption_dropout),
        "ss_seed": str(recipe.seed),
        "ss_tag_frequency": json.dumps({plan.name: {plan.trigger: len(pictures.items)}}),
    }
