"""Randomness without state: what is drawn depends on the seed and on what it is drawn for.

A training that was stopped at step 1,234 draws at step 1,234 what it would have drawn then, so a
checkpoint holds no generator.
"""

from zlib import crc32

import numpy as np
import torch


def stream(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """Numpy's generator for one purpose at one step."""
    return np.random.default_rng([seed, crc32(purpose.encode()), step])


def generator(seed: int, purpose: str, step: int = 0) -> torch.Generator:
    """Torch's generator for one purpose at one step, on the CPU on every machine."""
    drawn = stream(seed, purpose, step).integers(2**62)
    return torch.Generator().manual_seed(int(drawn))
