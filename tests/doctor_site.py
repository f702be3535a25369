"""Settings, folders and small model files for the doctor's tests: a tiny Flux and its LoRA."""

from pathlib import Path

from configs import settings as configs
from configs.settings import Settings
from models import gguf_layout
from models.flux import FluxShape, tensor_shapes
from models.tensor_types import FileType, TensorType
from tests import model_files, random_lora
from tests.model_files import TINY

UNET, LORA, VAE = "x.gguf", "l.safetensors", "v.safetensors"
ENCODERS = ("c.safetensors", "t.safetensors")


def settings(root: Path, **flags: object) -> Settings:
    """Return settings whose folders and files all lie below ``root``."""
    own = {
        "state": str(root / "state"),
        "folders": {name: str(root / name) for name in ("inbox", "outbox", "models")},
        "model": {
            "source": str(root / "models" / "unet" / UNET),
            "text_encoders": ENCODERS,
            "vae": VAE,
        },
        "lora": {"file": LORA},
        **flags,
    }
    return configs.load(None, own, environ={})


def make_models(root: Path, lora_for: FluxShape = TINY) -> Path:
    """Write a unet with a true header, its companions and a LoRA; return the models folder."""
    models = root / "models"
    (models / "unet").mkdir(parents=True)
    tensors = [(name, size, TensorType.F32) for name, size in tensor_shapes(TINY).items()]
    made = gguf_layout.layout("flux", FileType.F16, tensors)
    with (models / "unet" / UNET).open("wb") as file:
        file.write(made.header)
        file.truncate(made.total_bytes)
    small = {"a": next(iter(model_files.flux_arrays().values()))}
    for name in ENCODERS:
        model_files.write(models / "text_encoders" / name, small)
    model_files.write(models / "vae" / VAE, small)
    model_files.write(models / "loras" / LORA, random_lora.weights(lora_for))
    return models
