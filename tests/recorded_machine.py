"""A machine out of tests/data/wsl: what its commands print, its files hold, its ports take."""

import tomllib
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "data" / "wsl"


class RecordedMachine:
    """Answers as the file says; what is not in it is not there."""

    def __init__(self, name: str) -> None:
        self._said: dict[str, Any] = tomllib.loads(
            (RECORDINGS / f"{name}.toml").read_text(encoding="utf-8")
        )
        self.ran: list[str] = []

    def run(self, *command: str) -> bytes | None:
        self.ran.append(" ".join(command))
        return self._of("run", " ".join(command))

    def read(self, path: str) -> bytes | None:
        return self._of("read", path)

    def paths(self, pattern: str) -> list[str]:
        return list(self._said.get("paths", {}).get(pattern, []))

    def connects(self, address: str, port: int, timeout: float) -> bool:
        return f"{address}:{port}" in self._said.get("ports", {}).get("open", [])

    def _of(self, table: str, key: str) -> bytes | None:
        text = self._said.get(table, {}).get(key)
        encoding = self._said.get("encoding", {}).get(key, "utf-8")
        return None if text is None else str(text).encode(encoding)
