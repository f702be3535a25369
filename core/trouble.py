"""What a host's complaint about a job means: the same trouble again, or out of memory. Pure."""

import re

from bridge.request import Request

TIMES_STRUCK = 3  # failures of any kind after which a job is given up
_OUT_OF_MEMORY = re.compile(
    r"outofmemory|out of memory|allocation on device|cuda_error_out_of_memory|"
    r"cublas_status_alloc_failed|not enough memory|defaultcpuallocator",
    re.IGNORECASE,
)
_VARIES = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?", re.IGNORECASE)
MEGAPIXEL = 1024 * 1024


def fingerprint(why: str) -> str:
    """Reduce a complaint to what stays the same when the same thing goes wrong again."""
    return _VARIES.sub("#", why)[:200]


def is_out_of_memory(why: str) -> bool:
    """Recognise the ways torch, CUDA and ComfyUI say that memory ran out."""
    return bool(_OUT_OF_MEMORY.search(why))


def memory_advice(request: Request) -> str:
    """Name the nearest thing to change so that a job needs less memory."""
    if request.batch > 1:
        return f"set batch to 1 (it is {request.batch}) and count to {request.batch}"
    if request.width * request.height > MEGAPIXEL:
        return f"make it smaller (1024 x 1024; it is {request.width} x {request.height})"
    if any("fp16" in name.lower() for name in request.text_encoders):
        return "use a T5 encoder in fp8 or GGUF instead of FP16 (model.text_encoders)"
    if request.width * request.height > MEGAPIXEL // 2:
        return "close what else uses the GPU, start ComfyUI with --reserve-vram 1, or try 768 x 768"
    return "close what else uses the GPU, or start ComfyUI with --reserve-vram 1.5"
