"""One type's kernel at work: raw source bytes in, packed blocks out.

    whole tiles      the vector function, compiled when a source format is first met
    the rest         the same, in a copy filled up with zeros
    blocks in doubt  the array machine, which is exact for every input and finds bad weights

Where there is no LLVM, or no vectors, all blocks take the third way: the bits are the same.
"""

import logging
import threading
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quantize.kernels.arrays import ArrayMachine, Bytes, decoded
from quantize.kernels.bad_weight import BadWeightError, TooLargeError
from quantize.kernels.block_kernel import BlockKernel
from quantize.kernels.halves import SOURCES

if TYPE_CHECKING:
    from quantize.kernels.jit import Compiled, Target

Places: TypeAlias = NDArray[np.intp]

_BATCH = 1 << 19  # weights that the array machine does at once: few calls, 30 MB of arrays

log = logging.getLogger(__name__)


class Packer:
    """Packs one type. Safe to call from several threads.

    Args:
        block: the type.
        target: the processor to compile for; None: the array machine does everything.
    """

    def __init__(self, block: BlockKernel, target: "Target | None") -> None:
        self._block = block
        self._target = target
        self._functions: dict[str, Compiled | None] = {}
        self._lock = threading.Lock()

    def pack(self, raw: Bytes, source: str, rows: int, width: int, out: Bytes) -> None:
        """Pack `rows` of `width` weights into exactly `out`.

        Args:
            raw: the weights' bytes, contiguous, little endian.
            source: what they are: a name of halves.SOURCES.
            rows: how many rows there are.
            width: their weights, whole blocks.
            out: contiguous bytes for the blocks.

        Raises:
            BadWeightError: a weight is not finite.
            TooLargeError: a block's F16 is infinite; `out` is as ggml's would be.
        """
        layout, kind = self._block.layout, SOURCES[source]
        if width % layout.size:
            raise ValueError(f"rows of {width} weights are no whole blocks of {layout.size}")
        sources = _blocks(raw, rows * width // layout.size, layout.size * kind.nbytes)
        blocks = _blocks(out, len(sources), layout.nbytes)
        function = self._function(source)
        doubts = np.ones(len(blocks), np.bool_)
        if function is not None and len(blocks):
            _run(function, sources, blocks, doubts)
        self._redo(sources, source, blocks, np.flatnonzero(doubts))

    def _function(self, source: str) -> "Compiled | None":
        with self._lock:
            if source not in self._functions:
                self._functions[source] = self._compiled(source)
            return self._functions[source]

    def _compiled(self, source: str) -> "Compiled | None":
        if self._target is None:
            return None
        # Only here, where there is a target: without llvmlite there is none.
        from quantize.kernels import jit

        try:
            return jit.compiled(self._block, SOURCES[source], self._target)
        except (RuntimeError, OSError) as error:
            log.warning("%s is packed without vectors: LLVM failed: %s", self._block.name, error)
            return None

    def _redo(self, sources: Bytes, source: str, blocks: Bytes, which: Places) -> None:
        step = _BATCH // self._block.layout.size
        too_large: TooLargeError | None = None
        for start in range(0, len(which), step):
            batch = which[start : start + step]
            weights = self._decoded(sources[batch].reshape(-1), source, batch)
            done = np.empty((len(batch), blocks.shape[1]), np.uint8)
            with np.errstate(all="ignore"):
                self._block.kernel(ArrayMachine(self._block.layout, weights, done))
            blocks[batch] = done
            too_large = too_large or self._too_large(done, weights, batch)
        if too_large:
            raise too_large

    def _decoded(self, raw: Bytes, source: str, batch: Places) -> NDArray[np.float32]:
        weights = decoded(raw, source)
        bad = ~np.isfinite(weights)
        if bad.any():
            at, size = int(bad.argmax()), self._block.layout.size
            index = int(batch[at // size]) * size + at % size
            raise BadWeightError(index, _name(raw, source, at, weights[at]))
        return weights

    def _too_large(
        self, done: Bytes, weights: NDArray[np.float32], batch: Places
    ) -> TooLargeError | None:
        layout = self._block.layout
        upper = done[:, [unit + 1 for unit in layout.units]]
        infinite = ((upper & 0x7C) == 0x7C).any(axis=1)
        if not infinite.any():
            return None
        block = int(infinite.argmax())
        there = weights.reshape(-1, layout.size)[block]
        worst = int(np.abs(there).argmax())
        what = f"{there[worst]:g}, too large for {self._block.name},"
        return TooLargeError(int(batch[block]) * layout.size + worst, what)


def _blocks(data: Bytes, count: int, nbytes: int) -> Bytes:
    """Bytes as `count` rows of `nbytes`, in place."""
    if data.dtype != np.uint8 or not data.flags.c_contiguous or data.nbytes != count * nbytes:
        raise ValueError(f"{count * nbytes} contiguous bytes are needed, not {data.nbytes}")
    return data.reshape(count, nbytes)


def _run(function: "Compiled", sources: Bytes, blocks: Bytes, doubts: NDArray[np.bool_]) -> None:
    whole = len(blocks) - len(blocks) % function.blocks
    if whole:
        _call(function, sources, blocks, doubts, whole)
    if whole < len(blocks):
        rest = len(blocks) - whole
        padded = np.zeros((function.blocks, sources.shape[1]), np.uint8)
        padded[:rest] = sources[whole:]
        done = np.empty((function.blocks, blocks.shape[1]), np.uint8)
        unsure = np.empty(function.blocks, np.bool_)
        _call(function, padded, done, unsure, function.blocks)
        blocks[whole:], doubts[whole:] = done[:rest], unsure[:rest]


def _call(
    function: "Compiled", sources: Bytes, blocks: Bytes, doubts: NDArray[np.bool_], count: int
) -> None:
    function.call(
        sources.ctypes.data, blocks.ctypes.data, doubts.ctypes.data, count // function.blocks
    )


def _name(raw: Bytes, source: str, at: int, value: np.float32) -> str:
    if np.isnan(value):
        return "NaN"
    if source == "F32 as F16" and np.isfinite(raw.view("<f4")[at]):
        return "a weight beyond F16's range"
    return "infinity"
