"""What ``director.py pair`` says, as text or as one JSON object."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from core.pair_making import Made
from core.pair_state import Condition, FileState
from models.pairing import Pair

_SHOWN = 12  # digits of a hash that a reader compares
_MARKS = {
    Condition.THERE: "green",
    Condition.CHANGED: "bold red",
    Condition.MISSING: "yellow",
    Condition.HOSTS_OWN: "dim",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair on the shelf, looked at.

    Attributes:
        name: its name.
        pair: what its manifest says; ``None`` where that cannot be read.
        states: how its files are found.
        why: why the manifest cannot be read.
    """

    name: str
    pair: Pair | None
    states: tuple[FileState, ...]
    why: str

    @property
    def is_fine(self) -> bool:
        """Whether jobs can be made with it: nothing changed, and no file gone everywhere."""
        return self.pair is not None and self.told in ("there", "incomplete")

    @property
    def told(self) -> str:
        """Its state in a word."""
        if self.pair is None:
            return "unreadable"
        if not self.states:
            return "outdated"
        if any(state.condition is Condition.CHANGED for state in self.states):
            return "changed"
        gone = {state.file for state in self.states if state.condition is Condition.MISSING}
        here = {state.file for state in self.states if state.condition is not Condition.MISSING}
        return "missing" if gone - here else "incomplete" if gone else "there"


def made(one: Made, as_json: bool) -> None:
    """Tell of a pair that was just made."""
    if as_json:
        gone = [str(path) for path in one.removed]
        _print({"event": "paired", **_entry(one.pair), "replaced": one.replaced, "removed": gone})
        return
    console = _console()
    again = ", in place of the one before" if one.replaced else ""
    console.print(Text(f"paired {one.pair.name}{again}"))
    for line in _lines(one.pair):
        console.print(Text(f"  {line}"))
    for note in _notes(one.pair):
        console.print(Text(f"  note: {note}"))
    _tell_removed(console, one.removed)
    console.print(
        Text(f"Use it: pair: {one.pair.name} in a prompt file, or --pair {one.pair.name}")
    )


def removed(name: str, files: Sequence[Path], as_json: bool) -> None:
    """Tell that a pair is gone."""
    if as_json:
        _print({"event": "removed", "name": name, "removed": [str(path) for path in files]})
        return
    console = _console()
    console.print(Text(f"removed the pair {name}; the files that it was made of stay"))
    _tell_removed(console, files)


def pruned(files: Sequence[Path], as_json: bool) -> None:
    """Tell what was removed."""
    if as_json:
        _print({"event": "pruned", "removed": [str(path) for path in files]})
        return
    console = _console()
    _tell_removed(console, files)
    if not files:
        console.print("nothing to remove: all that was published is in use")


def shown(one: Shown, as_json: bool) -> None:
    """Tell everything of one pair."""
    if as_json or one.pair is None:
        _print(_looked_at(one))
        return
    console = _console()
    console.print(Text(f"{one.name}: {one.told}"))
    for line in _lines(one.pair):
        console.print(Text(f"  {line}"))
    for where, states in _by_folder(one.states):
        console.print(Text(f"  in {where}"))
        for state in states:
            console.print(_line(state))
    for note in _notes(one.pair):
        console.print(Text(f"  note: {note}"))
    if not one.is_fine:
        console.print(Text(f"Run pair again: python core/director.py pair {one.name} --again"))


def listed(pairs: Sequence[Shown], usual: str, as_json: bool) -> None:
    """Tell of all pairs, a line each."""
    if as_json:
        for one in pairs:
            _print({**_looked_at(one), "default": one.name == usual})
        return
    console = _console()
    if not pairs:
        console.print("no pairs yet: python core/director.py pair NAME --lora FILE")
        return
    width = max(len(one.name) for one in pairs)
    for one in pairs:
        line = Text(f"{one.name:{width}}  ")
        line.append(f"{one.told:10}", "green" if one.told == "there" else "bold red")
        console.print(line.append(f"  {_in_short(one)}{' (default)' if one.name == usual else ''}"))


def _in_short(one: Shown) -> str:
    if one.pair is None:
        return one.why
    loras = "".join(f" + {lora.file} {lora.strength:g}" for lora in one.pair.loras)
    return f"{one.pair.unet}{loras}"


def _by_folder(states: Sequence[FileState]) -> list[tuple[str, list[FileState]]]:
    """Put together what lies in one models folder; last what only the host has."""
    found: dict[str, list[FileState]] = {}
    for state in states:
        where = str(_models(state)) if state.path else "the host's own folders, unseen"
        found.setdefault(where, []).append(state)
    return list(found.items())


def _models(state: FileState) -> Path:
    """Return the models folder: above the kind's, and above the name with its sub-folders."""
    assert state.path is not None  # noqa: S101 - the caller looked
    return state.path.parents[len(Path(state.file.file).parts)]


def _line(state: FileState) -> Text:
    file = state.file
    kind = state.path.relative_to(_models(state)).parts[0] if state.path else file.folder
    size = f"{file.size / 1e6:,.1f} MB" if file.size else ""
    line = Text("    ")
    line.append(f"{state.condition:8}" if state.path else "", _MARKS[state.condition])
    line.append(f"{size:>12}  {file.sha256[:_SHOWN]}  " if state.path else "")
    return line.append(f"{kind}/{file.file}")


def _lines(pair: Pair) -> Iterator[str]:
    yield f"unet           {pair.unet}"
    for lora in pair.loras:
        yield f"LoRA           {lora.file}, strength {lora.strength:g}{_words(pair, lora)}"
    yield f"text encoders  {', '.join(pair.text_encoders)}"
    yield f"VAE            {pair.vae}"
    for target in pair.targets:
        yield f"published to   {target}"


def _words(pair: Pair, lora: Any) -> str:
    if not lora.trigger_words:
        return ""
    put = "put in front" if lora.in_front else "not put in front"
    return f", trigger {', '.join(lora.trigger_words)} ({put})"


def _notes(pair: Pair) -> Iterator[str]:
    own = [one.file for one in pair.files if one.is_hosts_own]
    if own:
        yield f"{', '.join(own)}: not here, so taken for the host's own; it is not checked"
    away = [one.file for one in pair.files if one.models and "." not in one.models]
    if away:
        yield f"{', '.join(away)}: not in the models folder, so the embedded host has no such file"


def _tell_removed(console: Console, files: Sequence[Path]) -> None:
    for path in files:
        console.print(Text(f"removed {path}, which nothing uses any more"))


def _entry(pair: Pair) -> dict[str, Any]:
    return asdict(pair)


def _looked_at(one: Shown) -> dict[str, Any]:
    entry = _entry(one.pair) if one.pair else {"name": one.name, "why": one.why}
    states = [
        {
            "folder": state.file.folder,
            "file": state.file.file,
            "path": str(state.path) if state.path else None,
            "state": state.condition,
        }
        for state in one.states
    ]
    return {"event": "pair", "state": one.told, **entry, "states": states}


def _print(entry: dict[str, Any]) -> None:
    print(json.dumps(entry), flush=True)


def _console() -> Console:
    # Lines are left to the terminal to wrap: a cut name or path is of no use.
    return Console(highlight=False, soft_wrap=True)
