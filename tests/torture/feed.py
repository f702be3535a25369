"""The prompt files of a torture: every kind and count, each prompt unlike any other.

What was asked for is kept as plain values, so that the verdict needs nothing of the director.
"""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

WORDS = ("fox", "boat", "Straße", "моря", "lighthouse", "雨", "quilt", "zebra")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One picture that was asked for; ``seed`` is ``None`` where the director draws it."""

    file: str
    prompt: str
    seed: int | None


class Feed:
    """Writes prompt files into the inbox.

    Args:
        inbox: where to.
        chance: of everything that varies.
        seeds_told: every prompt names its seed (for hosts whose pictures show nothing else).
    """

    def __init__(self, inbox: Path, chance: random.Random, seeds_told: bool) -> None:
        self._inbox, self._chance, self._seeds_told = inbox, chance, seeds_told
        self.wanted: list[Wanted] = []
        self._files = 0
        self._next_seed = 1

    def drop(self, most: int) -> None:
        """Drop one file that asks for up to ``most`` pictures."""
        self._files += 1
        stem = f"f{self._files:05}"
        count = self._chance.randint(1, max(1, min(6, most)))
        kinds = ("yaml", "json", "toml", "count")
        kind = self._chance.choice(kinds if self._seeds_told else (*kinds, "txt", "txt"))
        made = self._counted(stem, count) if kind == "count" else self._listed(stem, count, kind)
        name, text, wanted = made
        self._write(name, text)
        self.wanted += wanted

    def _listed(self, stem: str, count: int, kind: str) -> tuple[str, str, list[Wanted]]:
        name = f"{stem}.{kind}"
        prompts = [self._prompt(stem, number) for number in range(count)]
        if kind == "txt":
            text = "# torture\n\n" + "\n".join(prompts) + "\n"
            return name, text, [Wanted(name, prompt, None) for prompt in prompts]
        seeds = self._seeds(count)
        wanted = [Wanted(name, prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        if kind == "toml":
            tables = [f'[[prompts]]\nprompt = "{w.prompt}"\nseed = {w.seed}\n' for w in wanted]
            return name, "\n".join(tables), wanted
        listed = [{"prompt": w.prompt, "seed": w.seed} for w in wanted]
        return name, json.dumps({"prompts": listed}, ensure_ascii=False), wanted

    def _counted(self, stem: str, count: int) -> tuple[str, str, list[Wanted]]:
        name, prompt, seeds = f"{stem}.yaml", self._prompt(stem, 0), self._seeds(count)
        text = f"prompt: {prompt}\nseed: {seeds[0]}\ncount: {count}\n"
        return name, text, [Wanted(name, prompt, seed) for seed in seeds]

    def _prompt(self, stem: str, number: int) -> str:
        return f"{stem} number {number} {self._chance.choice(WORDS)}"

    def _seeds(self, count: int) -> list[int]:
        first = self._next_seed
        self._next_seed += count
        return list(range(first, first + count))

    def _write(self, name: str, text: str) -> None:
        """Write it as people and programs do: in one go, slowly, or moved in when whole."""
        path, how = self._inbox / name, self._chance.random()
        if how < 0.2:
            part = path.with_name(f".{name}.tmp")
            part.write_text(text, encoding="utf-8")
            part.rename(path)
            return
        with path.open("w", encoding="utf-8") as file:
            if how < 0.4:
                file.write(text[: len(text) // 2])
                file.flush()
                time.sleep(0.03)
                file.write(text[len(text) // 2 :])
            else:
                file.write(text)
