"""Does in overlapping tiles what would not fit into memory at once (ComfyUI's tiled_scale).

Each tile fades in over the overlap, and where tiles meet the mean is taken by those weights. A VAE
sees less of the picture in a tile, so the result is close to the whole, not equal to it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch

from host.errors import RenderError

Work = Callable[[torch.Tensor], torch.Tensor]
"""Turns one tile (1, channels, height, width) into its result, ``scale`` times the size."""

Tick = Callable[[int, int], None]
"""Told after each tile how many of how many are done; may raise to stop the work."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Size of the tiles and how far they overlap, in positions of what is cut up."""

    height: int
    width: int
    overlap: int

    def starts(self, size: int, tile: int) -> range:
        """Return where tiles begin along one side.

        Raises:
            RenderError: the tiles would not get on.
        """
        if size <= tile:
            return range(1)
        if tile <= self.overlap:
            raise RenderError(
                f"an overlap of {self.overlap} is too much for tiles of {tile}",
                fix="Choose a tile_size of more than twice the overlap",
            )
        return range(0, size - self.overlap, tile - self.overlap)

    def count(self, height: int, width: int) -> int:
        """Return how many tiles a picture has."""
        return len(self.starts(height, self.height)) * len(self.starts(width, self.width))

    def areas(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        """Yield rows and columns of each tile."""
        tops, lefts = self.starts(height, self.height), self.starts(width, self.width)
        for top, left in product(tops, lefts):
            yield slice(top, min(top + self.height, height)), slice(left, left + self.width)


def in_three_ways(
    samples: torch.Tensor, work: Work, scale: float, size: int, overlap: int, tick: Tick
) -> torch.Tensor:
    """Return the mean over square, wide and high tiles, so that no seam is at one place in all.

    Args:
        samples: what to cut up, shape (batch, channels, height, width).
        work: called with each tile.
        scale: how much larger (smaller below 1) the result is than the samples.
        size: side of the square tiles, in positions of ``samples``.
        overlap: of neighbouring tiles, likewise.
        tick: told of every tile.
    """
    shapes = ((size, size), (size // 2, size * 2), (size * 2, size // 2))
    ways = [Tiling(*shape, overlap) for shape in shapes]
    height, width = samples.shape[-2:]
    total = len(samples) * sum(way.count(height, width) for way in ways)
    done = 0

    def counted(tile: torch.Tensor) -> torch.Tensor:
        nonlocal done
        result = work(tile)
        done += 1
        tick(done, total)
        return result

    square, wide, high = (tiled(samples, counted, scale, way) for way in ways)
    return (square + wide + high) / 3.0


def tiled(samples: torch.Tensor, work: Work, scale: float, tiling: Tiling) -> torch.Tensor:
    """Return the results of all tiles, put together, on the CPU."""
    return torch.cat([_one(one[None], work, scale, tiling) for one in samples])


def _one(sample: torch.Tensor, work: Work, scale: float, tiling: Tiling) -> torch.Tensor:
    height, width = sample.shape[-2:]
    if height <= tiling.height and width <= tiling.width:
        return work(sample).cpu()
    mosaic = _Mosaic(round(height * scale), round(width * scale), round(tiling.overlap * scale))
    for rows, columns in tiling.areas(height, width):
        result = work(sample[:, :, rows, columns]).cpu()
        mosaic.add(result, round(rows.start * scale), round(columns.start * scale))
    return mosaic.mean()


class _Mosaic:
    """Results of tiles on their way to one picture: their sum, and that of their weights."""

    def __init__(self, height: int, width: int, feather: int) -> None:
        self._feather = feather
        self._weights = torch.zeros(height, width)
        self._total = torch.zeros(1, 0, height, width)  # how many channels, the results tell

    def add(self, result: torch.Tensor, top: int, left: int) -> None:
        height, width = self._weights.shape
        if not self._total.shape[1]:
            self._total = torch.zeros(1, result.shape[1], height, width)
        # Where the scale does not divide a size, the last result can stand out by a position.
        result = result[:, :, : height - top, : width - left]
        down, across = (_fading(side, self._feather) for side in result.shape[2:])
        weight = down[:, None] * across
        place = slice(top, top + len(down)), slice(left, left + len(across))
        self._total[:, :, *place] += result * weight
        self._weights[place] += weight

    def mean(self) -> torch.Tensor:
        return self._total / self._weights


def _fading(length: int, feather: int) -> torch.Tensor:
    """Return weights that rise at the start of a tile's side and fall at its end."""
    weights = torch.ones(length)
    if feather < length:
        ramp = torch.arange(1, feather + 1) / max(feather, 1)
        weights[:feather] *= ramp
        weights[length - feather :] *= ramp.flip(0)
    return weights
