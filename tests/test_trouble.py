from dataclasses import replace

import pytest

from core import trouble
from tests.sample_request import REQUEST


def test_the_same_trouble_has_one_fingerprint_whatever_its_numbers() -> None:
    one = "node 8 (KSampler): Tried to allocate 20.5 GiB at 0x7f3a, 3 tries"
    other = "node 8 (KSampler): Tried to allocate 1 GiB at 0xdead, 4 tries"
    assert trouble.fingerprint(one) == trouble.fingerprint(other)
    assert trouble.fingerprint(one) != trouble.fingerprint("node 8 (KSampler): boom")


@pytest.mark.parametrize(
    "why",
    [
        "node 8 (KSampler): torch.OutOfMemoryError: Allocation on device 0 would exceed memory",
        "node 8 (KSampler): torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`",
        "RuntimeError: [enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate",
    ],
)
def test_running_out_of_memory_is_recognised_in_all_its_words(why: str) -> None:
    assert trouble.is_out_of_memory(why)


def test_other_trouble_is_not_taken_for_memory() -> None:
    assert not trouble.is_out_of_memory("node 3 (CLIPLoader): ValueError: boom")


def test_the_advice_names_what_takes_most() -> None:
    large = replace(REQUEST, width=2048, height=1024)
    assert "batch" in trouble.memory_advice(replace(large, batch=4))
    assert "2048 x 1024" in trouble.memory_advice(large)
    heavy = replace(REQUEST, text_encoders=("clip_l.safetensors", "t5xxl_fp16.safetensors"))
    assert "T5" in trouble.memory_advice(heavy)
    assert "--reserve-vram" in trouble.memory_advice(REQUEST)
