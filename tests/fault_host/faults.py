"""What can go wrong with the fault host: one switch an oddity, each of them set while it runs.

Counted ones (``int``) strike that many times and then stop; flags hold until switched off. Where
a fault was seen on the real ComfyUI, its section in the reference is named.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeError:
    """What a node raises, in ComfyUI's words."""

    exception_type: str
    message: str


BOOM = NodeError("ValueError", "boom\n")
OUT_OF_MEMORY = NodeError(
    "torch.OutOfMemoryError",
    "Allocation on device 0 would exceed allowed memory. (out of memory)\n"
    "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before "
    "you might have accidentally set the batch_size to a large number.",
)


@dataclass
class Faults:
    """What goes wrong, until the test says otherwise.

    ``matching`` narrows ``fail_nodes``, ``out_of_memory`` and ``hang`` to the jobs whose graph
    holds this text; empty means every job.
    """

    # The socket
    deaf: bool = False  # sockets are accepted and told nothing
    drop_sockets: bool = False  # sockets are closed as soon as they are open
    stalled: bool = False  # as if some other client had stopped reading (0.4)
    duplicates: bool = False  # every frame comes twice
    strangers: bool = False  # events of jobs that are nobody's come in between
    reset_in_frame: int = 0  # so many frames are cut in the middle by a reset
    # POST /prompt
    accept_then_500: int = 0  # so many posts are queued and answered 500 (0.6)
    lose_posts: int = 0  # so many posts are answered 500 and forgotten
    accept_in_silence: int = 0  # so many posts are queued and never answered
    cut_posts: int = 0  # so many posts are queued and reset instead of answered
    refuse: bool = False  # validation fails
    half_valid: bool = False  # 200 with node_errors: one of several outputs was dropped (0.8)
    # Rendering
    fail_nodes: bool = False  # jobs end in execution_error
    out_of_memory: bool = False  # the same, of the kind that a 6 GB card gives
    hang: bool = False  # jobs start and make no step
    numb: bool = False  # a job that hangs does not see an interrupt either
    matching: str = ""
    load_time: float = 0.0  # seconds before the first step after a start
    history_late: float = 0.0  # seconds from execution_success to the history entry (0.1)
    # Pictures
    no_files: bool = False  # history names pictures that /view does not have (0.5)
    cut_views: int = 0  # so many pictures break off in the middle of the body
    truncated: int = 0  # so many pictures come "whole", but cut short on the disk
    # HTTP as a whole
    trickle: float = 0.0  # seconds between the pieces of every answer
    silent: bool = False  # requests are accepted and never answered (0.10)


def take(faults: Faults, name: str) -> bool:
    """Use up one of a counted fault; tell whether there was one left."""
    left = int(getattr(faults, name))
    if left > 0:
        setattr(faults, name, left - 1)
    return left > 0
