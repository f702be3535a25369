"""Relatives of LoRA, told by marks in their keys: other formulas, not other names.

ComfyUI can apply some of them; Vulcan's host, check and bake know the plain pair of matrices only
and refuse the rest by name. Sources: ComfyUI, comfy/weight_adapter/, comfy/lora.py (diff,
set_weight) and comfy/lora_convert.py (control LoRAs).
"""

from collections.abc import Iterable, Mapping

_MARKS: Mapping[str, str] = {
    ".dora_scale.": "DoRA: it also sets the length of each row",
    ".lora_magnitude_vector.": "DoRA: it also sets the length of each row",
    ".hada_w": "LoHa (LyCORIS): an elementwise product of two pairs",
    ".hada_t": "LoHa (LyCORIS): an elementwise product of two pairs",
    ".lokr_w": "LoKr (LyCORIS): a Kronecker product",
    ".lokr_t": "LoKr (LyCORIS): a Kronecker product",
    ".lora_mid.": "LoCon with a middle tensor (LyCORIS)",
    ".oft_": "OFT: a rotation of the weights",
    ".boft_": "BOFT: a rotation of the weights",
    ".rescale.": "OFT with a scale (LyCORIS)",
    ".on_input.": "IA3 (LyCORIS)",
    ".a1.weight.": "GLoRA (LyCORIS)",
    ".b1.weight.": "GLoRA (LyCORIS)",
    ".diff.": "a full difference of weights",
    ".diff_b.": "a difference of biases",
    ".set_weight.": "a replacement of weights",
    ".w_norm.": "a difference of norms (LyCORIS)",
    ".b_norm.": "a difference of norms (LyCORIS)",
    ".reshape_weight.": "a control LoRA, which widens the model's input",
    ".lora_B.bias.": "a LoRA with biases, such as Black Forest Labs' control LoRAs",
    "_norm.scale.": "a control LoRA, which replaces norms",
}


def kind(keys: Iterable[str]) -> str | None:
    """What the keys belong to, if it is a relative of LoRA; the first that is found."""
    for key in keys:
        for mark, name in _MARKS.items():
            if mark in f"{key}.":
                return name
    return None
