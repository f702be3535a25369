import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.finding import Level
from core import doctor_speed
from core.doctor_speed import MB


def ticking(step: float) -> Callable[[], float]:
    """Return a clock that goes on by ``step`` seconds at each look."""
    now = [0.0]

    def clock() -> float:
        now[0] += step
        return now[0]

    return clock


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "x.gguf"
    path.write_bytes(bytes(4 * MB))
    return path


def test_a_fast_disk_is_fine(model: Path) -> None:
    (finding,) = doctor_speed.reading(model, ticking(0.0001))
    assert finding.level is Level.OK


def test_a_slow_windows_drive_is_a_warning_that_says_where_models_belong(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_speed, "file_system", lambda _: "9p")
    (finding,) = doctor_speed.reading(model, ticking(0.02))
    assert finding.level is Level.WARNING
    assert "quantise on a Linux disk" in finding.fix


def test_a_slow_local_disk_is_said(model: Path) -> None:
    (finding,) = doctor_speed.reading(model, ticking(0.02))
    assert finding.level is Level.INFO


def test_a_sample_ends_by_itself(model: Path) -> None:
    assert doctor_speed.read_speed(model, ticking(doctor_speed.SECONDS)) is None


def test_what_is_not_there_or_too_small_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x")
    for name in ("gone", "small"):
        assert list(doctor_speed.reading(tmp_path / name, time.monotonic)) == []


def test_only_drives_of_another_system_are_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(doctor_speed.writing(tmp_path, ticking(0.001))) == []
    monkeypatch.setattr(doctor_speed, "file_system", lambda _: "9p")
    (fast,) = doctor_speed.writing(tmp_path, ticking(0.001))
    (slow,) = doctor_speed.writing(tmp_path, ticking(0.5))
    assert (fast.level, slow.level) == (Level.OK, Level.WARNING)
    assert list(tmp_path.iterdir()) == []
