"""Record what real ComfyUI does with the memory of a card, for tests/test_vram_comfyui.py.

    python -m benchmarks.comfyui_memory COMFYUI OUT.json

COMFYUI is a checkout with ComfyUI-GGUF in its custom_nodes; its packages must be importable. No
graphics card is needed (benchmarks/comfyui_stand_in.py). Kept are ComfyUI's log lines, the bytes
that it counts as loaded after each step of two jobs, and what its passes take beside the weights
(benchmarks/comfyui_passes.py).
"""

import argparse
import json
import logging
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.comfyui_passes import UNPACKED, record_passes
from benchmarks.comfyui_stand_in import (
    CARD,
    GIB,
    imported,
    load_comfyui,
    models_of,
    pretend,
    start_anew,
    write_t5,
    write_unet,
)

KINDS = ("Q4_K_S", "Q8_0", "F16")
CARDS = (6, 8, 12)
SIZES = ((512, 512, 1), (512, 512, 4), (1024, 1024, 1), (1024, 1024, 4))
# System, flags of main.py, cards in GiB: one process each, as ComfyUI reads them when imported.
Setup = tuple[str, tuple[str, ...], tuple[int, ...]]
SETUPS: tuple[Setup, ...] = (
    ("nt", (), CARDS),
    ("posix", (), CARDS),
    ("nt", ("--lowvram",), (6,)),
    ("nt", ("--novram",), (6,)),
    ("nt", ("--reserve-vram", "1.5"), (6, 8)),
    ("nt", ("--disable-smart-memory",), (12,)),
    ("nt", (), (16, 24)),
    ("posix", (), (24,)),
)


# --- a job ----------------------------------------------------------------------------------------


class Lines(logging.Handler):
    """Keeps ComfyUI's log lines about memory."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line if it is one of these."""
        line = record.getMessage()
        if line.startswith(("Requested to load", "loaded partially", "loaded completely")) or (
            "models unloaded" in line
        ):
            self.kept.append(line)

    def take(self) -> list[str]:
        """Return the lines since the last call."""
        taken, self.kept = self.kept, []
        return taken


def run_job(models: dict[str, Any], width: int, height: int, batch: int, lines: Lines) -> list[Any]:
    """Twice what a txt2img job asks of the memory: encode, sample, decode."""
    management = imported("comfy.model_management")
    helpers = imported("comfy.sampler_helpers")

    latent = (batch, 16, height // 8, width // 8)
    vae, clip, unet = models["vae"], models["clip"], models["unet"]
    CARD.patchers = [clip.patcher, unet, vae.patcher]
    stages: list[Any] = []

    def note(stage: str) -> None:
        found = {"clip": clip.patcher, "unet": unet, "vae": vae.patcher}
        loaded = {name: int(one.loaded_size()) for name, one in found.items()}
        stages.append({"stage": stage, "lines": lines.take(), "loaded": loaded})

    for _ in range(2):
        clip.load_model()
        note("encode")
        helpers.prepare_sampling(unet, latent, {"positive": [], "negative": []}, {})
        note("sample")
        used = vae.memory_used_decode(latent, vae.vae_dtype)
        management.load_models_gpu(
            [vae.patcher], memory_required=used, force_full_load=vae.disable_offload
        )
        note("decode")
    management.unload_all_models()
    management.current_loaded_models.clear()  # what computes on the processor is still listed
    lines.take()
    return stages


def record_setup(nodes: Any, setup: Setup, folder: Path) -> list[Any]:
    """All cases of one setup."""
    system, flags, cards = setup
    CARD.patchers = []
    CARD.total = CARD.idle = cards[0] * GIB
    start_anew(system, flags)
    lines = Lines()
    logging.getLogger().addHandler(lines)
    logging.getLogger().setLevel(logging.INFO)
    plain = system == "nt" and not flags
    encoders = ("t5-Q8_0.gguf", "float8_e4m3fn", "float16") if plain else ("t5-Q8_0.gguf",)
    found = []
    for kind in KINDS if not flags and cards == CARDS else KINDS[:1]:
        for encoder in encoders if kind == "Q4_K_S" else encoders[:1]:
            models = models_of(nodes, folder / f"{kind}.gguf", encoder, folder)
            lines.take()
            sizes = {
                "unet": models["unet"].model_size(),
                "clip": models["clip"].patcher.model_size(),
                "vae": models["vae"].patcher.model_size(),
            }
            for card in cards:
                for width, height, batch in SIZES:
                    CARD.total = card * GIB
                    CARD.idle = CARD.total - (1000 << 20 if system == "nt" else 450 << 20)
                    found.append(
                        {
                            "system": system,
                            "flags": flags,
                            "total": CARD.total,
                            "idle": CARD.idle,
                            "unet": kind,
                            "encoder": encoder,
                            "width": width,
                            "height": height,
                            "batch": batch,
                            "sizes": sizes,
                            "stages": run_job(models, width, height, batch, lines),
                        }
                    )
    logging.getLogger().removeHandler(lines)
    return found


# --- all of it ------------------------------------------------------------------------------------


def _version(checkout: Path) -> dict[str, str]:
    def head(folder: Path) -> str:
        asked = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()

    scope: dict[str, str] = {}
    exec((checkout / "comfyui_version.py").read_text(), scope)
    return {
        "comfyui": scope["__version__"],
        "comfyui_commit": head(checkout),
        "comfyui_gguf_commit": head(checkout / "custom_nodes/ComfyUI-GGUF"),
    }


def written(versions: dict[str, str], cases: list[Any], passes: list[Any]) -> str:
    """The record as JSON, one case a line."""

    def lines(found: list[Any]) -> str:
        return ",\n".join(json.dumps(one) for one in found)

    return (
        f'{{"versions": {json.dumps(versions)},\n"cases": [\n{lines(cases)}\n],\n'
        f'"passes": [\n{lines(passes)}\n]}}\n'
    )


def main() -> None:
    """Record everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    pretend()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in dict.fromkeys((*KINDS, *UNPACKED)):
            write_unet(folder / f"{kind}.gguf", kind)
        write_t5(folder / "t5-Q8_0.gguf", "Q8_0")
        nodes = load_comfyui(arguments.checkout.resolve())
        cases = [case for setup in SETUPS for case in record_setup(nodes, setup, folder)]
        passes = record_passes(nodes, folder)
    arguments.out.write_text(written(_version(arguments.checkout), cases, passes))
    print(f"{arguments.out}: {len(cases)} cases, {len(passes)} passes")


if __name__ == "__main__":
    main()
