"""One hash over what decides a training's weights: its checkpoints are good for that alone."""

import hashlib
import json

from training.run_plan import Plan

_BESIDE = ("checkpoint_minutes", "sample_every", "samples", "sample_steps")
"""Numbers of a recipe that the weights do not depend on (prior pictures bring their own hash)."""


def digest(plan: Plan, dataset_hash: str) -> str:
    """Return the hash of a plan on some pictures."""
    told = plan.model_dump(mode="json")
    kept = (*_BESIDE[:3],) if plan.recipe.prior else _BESIDE
    told["recipe"] = {name: one for name, one in told["recipe"].items() if name not in kept}
    text = json.dumps([told, dataset_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
