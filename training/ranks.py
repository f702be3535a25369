"""One training on several cards: each takes other batches, and all take the mean gradient.

Only the LoRA's gradients travel (131 MB at rank 16), as one tensor with two more numbers behind
them: the loss, and whether this card was told to stop. So all cards stop at the same update.
Meeting through a file needs no port.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import distributed, nn


@dataclass(slots=True)
class Ranks:
    """This process among those of a training.

    Attributes:
        rank: its number, from 0 on.
        world: how many there are.
        stop_wanted: whether this one was told to stop.
        stopping: whether any was, as of the last update.
    """

    rank: int = 0
    world: int = 1
    stop_wanted: bool = field(default=False)
    stopping: bool = field(default=False)

    def average(self, values: Sequence[nn.Parameter], loss: float) -> float:
        """Have all gradients be the mean over all ranks; return the mean loss."""
        if self.world == 1:
            self.stopping = self.stop_wanted
            return loss
        grads = [one.grad if one.grad is not None else torch.zeros_like(one) for one in values]
        more = torch.tensor([loss, float(self.stop_wanted)], device=grads[0].device)
        together = torch.cat([*(one.flatten() for one in grads), more])
        distributed.all_reduce(together)
        self.stopping = bool(together[-1] > 0)
        together /= self.world
        begin = 0
        for one in values:
            one.grad = together[begin : begin + one.numel()].view_as(one).clone()
            begin += one.numel()
        return float(together[-2])

    def together(self) -> None:
        """Wait until all are here."""
        if self.world > 1:
            distributed.barrier()

    def leave(self) -> None:
        """End the meeting."""
        if self.world > 1:
            distributed.destroy_process_group()


def meet(rank: int, world: int, place: Path, device: torch.device) -> Ranks:
    """Meet the other processes of a training.

    Args:
        rank: this one's number.
        world: how many there are.
        place: a file that does not exist yet, the same for all.
        device: where gradients lie.
    """
    if world > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(
            backend, init_method=f"file://{place}", rank=rank, world_size=world
        )
    return Ranks(rank, world)
