"""Which pictures are trained when: an order that depends on the seed alone.

Every picture comes once an epoch, in batches of one size each. Which batch is the n-th of a
training can be told without the others, so a training that goes on, or runs on two cards, sees what
it would have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from training.encoding import Shown
from training.randomness import stream


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a training.

    Attributes:
        pictures: all of them; buckets may be mixed.
        size: pictures in a batch; a bucket with fewer repeats some.
        seed: of the order.
    """

    pictures: Sequence[Shown]
    size: int
    seed: int

    @property
    def in_epoch(self) -> int:
        """Batches in which every picture comes once."""
        return sum(-(-len(group) // self.size) for group in self._groups())

    def batch(self, number: int) -> list[Shown]:
        """Return the n-th batch of the training, from 0 on; all of one bucket."""
        epoch, place = divmod(number, self.in_epoch)
        drawn = stream(self.seed, "epoch", epoch)
        cut: list[list[Shown]] = []
        for group in self._groups():
            order = [group[index] for index in drawn.permutation(len(group))]
            while len(order) % self.size:  # the last batch is filled with the first pictures
                order += order[: self.size - len(order) % self.size]
            cut += [order[at : at + self.size] for at in range(0, len(order), self.size)]
        return cut[int(drawn.permutation(len(cut))[place])]

    def _groups(self) -> list[list[Shown]]:
        buckets = sorted({one.bucket for one in self.pictures})
        return [[one for one in self.pictures if one.bucket == bucket] for bucket in buckets]
