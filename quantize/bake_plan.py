"""The plan of a bake: a conversion, the LoRAs that are added on the way, and what is said of both.

Everything that can be wrong with base, LoRAs or request is found here, before a byte is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models import fingerprint, flux, gguf_layout
from models.tensor_types import FileType, TensorType
from quantize import lora_delta, overrides, plan, source
from quantize.bake_record import KEY, BakeRecord, printable
from quantize.errors import Problem, QuantizeError
from quantize.layer_proof import LayerProof
from quantize.lora_delta import Choice, LoraMix
from quantize.overrides import Override
from quantize.plan import ConversionPlan


@dataclass(frozen=True, slots=True)
class BakePlan:
    """Everything about a bake that is known before it starts.

    Attributes:
        conversion: of the base alone; its header is not the target's.
        mix: the LoRAs.
        record: what the file will say of itself.
    """

    conversion: ConversionPlan
    mix: LoraMix
    record: BakeRecord

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out or taken along, in sentences."""
        encoders = (
            f"{len(one.file.text_encoder)} keys of {printable(one.choice.path)} change a text "
            "encoder, which is another file: they are not baked"
            for one in self.mix.ingredients
            if one.file.text_encoder
        )
        return (*self.conversion.notes, *encoders)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it reads."""
        return (*self.conversion.files, *(one.choice.path for one in self.mix.ingredients))

    def layout(
        self, types: Mapping[str, TensorType], proofs: Sequence[LayerProof] = ()
    ) -> gguf_layout.Layout:
        """The file with these types; the header's length does not depend on what is given."""
        conversion = self.conversion
        return gguf_layout.layout(
            conversion.architecture,
            conversion.file_type,
            ((t.name, t.shape, types[t.name]) for t in conversion.tensors),
            ((KEY, self.record.text(proofs)),),
        )


def make(
    path: Path,
    target: Path,
    file_type: FileType,
    choices: Sequence[Choice],
    own: Sequence[Override] = (),
) -> BakePlan:
    """Plan to bake LoRAs into a FLUX.1.

    Args:
        path: the base, as for quantize.plan.plan.
        target: file to be made.
        file_type: the recipe.
        choices: the LoRAs, in the order in which they are added.
        own: the user's exceptions from the recipe.

    Raises:
        QuantizeError: the base is of a kind that has no rule, or a type does not fit.
        PairingError: a LoRA does not belong to it.
        ModelError: a file is damaged or incomplete.
    """
    conversion = plan.plan(path, target, file_type, overrides=own)
    if conversion.architecture != source.FLUX:
        raise QuantizeError(
            Problem.BAD_SOURCE,
            f"LoRAs are baked into a FLUX.1, and this is {conversion.architecture!r}",
            path=path,
            fix="Name the unet (such as flux1-dev.safetensors)",
        )
    shape = flux.detect({tensor.name: tensor.shape for tensor in conversion.tensors})
    mix = lora_delta.read(path, shape, choices)
    pinned = {
        tensor.name
        for tensor in conversion.tensors
        if overrides.override_for(own, tensor.name, tensor.shape) is not None
    }
    record = BakeRecord(
        printable(path.resolve()),
        fingerprint.of(conversion.files),
        file_type,
        mix.ingredients,
        {tensor.name: tensor.type for tensor in conversion.tensors},
        frozenset(pinned),
    )
    return BakePlan(conversion, mix, record)
