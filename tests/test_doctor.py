"""The doctor as a whole: real folders, real ports, a fake ComfyUI, machines out of files."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.finding import Finding, Level, fine
from configs.settings import Settings
from core import arguments, doctor, doctor_command
from core.doctor import Check
from tests import doctor_site, strangers
from tests.fake_host import serving
from tests.offering_host import OfferingHost, flux_nodes
from tests.recorded_machine import RecordedMachine

ROOT = Path(__file__).resolve().parents[1]
DIRECTOR = [sys.executable, str(ROOT / "core" / "director.py")]
NODES = flux_nodes("x.gguf", "l.safetensors", "c.safetensors", "t.safetensors", "v.safetensors")


def site(root: Path, **host: object) -> Settings:
    doctor_site.make_models(root)
    (root / "inbox").mkdir()
    return doctor_site.settings(root, host={"connect_timeout": 0.5, **host})


def examined(settings: Settings, machine: str = "plain_linux") -> list[Finding]:
    return doctor.examine(doctor.checks(settings, RecordedMachine(machine)))


def bad(findings: list[Finding]) -> dict[str, Level]:
    return {one.name: one.level for one in findings if one.level in (Level.WARNING, Level.PROBLEM)}


def of_host(findings: list[Finding]) -> list[Finding]:
    return [one for one in findings if one.group == "host"]


def test_where_all_is_well_nothing_is_wrong(tmp_path: Path) -> None:
    with serving(OfferingHost(nodes=NODES)) as host:
        findings = examined(site(tmp_path, use=host.url))
    # Packages and the free room are this machine's own affair.
    ours = [one for one in findings if one.group not in ("system", "disk")]
    assert bad(ours) == {}
    assert {"wsl", "workflow", "host", "models", "folder", "inbox"} <= {o.group for o in ours}


def test_the_first_usable_candidate_is_looked_into(tmp_path: Path) -> None:
    with serving(OfferingHost(nodes=NODES)) as host:
        findings = of_host(examined(site(tmp_path, candidates=[strangers.closed(), host.url])))
    assert [one.level for one in findings[:3]] == [Level.INFO, Level.OK, Level.OK]
    assert any(one.name == "host.version" for one in findings)


def test_a_model_the_named_host_lacks_is_a_problem(tmp_path: Path) -> None:
    nodes = flux_nodes(
        "x.gguf", "l.safetensors", "c.safetensors", "t5.safetensors", "v.safetensors"
    )
    with serving(OfferingHost(nodes=nodes)) as host:
        findings = of_host(examined(site(tmp_path, use=host.url)))
    (missing,) = [one for one in findings if one.level is Level.PROBLEM]
    assert "(DualCLIPLoaderGGUF): input clip_name2 is 't.safetensors'" in missing.what
    assert "use t5.safetensors" in missing.fix


def test_a_host_that_would_not_be_taken_anyway_is_no_problem(tmp_path: Path) -> None:
    with serving(OfferingHost(nodes={})) as host:
        findings = of_host(examined(site(tmp_path, candidates=[host.url])))
    assert findings
    assert Level.PROBLEM not in {one.level for one in findings}


def test_a_windows_host_with_backslashes_is_fine(tmp_path: Path) -> None:
    settings = site(tmp_path)
    unets = tmp_path / "models" / "unet"
    (unets / "flux").mkdir()
    (unets / "x.gguf").rename(unets / "flux" / "x.gguf")
    files = ("l.safetensors", "c.safetensors", "t.safetensors", "v.safetensors")
    nodes = flux_nodes("flux\\x.gguf", *files)
    with serving(OfferingHost(nodes=nodes, system={"os": "nt"})) as host:
        model = settings.model.model_copy(update={"source": str(unets / "flux" / "x.gguf")})
        use = settings.host.model_copy(update={"use": (host.url,)})
        findings = of_host(examined(settings.model_copy(update={"model": model, "host": use})))
    assert bad(findings) == {}
    assert any("flux/x.gguf is listed as flux\\x.gguf" in one.what for one in findings)


def test_a_clock_that_stood_still_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(OfferingHost(nodes=NODES)) as host:
        settings = site(tmp_path, use=host.url)
        now = time.time()
        monkeypatch.setattr("core.doctor.time.time", lambda: now - 7200)
        findings = of_host(examined(settings))
    assert bad(findings) == {"host.clock": Level.WARNING}


def test_embedded_asks_no_host(tmp_path: Path) -> None:
    (only,) = of_host(examined(site(tmp_path, use="embedded")))
    assert only.level is Level.INFO


def test_behind_nat_the_gateway_is_asked_too(tmp_path: Path) -> None:
    settings = site(tmp_path, candidates=[strangers.closed()])
    findings = of_host(examined(settings, "nat"))
    assert [one.what.split()[0] for one in findings if one.name == "host.candidate"] == [
        settings.host.candidates[0],
        settings.host.candidates[0].replace("127.0.0.1", "172.28.80.1"),
    ]


def test_candidates_that_all_hang_hold_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PROBE_PATIENCE", 1.0)
    with strangers.silent() as silent, strangers.swallowing() as swallowing:
        drip = strangers.answering(strangers.HTTP_OK, drip=0.3)
        with drip as dripping:
            settings = site(tmp_path, candidates=[silent, swallowing, dripping] * 3)
            started = time.monotonic()
            findings = examined(settings)
    assert time.monotonic() - started < doctor.PATIENCE
    assert "host.choice" in bad(findings)


def test_a_workflow_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    settings = site(tmp_path, use="embedded")
    usual = settings.defaults.model_copy(update={"workflow": "nosuch"})
    findings = examined(settings.model_copy(update={"defaults": usual}))
    assert bad([one for one in findings if one.group == "workflow"]) == {
        "workflow.template": Level.PROBLEM
    }


def test_a_check_that_hangs_is_a_finding_and_keeps_what_it_found() -> None:
    over = threading.Event()

    def hang() -> Iterator[Finding]:
        yield fine("slow.first", "found")
        over.wait()

    started = time.monotonic()
    findings = doctor.examine([Check("slow", hang), Check("b", lambda: [fine("b.x", "")])], 0.3)
    over.set()
    assert time.monotonic() - started < 5
    assert [one.name for one in findings] == ["slow.first", "slow.check", "b.x"]
    assert findings[1].level is Level.WARNING


def test_a_check_that_fails_is_a_finding_and_never_a_traceback() -> None:
    def fail() -> Iterator[Finding]:
        yield fine("odd.first", "found")
        raise RuntimeError("boom")

    first, failed = doctor.examine([Check("odd", fail)])
    assert first.level is Level.OK
    assert failed.level is Level.PROBLEM
    assert "RuntimeError: boom" in failed.what


def test_nothing_is_left_behind_in_any_folder(tmp_path: Path) -> None:
    settings = site(tmp_path, use="embedded")
    before = sorted(tmp_path.rglob("*"))
    examined(settings)
    assert sorted(tmp_path.rglob("*")) == before


def ask(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = doctor_command.run(arguments.parse(["doctor", *argv]))
    return code, capsys.readouterr().out


def test_garbage_settings_are_a_problem_and_the_rest_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    garbage = tmp_path / "my.toml"
    garbage.write_bytes(b"\xff\xfe[[[")
    code, out = ask(capsys, "--config", str(garbage), "--json")
    read = json.loads(out)
    assert (code, read["ok"]) == (1, False)
    names = [one["name"] for one in read["findings"]]
    assert names[0] == "settings.values"
    assert {"system.python", "wsl.machine"} <= set(names)


def test_the_exit_code_tells_whether_there_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor_site.make_models(tmp_path)
    own = tmp_path / "my.toml"
    own.write_text(
        'state = "state"\n[folders]\ninbox = "inbox"\noutbox = "outbox"\nmodels = "models"\n'
        '[model]\nsource = "models/unet/x.gguf"\nvae = "v.safetensors"\n'
        'text_encoders = ["c.safetensors", "t.safetensors"]\n[lora]\nfile = "l.safetensors"\n'
    )
    code, out = ask(capsys, "--config", str(own), "--host", "embedded")
    assert (code, "PROBLEM" in out) == (0, False)
    (tmp_path / "models" / "unet" / "x.gguf").write_bytes(b"GGUF")
    code, out = ask(capsys, "--config", str(own), "--host", "embedded")
    assert (code, "PROBLEM" in out) == (1, True)


def test_as_a_command_it_prints_json_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*DIRECTOR, "doctor", "--json", "--host", strangers.closed()],
        capture_output=True,
        text=True,
        env={"VULCAN_STATE": str(tmp_path), "VULCAN_FOLDERS__MODELS": str(tmp_path)},
        check=False,
    )
    assert ended.stderr == ""
    assert (ended.returncode, json.loads(ended.stdout)["ok"]) == (1, False)
