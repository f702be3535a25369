"""What a graph may ask for in one piece: not more than the machine has.

Sizes and batches that are each allowed may multiply to terabytes. Linux would grant them, and end
the whole host when they are touched; so what is about to be made is reckoned first.
"""

from host.errors import RenderError
from host.system_stats import memory


def check_room(nbytes: int, what: str) -> None:
    """Make sure that something finds room in the machine's memory.

    Args:
        nbytes: what it takes.
        what: its name, for the complaint.

    Raises:
        RenderError: it takes more than there is now.
    """
    ram = memory()
    if ram.total and nbytes > ram.free:  # no total: this machine does not tell
        taken, free = (f"{size / 1e9:,.1f} GB" for size in (nbytes, ram.free))
        raise RenderError(
            f"{what} would take {taken} of memory, and {free} are free",
            fix="Choose a smaller size or batch",
        )
