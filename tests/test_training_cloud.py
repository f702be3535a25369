"""A training in a cloud: what each end of a run there leads to, with a cloud that obeys."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.training_child import Stopped
from core.training_cloud import LOG, CloudAway, CloudRun, Pace
from core.training_record import Phase, Where
from tests.train_kit import stands, training
from training.errors import TrainingError
from training.kaggle.values import CloudState, CloudStatus, Fetched, KernelReport, Want
from training.progress import State

FAST = Pace(first=0.001, longest=0.002)


class ObedientCloud:
    """Plays a list of runs; each is what fetching it does to the run folder."""

    def __init__(self, folder: Path, runs: Sequence[Callable[[Path], CloudState]] = ()) -> None:
        self.folder, self.runs, self.pushed = folder, list(runs), [False][:0]
        self.state: CloudState | None = None
        self.away = 0
        self.listed: tuple[str, ...] = ("status.json",)
        self.report: KernelReport | None = None
        self.lines: list[str] = []
        self.looks = 0

    def _maybe_away(self) -> None:
        if self.away:
            self.away -= 1
            raise CloudAway("Kaggle cannot be reached.")

    def upload(self) -> str:
        self._maybe_away()
        return "vulcan-ohwx"

    def push(self, *, resume: bool) -> int:
        self._maybe_away()
        self.pushed.append(resume)
        self.state = CloudState.RUNNING
        return len(self.pushed)

    def status(self) -> CloudStatus | None:
        self._maybe_away()
        self.looks += 1
        if self.state is CloudState.RUNNING and self.looks % 3 == 0 and self.runs:
            self.state = self.runs.pop(0)(self.folder)
        return CloudStatus(self.state) if self.state else None

    def log(self) -> list[str]:
        return self.lines

    def fetch(self, want: Want) -> Fetched:
        self._maybe_away()
        assert want is Want.ALL
        return Fetched((), self.listed, self.report)

    def verdict(self, status: CloudStatus, fetched: Fetched) -> TrainingError | None:
        if (report := fetched.report) is not None:
            return TrainingError(f"would not begin ({report.code})", why=report.why)
        if status.state is CloudState.COMPLETE:
            return None
        return TrainingError(f"the run ended as {status.state}")

    def cancel(self) -> str:
        return "press Cancel Run"


def ending(state: State, step: int, cloud: CloudState) -> Callable[[Path], CloudState]:
    def end(folder: Path) -> CloudState:
        stands(folder, state, step, text="its own words")
        return cloud

    return end


def play(
    folder: Path, cloud: ObedientCloud, phase: Phase = Phase.UPLOADING
) -> tuple[list[Phase], dict[str, Any]]:
    """Go from phase to phase, as a worker does, until the cloud's part is over."""
    row = training(folder, place=Where.KAGGLE)
    noted: dict[str, Any] = {}
    phases = [phase]
    while phase is not Phase.CHECKING:
        known = {name: noted[name] for name in ("version", "reached", "stuck") if name in noted}
        own = training(folder, place=Where.KAGGLE, phase=phase, **known)
        run = CloudRun(own, cloud, noted.update, lambda _seconds: None, FAST)
        phase = {
            Phase.UPLOADING: run.uploading,
            Phase.PUSHING: run.pushing,
            Phase.RUNNING: run.running,
            Phase.FETCHING: run.fetching,
        }[phase]()
        phases.append(phase)
    assert row.folder == folder
    return phases, noted


def test_a_run_that_ends_well_is_fetched_and_checked(tmp_path: Path) -> None:
    cloud = ObedientCloud(tmp_path, [ending(State.DONE, 100, CloudState.COMPLETE)])
    phases, noted = play(tmp_path, cloud)
    order = ["uploading", "pushing", "running", "fetching", "checking"]
    assert [str(phase) for phase in phases] == order
    assert (noted["slug"], noted["version"]) == ("vulcan-ohwx", 1)
    assert cloud.pushed == [False]


def test_a_run_at_its_time_limit_or_taken_away_goes_on_in_the_next(tmp_path: Path) -> None:
    cloud = ObedientCloud(
        tmp_path,
        [
            ending(State.PAUSED, 40, CloudState.COMPLETE),
            ending(State.RUNNING, 70, CloudState.ERROR),
            ending(State.DONE, 100, CloudState.COMPLETE),
        ],
    )
    phases, _ = play(tmp_path, cloud)
    assert cloud.pushed == [False, True, True], "from the second push on, it goes on"
    assert phases.count(Phase.PUSHING) == 3


