"""Turns a training's events into few lines for a log: Kaggle shows it late, and keeps all of it."""

from collections.abc import Iterator

from training.progress import Event, Happened

EVERY = 30.0
"""Seconds between two lines of updates."""


class EventLines:
    """Says what happened, updates at most every so many seconds."""

    def __init__(self, every: float = EVERY) -> None:
        self._every = every
        self._last = float("-inf")

    def of(self, event: Event) -> Iterator[str]:
        """Yield the lines of an event: one, or none."""
        match event.event:
            case Happened.STAGE:
                self._last = float("-inf")
                yield f"-- {event.stage}"
            case Happened.STEP:
                if event.at - self._last >= self._every or event.step == event.steps:
                    self._last = event.at
                    yield _step(event)
            case Happened.NOTE | Happened.SKIP:
                yield f"{event.stage}: {event.text}"
            case Happened.CHECKPOINT:
                yield f"{event.stage}: checkpoint at {event.step:,}"
            case Happened.SAMPLE:
                yield f"{event.stage}: drew {event.file}"
            case Happened.END:
                return


def _step(event: Event) -> str:
    parts = [f"{event.stage}: {event.step:,} of {event.steps:,}"]
    parts += [f"loss {event.loss:.4f}"] if event.loss else []
    if event.seconds:
        left = event.seconds * (event.steps - event.step) / 60
        parts += [f"{event.seconds:.2f} s each", f"{left:,.0f} min left"]
    parts += [f"{event.vram / 1e9:.1f} GB"] if event.vram else []
    return ", ".join(parts)
