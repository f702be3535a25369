"""The socket between commands and a running director."""

import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core import control
from core.control import SOCKET, ControlError, ControlServer
from core.journal_file import JournalError


def echo(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"ok": True, "told": [request["word"]]}


def test_a_question_is_answered(tmp_path: Path) -> None:
    server = ControlServer(tmp_path, echo)
    assert control.ask(tmp_path, {"word": "hällo"}) == {"ok": True, "told": ["hällo"]}
    server.close()


def test_without_a_director_there_is_no_answer(tmp_path: Path) -> None:
    assert control.ask(tmp_path, {}) is None
    server = ControlServer(tmp_path, echo)
    server.close()
    assert control.ask(tmp_path, {}) is None


def test_a_killed_director_s_socket_is_in_nobody_s_way(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / SOCKET))
    dead.close()
    assert control.ask(tmp_path, {}) is None
    server = ControlServer(tmp_path, echo)
    assert control.ask(tmp_path, {"word": "x"}) == {"ok": True, "told": ["x"]}
    server.close()


def test_a_state_folder_may_have_a_long_path(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120) / ("y" * 120)
    deep.mkdir(parents=True)
    server = ControlServer(deep, echo)
    assert control.ask(deep, {"word": "x"}) is not None
    server.close()


def test_nobody_else_may_connect(tmp_path: Path) -> None:
    server = ControlServer(tmp_path, echo)
    assert (tmp_path / SOCKET).stat().st_mode & 0o077 == 0
    server.close()


@pytest.mark.parametrize("line", [b"\n", b"{\n", b"[1]\n", b'{"no": 1}\n', b"\xff\xfe\n", b"7\n"])
def test_nonsense_is_answered_and_does_no_harm(tmp_path: Path, line: bytes) -> None:
    server = ControlServer(tmp_path, echo)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / SOCKET))
        connection.sendall(line)
        assert b"not understood" in connection.recv(1000)
    assert control.ask(tmp_path, {"word": "x"}) is not None
    server.close()


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    def full(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise JournalError("no room")

    server = ControlServer(tmp_path, full)
    assert control.ask(tmp_path, {}) == {"ok": False, "told": ["no room"]}
    server.close()


def test_one_who_says_nothing_does_not_hold_up_others(tmp_path: Path) -> None:
    server = ControlServer(tmp_path, echo)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / SOCKET))
        answers = []
        asking = [
            threading.Thread(target=lambda: answers.append(control.ask(tmp_path, {"word": "x"})))
            for _ in range(5)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(10)
        assert len(answers) == 5
    server.close()


def test_a_director_that_hangs_up_is_an_error_with_advice(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / SOCKET))
    listening.listen()
    hanging_up = threading.Thread(target=lambda: listening.accept()[0].close())
    hanging_up.start()
    with pytest.raises(ControlError, match="log"):
        control.ask(tmp_path, {})
    hanging_up.join()
    listening.close()


def test_a_trouble_with_one_request_leaves_ears_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "DEAF_PAUSE", 0.01)
    server = ControlServer(tmp_path, echo)
    real = server._socket

    class Crowded:
        troubles = 1

        def accept(self) -> Any:
            if self.troubles:
                self.troubles -= 1
                raise OSError(24, "Too many open files")
            return real.accept()

        def shutdown(self, how: int) -> None:
            real.shutdown(how)

        def close(self) -> None:
            real.close()

    monkeypatch.setattr(server, "_socket", Crowded())
    for _ in range(3):
        assert control.ask(tmp_path, {"word": "x"}) is not None
    server.close()
