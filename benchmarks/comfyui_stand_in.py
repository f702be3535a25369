"""ComfyUI with a graphics card that is not there, for benchmarks/comfyui_memory.py.

torch.cuda's figures (total, free, capability) are stood in for, the card's device is torch's
"meta" device, and moving a module moves nothing. All decisions about memory stay ComfyUI's own.
Models are full-size files that are holes: real headers, no data, no disk.
"""

import functools
import importlib
import importlib.machinery
import platform
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from models import flux, gguf_layout, t5
from models.tensor_types import FileType
from quantize import recipe, t5_recipe

GIB = 1 << 30
# What ComfyUI imports and Flux never uses.
UNUSED = ("torchaudio", "torchvision", "torchvision.transforms", "spandrel", "kornia")


# --- files that are holes -------------------------------------------------------------------------


def write_unet(path: Path, kind: str) -> None:
    """A FLUX.1-dev of this file type: a true header, data that are holes."""
    file_type = FileType[kind]
    tensors = [
        (name, shape, recipe.tensor_type(name, shape, recipe.stored_type("BF16", shape), file_type))
        for name, shape in flux.tensor_shapes(flux.FLUX_DEV).items()
    ]
    _write(path, gguf_layout.layout("flux", file_type, tensors))


def write_t5(path: Path, kind: str) -> None:
    """A T5-XXL encoder of this file type, likewise."""
    file_type, layers = FileType[kind], t5.XXL.layers
    tensors = [
        (
            name,
            shape,
            t5_recipe.tensor_type(
                name, shape, t5_recipe.stored_type("F16", shape), file_type, layers
            ),
        )
        for name, shape in t5.tensor_shapes(t5.XXL).items()
    ]
    _write(path, gguf_layout.layout(t5.ARCHITECTURE, file_type, tensors, t5.values(t5.XXL)))


def _write(path: Path, layout: gguf_layout.Layout) -> None:
    with path.open("wb") as file:
        file.write(layout.header)
        file.truncate(layout.total_bytes)


# --- a card that is not there ---------------------------------------------------------------------


class Card:
    """What torch.cuda says of a card: `free` bytes of `total`, less what models have loaded."""

    def __init__(self, total: int, idle: int) -> None:
        self.total, self.idle = total, idle
        self.patchers: list[Any] = []

    def mem_get_info(self, _device: Any = None) -> tuple[int, int]:
        """Return free and total bytes, as torch.cuda.mem_get_info does."""
        on_card = (each for each in self.patchers if each.load_device.type != "cpu")
        return self.idle - sum(each.loaded_size() for each in on_card), self.total


CARD = Card(6 * GIB, 5 * GIB)


def pretend() -> None:
    """Have torch report CARD as an NVIDIA card of the RTX 40 series."""
    import torch
    import transformers  # noqa: F401 - before the stand-ins, which it would look at

    for name in UNUSED:
        module = MagicMock()
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        sys.modules[name] = module
    meta, cuda = torch.device("meta"), torch.cuda
    properties = types.SimpleNamespace(
        major=8, minor=9, name="RTX", total_memory=CARD.total, multi_processor_count=20
    )
    stand_ins: dict[str, Callable[..., Any]] = {
        "current_device": lambda: meta,
        "mem_get_info": CARD.mem_get_info,
        "memory_stats": lambda _=None: dict.fromkeys(
            ("reserved_bytes.all.current", "active_bytes.all.current"), 0
        ),
        "get_device_properties": lambda _=None: properties,
        "get_device_name": lambda _=None: "RTX",
        "get_allocator_backend": lambda: "native",
        "is_bf16_supported": lambda *_a, **_k: True,
    }
    for name in ("empty_cache", "ipc_collect", "synchronize"):
        stand_ins[name] = lambda *_a, **_k: None
    for name, call in stand_ins.items():
        setattr(cuda, name, call)
    torch.version.cuda = "12.8"  # type: ignore[assignment,unused-ignore] # None on CPU
    torch.nn.Module.to = _cast_only(torch.nn.Module.to)  # type: ignore[method-assign] # as wanted


def _cast_only(whole: Callable[..., Any]) -> Callable[..., Any]:
    """Module.to that changes types and moves nothing."""
    import torch

    def to(self: Any, *given: Any, **named: Any) -> Any:
        types = [one for one in (*given, *named.values()) if isinstance(one, torch.dtype)]
        return whole(self, types[0]) if types else self

    return to


