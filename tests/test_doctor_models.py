import subprocess
import sys
from pathlib import Path

import pytest

from bridge.finding import Finding, Level
from configs import settings as configs
from configs.settings import Settings
from core import doctor_models
from core.pair_files import Wanted
from core.pair_making import PairMaker
from models.flux import FluxShape
from tests import doctor_site, model_files

ROOT = Path(__file__).resolve().parents[1]
WIDE = FluxShape(512, 4, 1, 1, 64, 256, 256, 1024, guidance=True)


def found(settings: Settings) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor_models.findings(settings)}


def cut(path: Path) -> None:
    """Take the last half of a file away, as a broken download does."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def test_a_complete_set_that_fits_is_fine(tmp_path: Path) -> None:
    doctor_site.make_models(tmp_path)
    findings = found(doctor_site.settings(tmp_path))
    assert {one.level for one in findings.values()} == {Level.OK}
    assert "every key has its target" in findings["models.lora"].what


def test_a_micro_set_that_is_not_made_yet_is_no_fault(tmp_path: Path) -> None:
    folders = {"folders": {"models": str(tmp_path)}}
    (only,) = found(configs.load(None, folders, environ={})).values()
    assert only.level is Level.INFO


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("unet/x.gguf", "models.unet"),
        ("text_encoders/t.safetensors", "models.text_encoders"),
        ("vae/v.safetensors", "models.vae"),
        ("loras/l.safetensors", "models.lora"),
    ],
)
def test_a_file_cut_short_is_a_problem_that_names_it(tmp_path: Path, file: str, name: str) -> None:
    models = doctor_site.make_models(tmp_path)
    cut(models / file)
    settings = doctor_site.settings(tmp_path)
    bad = [one for one in doctor_models.findings(settings) if one.level is Level.PROBLEM]
    assert [one.name for one in bad] == [name]
    assert "truncated" in bad[0].what
    assert bad[0].fix


def test_a_lora_of_another_model_is_a_problem(tmp_path: Path) -> None:
    doctor_site.make_models(tmp_path, lora_for=WIDE)
    lora = found(doctor_site.settings(tmp_path))["models.lora"]
    assert lora.level is Level.PROBLEM
    assert "does not fit the model" in lora.what


def test_a_lora_that_is_not_there_is_a_problem_and_none_is_none(tmp_path: Path) -> None:
    doctor_site.make_models(tmp_path)
    gone = doctor_site.settings(tmp_path, lora={"file": "gone"})
    assert found(gone)["models.lora"].level is Level.PROBLEM
    none = doctor_site.settings(tmp_path, lora={"file": "none"})
    assert found(none)["models.lora"].level is Level.INFO


def test_a_unet_still_to_be_quantised_comes_with_the_command(tmp_path: Path) -> None:
    source = model_files.write(tmp_path / "flux-fp16.safetensors", model_files.flux_arrays())
    model = {"source": str(source)}
    unet = found(doctor_site.settings(tmp_path, model=model))["models.unet"]
    assert unet.level is Level.INFO
    assert f"quantize '{source}' '{tmp_path}/models/unet/flux-Q4_K_S.gguf'" in unet.fix


def test_nothing_to_render_with_is_a_problem(tmp_path: Path) -> None:
    model = {"source": str(tmp_path / "gone.safetensors")}
    assert found(doctor_site.settings(tmp_path, model=model))["models.unet"].level is Level.PROBLEM


def test_a_source_that_is_no_model_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "page.safetensors").write_bytes(b"<!DOCTYPE html><html>" * 50)
    model = {"source": str(tmp_path / "page.safetensors")}
    found_ = found(doctor_site.settings(tmp_path, model=model))
    assert found_["models.source"].level is Level.PROBLEM


def test_the_memory_a_job_wants_is_that_of_the_files_that_are_there(tmp_path: Path) -> None:
    models = doctor_site.make_models(tmp_path)
    settings = doctor_site.settings(tmp_path)
    files = [*models.glob("unet/*"), *models.glob("text_encoders/*"), *models.glob("vae/*")]
    assert doctor_models.wanted_memory(settings) == sum(path.stat().st_size for path in files)
    (models / "vae" / doctor_site.VAE).unlink()
    assert (
        doctor_models.wanted_memory(settings) < sum(path.stat().st_size for path in files[:1]) * 2
    )


def test_looking_at_headers_brings_no_numpy() -> None:
    code = "import sys; import core.doctor; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_pair_whose_file_is_gone_is_told_and_is_a_problem_if_it_is_the_default(
    tmp_path: Path,
) -> None:
    models = doctor_site.make_models(tmp_path)
    settings = doctor_site.settings(tmp_path)
    lora = models / "loras" / "style.safetensors"
    lora.write_bytes((models / "loras" / doctor_site.LORA).read_bytes())
    PairMaker(settings, lambda *_: None).make(Wanted("a", loras=(("style", 1.0),)))
    assert found(settings)["models.pair"].level is Level.OK
    lora.unlink()
    gone = found(settings)["models.pair"]
    assert (gone.level, "--again" in gone.fix) == (Level.WARNING, True)
    default = found(settings.model_copy(update={"pair": "a"}))["models.pair"]
    assert default.level is Level.PROBLEM
    unknown = found(settings.model_copy(update={"pair": "b"}))["models.pair"]
    assert "no pair 'b'" in unknown.what
