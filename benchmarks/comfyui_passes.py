"""Bytes that live at once in ComfyUI's own forward passes, for benchmarks/comfyui_memory.py.

The passes run on meta tensors, which have shapes and no data; each storage that is made is counted
until it is gone. Attention counts its result alone, as fused kernels keep no matrix of weights.
"""

import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.comfyui_stand_in import imported, start_anew, unet_of, vae

UNPACKED = ("Q2_K", "Q3_K_S", "Q4_0", "Q4_K_S", "Q5_K_S", "Q6_K", "Q8_0", "BF16")
SIZES = (
    *((256, 256, 1), (512, 512, 1), (512, 512, 4), (1024, 1024, 1), (1024, 1024, 4)),
    *((1536, 1024, 1), (2048, 2048, 1)),
)


@contextmanager
def counted() -> Iterator[Any]:
    """Count the bytes of meta tensors made inside, and the most that lived at once."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's own
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call] # likewise
            self.now = self.most = 0
            self.known: set[int] = set()

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            given = {
                one.untyped_storage()._cdata
                for one in tree_leaves((args, kwargs))
                if isinstance(one, torch.Tensor)
            }
            out = func(*args, **(kwargs or {}))
            for one in tree_leaves(out):
                if isinstance(one, torch.Tensor):
                    self.add(one.untyped_storage(), given)
            return out

        def add(self, storage: Any, given: set[int]) -> None:
            key = storage._cdata
            if key in given or key in self.known:
                return
            self.known.add(key)
            size = storage.nbytes()
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.gone, key, size)

        def gone(self, key: int, size: int) -> None:
            self.known.discard(key)
            self.now -= size

    with counter_of(Counter()) as counter:
        yield counter


@contextmanager
def counter_of(counter: Any) -> Iterator[Any]:
    """Switch a counter on, with attention that allocates its result alone, as on a card."""
    ops = imported("comfy.ops")
    import torch

    def attention(q: Any, _k: Any, v: Any, *_a: Any, **_kw: Any) -> Any:
        return torch.empty((*q.shape[:-1], v.shape[-1]), dtype=q.dtype, device=q.device)

    before = ops.scaled_dot_product_attention
    ops.scaled_dot_product_attention = attention
    try:
        with torch.inference_mode(), counter:
            yield counter
    finally:
        ops.scaled_dot_product_attention = before


def forward(unet: Any, width: int, height: int, batch: int) -> int:
    """The most bytes that live at once during one forward pass, without resident weights."""
    import torch

    def given(*shape: int) -> Any:
        return torch.empty(shape, dtype=torch.bfloat16, device="meta")

    inputs = (given(batch, 16, height // 8, width // 8), given(batch), given(batch, 256, 4096))
    with counted() as counter:
        unet.model.diffusion_model(*inputs, y=given(batch, 768), guidance=given(batch))
    return int(counter.most)


def to_meta(model: Any) -> None:
    """Move all weights to the card; Module.to is a stand-in here."""
    import torch

    for module in model.modules():
        for name, one in list(module.named_parameters(recurse=False)):
            moved = torch.nn.Parameter(one.data.to("meta"), requires_grad=False)
            if hasattr(one, "tensor_type"):
                packed = one.to("meta")
                moved = torch.nn.Parameter(packed, requires_grad=False)
            setattr(module, name, moved)


def add_lora(unet: Any, rank: int) -> None:
    """A LoRA on every Linear of the blocks, kept on the card (what is moved is small)."""
    adapters = imported("comfy.weight_adapter")
    import torch

    for name, module in unet.model.named_modules():
        if "blocks." in name and hasattr(module, "in_features"):
            rows, width = module.weight.shape
            up = torch.empty((rows, rank), dtype=torch.float16, device="meta")
            down = torch.empty((rank, width), dtype=torch.float16, device="meta")
            adapter = adapters.LoRAAdapter(set(), (up, down, float(rank), None, None, None))
            module.weight.patches = [([(1.0, adapter, 1.0, None, None)], f"{name}.weight")]


def record_passes(nodes: Any, folder: Path) -> list[Any]:
    """What one pass takes, by size, batch, file type and LoRA; and what decoding takes."""
    import torch

    start_anew("nt", ())
    _plain_when_unpacked(sys.modules["ComfyUI-GGUF.ops"].GGMLTensor)
    found: list[Any] = []
    for kind in UNPACKED:
        unet = unet_of(nodes, folder / f"{kind}.gguf")
        shorten(unet)
        to_meta(unet.model)
        for size in SIZES:
            found.append(
                {
                    "what": "sample",
                    "unet": kind,
                    "size": size,
                    "lora": 0,
                    "bytes": forward(unet, *size),
                }
            )
        add_lora(unet, 32)
        for size in ((512, 512, 1), (1024, 1024, 1)):
            found.append(
                {
                    "what": "sample",
                    "unet": kind,
                    "size": size,
                    "lora": 32,
                    "bytes": forward(unet, *size),
                }
            )

    decoder = imported("comfy.sd").VAE(sd=vae()).first_stage_model
    to_meta(decoder)
    for width, height, batch in ((512, 512, 1), (1024, 1024, 1), (2048, 2048, 1), (1024, 1024, 4)):
        latent = torch.empty(
            (batch, 16, height // 8, width // 8), dtype=torch.bfloat16, device="meta"
        )
        with counted() as counter:
            decoder.decode(latent)
        found.append({"what": "decode", "size": (width, height, batch), "bytes": int(counter.most)})
    return found


def _plain_when_unpacked(kind: Any) -> None:
    """Let `torch.Tensor(packed)` of ComfyUI-GGUF pass while operations are counted.

    Under a dispatch mode torch makes another packed tensor of it, without its arguments.
    """
    whole = kind.__init__

    def init(self: Any, *given: Any, **named: Any) -> None:
        if named:
            whole(self, *given, **named)
        else:
            self.tensor_type = None

    kind.__init__ = init


def shorten(unet: Any) -> None:
    """Two blocks of each kind: passes through the others take the same memory again."""
    inner = unet.model.diffusion_model
    inner.double_blocks = inner.double_blocks[:2]
    inner.single_blocks = inner.single_blocks[:2]