def load_comfyui(checkout: Path) -> Any:
    """Import ComfyUI and its GGUF nodes, which are returned."""
    sys.argv = ["main.py"]
    sys.path[:0] = [str(checkout), str(checkout / "custom_nodes")]
    sys.dont_write_bytecode = True
    nodes = importlib.import_module("ComfyUI-GGUF.nodes")
    tokenizer = imported("comfy.text_encoders.flux").FluxTokenizer
    tokenizer.__init__ = lambda *_a, **_k: None  # it holds no memory on the card
    return nodes


def imported(name: str) -> Any:
    """A module of ComfyUI's, which is on the path once load_comfyui() has run."""
    return importlib.import_module(name)


def start_anew(system: str, flags: tuple[str, ...]) -> None:
    """Run the start of ComfyUI's memory management again, under these flags, on this system."""
    cli = imported("comfy.cli_args")
    windows = ("11", "", "", "") if system == "nt" else ("", "", "", "")
    platform.win32_ver = lambda *_: windows
    vars(cli.args).update(vars(cli.parser.parse_args(flags)))
    importlib.reload(imported("comfy.model_management"))
    _list_once()


def _list_once() -> None:
    """Keep each model's list of modules and sizes: nothing here changes them, and it is slow."""
    patcher = imported("comfy.model_patcher").ModelPatcher
    lists: dict[int, tuple[Any, Any]] = {}
    whole = getattr(patcher, "whole_load_list", patcher._load_list)
    patcher.whole_load_list = whole

    def load_list(self: Any) -> Any:
        if id(self.model) not in lists:
            lists[id(self.model)] = (self.model, whole(self))
        return list(lists[id(self.model)][1])

    patcher._load_list = load_list


def unet_of(gguf_nodes: Any, path: Path) -> Any:
    """Load a unet as its loader node does."""
    imported("folder_paths").get_full_path = lambda _kind, name: str(path.with_name(name))
    (model,) = gguf_nodes.UnetLoaderGGUF().load_unet(path.name)
    return model


def models_of(gguf_nodes: Any, unet: Path, encoder: str, folder: Path) -> dict[str, Any]:
    """Load the three models of a workflow as the loader nodes do."""
    sd = imported("comfy.sd")
    import torch

    model = unet_of(gguf_nodes, unet)
    clip_l = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in _clip_l().items()}
    kind = sd.CLIPType.FLUX
    if encoder.endswith(".gguf"):
        loader = gguf_nodes.DualCLIPLoaderGGUF()
        clip = loader.load_patcher(
            [], kind, [clip_l, gguf_nodes.gguf_clip_loader(str(folder / encoder))]
        )
    else:
        dtype = getattr(torch, encoder)
        names = t5.source_shapes(t5.XXL).items()
        big = {name: torch.empty(shape, dtype=dtype, device="meta") for name, shape in names}
        small = {name: one.to("meta") for name, one in clip_l.items()}
        # `meta:1` stands for the machine's memory: 10 GB are not to be had.
        options = {"initial_device": torch.device("meta:1")}
        clip = sd.load_text_encoder_state_dicts([small, big], clip_type=kind, model_options=options)
    return {"unet": model, "clip": clip, "vae": sd.VAE(sd=vae())}


@functools.cache
def _clip_l() -> dict[str, tuple[int, ...]]:
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        model = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                vocab_size=49408,
            )
        )
    found = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    return {
        name if name.startswith("text_model.") else f"text_model.{name}": shape
        for name, shape in found.items()
    }


@functools.cache
def vae() -> dict[str, Any]:
    """Weights of FLUX.1's autoencoder, by ComfyUI's own classes."""
    model = imported("comfy.ldm.modules.diffusionmodules.model")

    config = {
        "double_z": True, "z_channels": 16, "resolution": 256, "in_channels": 3, "out_ch": 3,
        "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [],
        "dropout": 0.0,
    }  # fmt: skip
    halves = {"encoder": model.Encoder(**config), "decoder": model.Decoder(**config)}
    return {
        f"{half}.{name}": one
        for half, module in halves.items()
        for name, one in module.state_dict().items()
    }
