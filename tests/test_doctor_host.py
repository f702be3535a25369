from dataclasses import replace

import pytest

from bridge import doctor_host, workflow
from bridge.answers import HostFacts
from bridge.catalogue import Catalogue
from bridge.doctor_host import GB
from bridge.finding import Finding, Level
from bridge.workflow import Workflow
from configs.settings import WORKFLOWS
from tests import comfyui_catalogue
from tests.sample_request import REQUEST

FILES = {
    "unet_name": ["flux\\x.gguf"],
    "lora_name": ["l.safetensors"],
    "clip_name1": ["c.safetensors"],
    "clip_name2": ["t.safetensors"],
    "vae_name": ["v.safetensors"],
}
LAPTOP = HostFacts(
    version="0.3.64",
    windows=True,
    device="RTX 4050 Laptop",
    vram_free=5 * GB,
    vram_total=6 * GB,
    on_gpu=True,
    ram_total=16 * GB,
    ram_free=12 * GB,
)


def graph(unet: str = "flux/x.gguf") -> Workflow:
    template = workflow.load(WORKFLOWS / "txt2img.json")
    return workflow.build(template, replace(REQUEST, unet=unet), "p")


def found(catalogue: Catalogue, told: str = "") -> list[Finding]:
    return list(doctor_host.graph(graph(), catalogue, told))


def named(findings: list[Finding], name: str) -> list[Finding]:
    return [one for one in findings if one.name == name]


def test_on_a_real_comfyui_with_all_files_nothing_is_wrong() -> None:
    findings = found(comfyui_catalogue.catalogue(**FILES))
    assert {one.level for one in findings} == {Level.OK, Level.INFO}
    (models,) = named(findings, "host.models")
    assert "c.safetensors, t.safetensors" in models.what


def test_backslashes_of_a_windows_host_are_said_and_no_fault() -> None:
    (spelling,) = named(found(comfyui_catalogue.catalogue(**FILES)), "host.spelling")
    assert spelling.level is Level.INFO
    assert spelling.what == "flux/x.gguf is listed as flux\\x.gguf"


def test_a_missing_model_names_the_folder_and_what_comes_nearest() -> None:
    files = {**FILES, "clip_name2": ["t5.safetensors", "umt5.gguf"]}
    (missing,) = named(found(comfyui_catalogue.catalogue(**files)), "host.model")
    assert missing.level is Level.PROBLEM
    assert "(DualCLIPLoaderGGUF): input clip_name2 is 't.safetensors'" in missing.what
    assert "models/text_encoders" in missing.fix
    assert "use t5.safetensors, which it has" in missing.fix


def test_a_host_without_the_gguf_nodes_is_told_where_to_get_them() -> None:
    offered = comfyui_catalogue.object_info_with(**FILES)
    info = {name: entry for name, entry in offered.items() if "GGUF" not in name}
    problems = [one for one in found(Catalogue.read(info)) if one.level is Level.PROBLEM]
    assert "git clone https://github.com/city96/ComfyUI-GGUF" in problems[0].fix
    assert "DualCLIPLoaderGGUF" in problems[1].what
    assert len(problems) == 2


def test_what_was_said_of_the_unet_is_not_said_again() -> None:
    files = {**FILES, "unet_name": ["other.gguf"]}
    catalogue = comfyui_catalogue.catalogue(**files)
    assert any("x.gguf" in one.what for one in found(catalogue))
    assert not any("x.gguf" in one.what for one in found(catalogue, told="UnetLoaderGGUF"))


@pytest.mark.parametrize(
    ("version", "level"), [("0.3.64", Level.OK), ("0.10.0", Level.WARNING), ("x", Level.WARNING)]
)
def test_only_a_tested_version_passes_without_a_word(version: str, level: Level) -> None:
    finding = doctor_host.version(replace(LAPTOP, version=version))
    assert finding.level is level


def test_our_embedded_host_is_not_measured_by_comfyuis_versions() -> None:
    assert doctor_host.version(replace(LAPTOP, version="9", embedded=True)).level is Level.OK


@pytest.mark.parametrize(
    ("free", "total", "level"),
    [
        (5 * GB, 6 * GB, Level.OK),
        (2 * GB, 6 * GB, Level.WARNING),
        (2 * GB, 24 * GB, Level.OK),
    ],
)
def test_little_free_graphics_memory_is_a_warning_on_a_small_card(
    free: int, total: int, level: Level
) -> None:
    finding = doctor_host.graphics_memory(replace(LAPTOP, vram_free=free, vram_total=total))
    assert finding.level is level
    assert level is Level.OK or "--reserve-vram" in finding.fix


def test_launch_flags_are_named_unless_the_host_has_them() -> None:
    full = replace(LAPTOP, vram_free=GB)
    assert doctor_host.graphics_memory(full).fix.endswith("--reserve-vram 1.0")
    has_it = replace(full, flags=("--reserve-vram", "0.5"))
    assert "--" not in doctor_host.graphics_memory(has_it).fix


def test_a_host_on_the_processor_is_said_to_be_slow() -> None:
    finding = doctor_host.graphics_memory(replace(LAPTOP, on_gpu=False, device="cpu"))
    assert finding.level is Level.INFO


def test_models_larger_than_the_hosts_memory_are_a_warning() -> None:
    assert [one.level for one in doctor_host.memory(LAPTOP, 8 * GB)] == [Level.OK]
    assert [one.level for one in doctor_host.memory(LAPTOP, 13 * GB)] == [Level.WARNING]
    assert list(doctor_host.memory(replace(LAPTOP, ram_total=0), 1)) == []


def test_clocks_that_differ_by_more_than_a_minute_are_a_warning() -> None:
    assert [one.level for one in doctor_host.clock(1000.0, 1030.0)] == [Level.OK]
    (late,) = doctor_host.clock(1000.0, 4600.0)
    assert "differ by 3600 s" in late.what
    assert list(doctor_host.clock(None, 0.0)) == []


def test_every_template_of_ours_is_known_to_a_real_comfyui() -> None:
    for path in sorted(WORKFLOWS.glob("*.json")):
        findings = list(doctor_host.graph(workflow.load(path), comfyui_catalogue.catalogue()))
        assert not named(findings, "host.node"), path
