"""A run's output comes into the run's folder: whole, once, and nowhere else."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.kaggle_kit import a_package, kaggle, ready
from tests.kaggle_stand_in.behaviour import Fault
from tests.kaggle_stand_in.server import StandIn
from training import progress
from training.kaggle import cloud_run
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.cloud_output import fetch, report_of, wanted
from training.kaggle.patience import Patience
from training.kaggle.values import KernelReport, Package, Want
from training.progress import Stage, State, Status
from training.run_folder import RunFolder

World = tuple[StandIn, Account, RunFolder, Package]
LORA = bytes(range(256)) * 1200  # 300 KB
LARGE = LORA * 12  # 3.5 MB: the package keeps whole MiB of what came
REFUSED = b'{"state": "refused", "code": "wrong_gpu", "why": "It is a P100.", "fix": "Choose T4"}'


def status(lora: bytes = LORA) -> bytes:
    digest = hashlib.sha256(lora).hexdigest()
    value = Status(
        state=State.DONE, stage=Stage.EXPORT, lora="lora/ohwx.safetensors", sha256=digest
    )
    return value.model_dump_json().encode()


def outputs(lora: bytes = LORA, meant: bytes = LORA) -> dict[str, bytes]:
    return {
        "vulcan-kernel.json": b'{"state": "ok"}',
        "other.txt": b"not ours",
        "run/run.json": b"{}",
        "run/status.json": status(meant),
        "run/progress.jsonl": b'{"event": "end"}\n',
        "run/dataset.json": b"{}",
        "run/loss.png": b"PNG",
        "run/sheet.png": b"PNG",
        "run/samples/step-000003-1.png": b"PNG",
        "run/checkpoints/step-000003.safetensors": bytes(1000),
        "run/lora/ohwx.safetensors": lora,
    }


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with kaggle(monkeypatch, tmp_path) as (stand_in, account):
        run, made = a_package(tmp_path)
        ready(stand_in, made)
        cloud_run.push(account, made, resume=False, timeout_s=60)
        yield stand_in, account, run, made


def found(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def gets(stand_in: StandIn, name: str) -> int:
    return sum(r.startswith("GET /output/") and name in r for r in stand_in.site.requests)


def test_all_is_brought_and_the_plan_here_stays(world: World) -> None:
    stand_in, account, run, made = world
    plan = run.plan.read_bytes()
    stand_in.site.finish(made.slug, outputs=outputs())
    fetched = fetch(account, made.slug, run, Want.ALL)
    assert fetched.report == KernelReport(refused=False)
    names = {name.removeprefix("run/") for name in outputs() if name.startswith("run/")}
    assert set(fetched.files) == set(fetched.listed) == names - {"run.json"}
    assert found(run.path) == names | {".fetched.json"}
    assert run.plan.read_bytes() == plan
    assert run.lora("ohwx").read_bytes() == LORA
    assert progress.read_status(run.status) is not None


def test_progress_is_small(world: World) -> None:
    stand_in, account, run, made = world
    stand_in.site.finish(made.slug, outputs=outputs())
    fetch(account, made.slug, run, Want.PROGRESS)
    assert not run.lora("ohwx").exists()
    assert not run.checkpoints.exists()
    assert (run.samples / "step-000003-1.png").exists()


def test_what_is_here_already_is_not_fetched_again(world: World) -> None:
    stand_in, account, run, made = world
    stand_in.site.finish(made.slug, outputs=outputs())
    fetch(account, made.slug, run, Want.ALL)
    again = fetch(account, made.slug, run, Want.ALL)
    assert again.files == ()
    assert "lora/ohwx.safetensors" in again.listed
    run.lora("ohwx").unlink()
    assert fetch(account, made.slug, run, Want.ALL).files == ("lora/ohwx.safetensors",)


def test_a_running_run_has_no_output_yet(world: World) -> None:
    _, account, run, made = world
    fetched = fetch(account, made.slug, run, Want.ALL)
    assert fetched.files == fetched.listed == ()
    assert fetched.report is None


@pytest.mark.parametrize(
    "fault",
    [
        Fault("ohwx.safetensors", after=100_000),
        Fault("ohwx.safetensors", after=100_000, times=2),
        Fault("ohwx.safetensors", status=503),
        Fault("ohwx.safetensors"),
        Fault("ListKernelSessionOutput", times=2),
        Fault("ListKernelSessionOutput", skip=1, status=429),
    ],
    ids=str,
)
def test_a_cut_while_fetching_is_gone_on_from(fault: Fault, world: World) -> None:
    stand_in, account, run, made = world
    stand_in.site.finish(made.slug, outputs=outputs())
    stand_in.site.behaviour.faults = [fault]
    fetch(account, made.slug, run, Want.ALL)
    assert fault.times == 0
    assert run.lora("ohwx").read_bytes() == LORA
    assert not [name for name in found(run.path) if "part" in name]


def test_bytes_that_came_are_not_fetched_twice(world: World) -> None:
    stand_in, account, run, made = world
    stand_in.site.finish(made.slug, outputs=outputs(LARGE, LARGE))
    stand_in.site.behaviour.faults = [Fault("ohwx.safetensors", after=2_500_000, times=2)]
    account.patience = Patience(pauses=())
    with pytest.raises(CloudError, match="nothing is lost") as caught:
        fetch(account, made.slug, run, Want.ALL)
    assert caught.value.trouble is Trouble.NETWORK
    assert "signature" not in str(caught.value)
    assert not run.status.exists(), "the status comes last"
    assert not run.lora("ohwx").exists()
    stand_in.site.behaviour.faults = []
    fetch(account, made.slug, run, Want.ALL)
    assert run.lora("ohwx").read_bytes() == LARGE
    assert stand_in.site.continued == [2 << 20]


def test_a_part_of_another_version_is_not_gone_on_with(world: World) -> None:
    stand_in, account, run, made = world
    stand_in.site.finish(made.slug, outputs=outputs(LARGE[::-1]))
    stand_in.site.behaviour.faults = [Fault("ohwx.safetensors", after=2_500_000, times=9)]
    with pytest.raises(CloudError):
        fetch(account, made.slug, run, Want.ALL)
    stand_in.site.behaviour.faults = []
    stand_in.site.finish(made.slug, outputs=outputs(LARGE, LARGE))
    fetch(account, made.slug, run, Want.ALL)
    assert run.lora("ohwx").read_bytes() == LARGE


def test_a_damaged_lora_is_removed_and_told(world: World) -> None:
    stand_in, account, run, made = world
    stand_in.site.finish(made.slug, outputs=outputs(lora=b"damaged"))
    with pytest.raises(CloudError, match="damaged"):
        fetch(account, made.slug, run, Want.ALL)
    assert not run.lora("ohwx").exists()
    stand_in.site.finish(made.slug, outputs=outputs())
    assert fetch(account, made.slug, run, Want.ALL).files == ("lora/ohwx.safetensors",)


@pytest.mark.parametrize(
    "name",
    ["../../evil.txt", "/tmp/evil.txt", "run/../../evil.json", "run/samples/../../../evil.png"],
)
def test_a_hostile_listing_writes_nowhere_else(name: str, world: World, tmp_path: Path) -> None:
    stand_in, account, run, made = world
    stand_in.site.finish(made.slug)
    stand_in.site.outside_listing = {name: b"evil"}
    before = found(tmp_path) - {"ohwx-1/.fetched.json"}
    assert fetch(account, made.slug, run, Want.ALL).listed == ()
    assert found(tmp_path) == before
    assert gets(stand_in, "evil") == 0


FOLDERS = ["run", "..", ".", "", "samples", "lora", "checkpoints", "~", "C:", "\\.."]
FILES = ["a.png", "x.safetensors", "status.json", "loss.png", "a\x00.png", "ä.png", ".hidden.png"]
parts = st.sampled_from([*FOLDERS, *FILES])


@given(st.one_of(st.lists(parts, max_size=5).map("/".join), st.text(max_size=30)))
@example("run/samples/../status.json")
@example("run//status.json")
@example("run/samples/a.png\n")
def test_no_name_leads_out_of_the_run(name: str) -> None:
    inner = wanted(name, Want.ALL)
    if inner:
        assert name == f"run/{inner}"
        folder = Path("/somewhere/run")
        assert (folder / inner).resolve().is_relative_to(folder)
        assert not any(part.startswith(".") for part in Path(inner).parts)
        assert inner != "run.json"


def test_what_the_notebook_says_of_itself_is_read(world: World) -> None:
    stand_in, account, run, made = world
    stand_in.site.finish(made.slug, "COMPLETE", {"vulcan-kernel.json": REFUSED})
    report = KernelReport(True, "wrong_gpu", "It is a P100", "Choose T4")
    assert report_of(account, made.slug, run) == report
    assert fetch(account, made.slug, run, Want.PROGRESS).report == report


@pytest.mark.parametrize("said", [b"", b"[]", b"{", b"\xff\xff", b"[" * 100_000])
def test_a_damaged_report_is_none(said: bytes, world: World) -> None:
    stand_in, account, run, made = world
    stand_in.site.finish(made.slug, "COMPLETE", {"vulcan-kernel.json": said})
    assert report_of(account, made.slug, run) is None