def test_two_runs_in_a_row_that_come_no_further_end_it(tmp_path: Path) -> None:
    cloud = ObedientCloud(tmp_path, [ending(State.RUNNING, 40, CloudState.ERROR) for _ in range(5)])
    with pytest.raises(TrainingError, match="2 runs in a row came no further than update 40"):
        play(tmp_path, cloud)
    assert len(cloud.pushed) == 3, "the first added something"


def test_a_run_is_not_pushed_where_one_is_under_way(tmp_path: Path) -> None:
    cloud = ObedientCloud(tmp_path, [ending(State.DONE, 100, CloudState.COMPLETE)])
    cloud.state = CloudState.RUNNING
    play(tmp_path, cloud, Phase.PUSHING)
    assert cloud.pushed == []


def test_a_network_that_is_away_only_delays(tmp_path: Path) -> None:
    cloud = ObedientCloud(tmp_path, [ending(State.DONE, 100, CloudState.COMPLETE)])
    cloud.away = 7
    _, noted = play(tmp_path, cloud)
    assert cloud.away == 0
    assert noted["told"] == "running on kaggle", "that it was away is forgotten"


def test_a_wish_to_stop_is_heard_while_the_network_is_away(tmp_path: Path) -> None:
    cloud, waits = ObedientCloud(tmp_path), []
    cloud.away = 1000

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 6:
            raise Stopped

    run = CloudRun(training(tmp_path), cloud, lambda **_: None, pause, Pace(1.0, 4.0, 2.0))
    with pytest.raises(Stopped):
        run.uploading()
    assert [wait for wait in waits if wait] == [1.0, 2.0, 4.0], "ever more seldom"


def test_a_refusal_of_the_machine_is_said_with_its_reason(tmp_path: Path) -> None:
    cloud = ObedientCloud(tmp_path, [ending(State.RUNNING, 0, CloudState.COMPLETE)])
    cloud.report = KernelReport(True, "wrong_gpu", "a P100", "choose T4 x2")
    with pytest.raises(TrainingError, match=r"would not begin \(wrong_gpu\): a P100"):
        play(tmp_path, cloud)


def test_the_status_of_an_earlier_run_is_not_taken_for_that_of_a_run_that_left_none(
    tmp_path: Path,
) -> None:
    cloud = ObedientCloud(tmp_path, [ending(State.FAILED, 10, CloudState.ERROR)])
    cloud.listed = ()
    cloud.state = CloudState.ERROR
    stands(tmp_path, State.FAILED, 10, "of the run before")
    run = CloudRun(training(tmp_path), cloud, lambda **_: None, lambda _: None, FAST)
    assert run.fetching() is Phase.PUSHING


@pytest.mark.parametrize(
    ("state", "cloud_state", "told"),
    [
        (State.FAILED, CloudState.COMPLETE, "its own words"),
        (State.RUNNING, CloudState.CANCELLED, "the run ended as cancelled"),
    ],
)
def test_after_a_failure_going_on_pushes_again(
    tmp_path: Path, state: State, cloud_state: CloudState, told: str
) -> None:
    cloud = ObedientCloud(tmp_path, [ending(state, 10, cloud_state)])
    noted: dict[str, Any] = {}
    cloud.state = ending(state, 10, cloud_state)(tmp_path)
    run = CloudRun(training(tmp_path), cloud, noted.update, lambda _: None, FAST)
    with pytest.raises(TrainingError, match=told):
        run.fetching()
    assert noted["phase"] is Phase.PUSHING


def test_a_run_that_was_deleted_is_said(tmp_path: Path) -> None:
    run = CloudRun(training(tmp_path), ObedientCloud(tmp_path), print, lambda _: None, FAST)
    with pytest.raises(TrainingError, match="gone from the cloud"):
        run.running()


def test_the_last_words_of_a_run_are_told_while_it_goes_on(tmp_path: Path) -> None:
    cloud = ObedientCloud(tmp_path, [ending(State.DONE, 100, CloudState.COMPLETE)])
    cloud.lines = ["-- train", "train: 250 of 1,500, loss 0.1"]
    _, noted = play(tmp_path, cloud)
    assert noted["told"] == "running on kaggle: train: 250 of 1,500, loss 0.1"
    assert (tmp_path / LOG).read_text().splitlines() == cloud.lines
