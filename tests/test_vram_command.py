import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from bridge.answers import HostFacts
from configs.settings import ROOT
from core import arguments, commands, vram_advice, vram_command, vram_models, vram_table
from models import flux, gguf_layout
from models.errors import ModelError
from models.tensor_types import FileType
from models.vram_card import GIB, Launch, VramState
from models.vram_needs import Picture
from models.vram_plan import Verdict
from quantize import recipe
from tests.fake_host import FakeHost, serving


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULCAN_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VULCAN_FOLDERS__MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "80")


def vram(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    code = commands.COMMANDS["vram"](arguments.parse(["vram", *map(str, words)]))
    return code, capsys.readouterr().out


def plan(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, object]:
    _, said = vram(capsys, "--json", *words)
    found: dict[str, object] = json.loads(said)
    return found


def hollow_flux(path: Path, kind: FileType) -> Path:
    """A full-size FLUX.1-dev whose data are a hole."""
    tensors = [
        (name, shape, recipe.tensor_type(name, shape, recipe.stored_type("BF16", shape), kind))
        for name, shape in flux.tensor_shapes(flux.FLUX_DEV).items()
    ]
    layout = gguf_layout.layout("flux", kind, tensors)
    with path.open("wb") as file:
        file.write(layout.header)
        file.truncate(layout.total_bytes)
    return path


# --- files and types ---


def test_a_file_and_its_type_by_name_give_the_same_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = hollow_flux(tmp_path / "mine.gguf", FileType.Q4_K_S)
    by_file, by_type = plan(capsys, "--unet", file), plan(capsys, "--unet", "Q4_K_S")
    assert by_file["stages"] == by_type["stages"]
    assert by_file["log"] == by_type["log"]
    assert by_file["unet"] == "mine.gguf"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Q4_K_S", FileType.Q4_K_S),
        ("q8_0", FileType.Q8_0),
        ("flux1-dev-Q5_K_M.gguf", FileType.Q5_K_M),
        ("t5-v1_1-xxl-encoder-Q3_K_S.gguf", FileType.Q3_K_S),
        ("flux1-dev-BF16.gguf", FileType.BF16),
        ("flux1-dev-F16.gguf", FileType.F16),
        ("flux1-dev.gguf", None),
        ("Q4_K", None),
    ],
)
def test_a_file_type_is_read_off_a_name(name: str, kind: FileType | None) -> None:
    assert vram_models.file_type(name) is kind


@pytest.mark.parametrize("name", ["fp8", "fp16", "t5xxl_fp8_e4m3fn.safetensors", "t5xxl_fp16"])
def test_a_t5_in_safetensors_is_known_by_its_name(name: str) -> None:
    both, told = vram_models.encoders(name)
    assert told in ("T5-XXL fp8", "T5-XXL fp16")
    assert both.size > 4 * GIB


def test_a_lora_crosses_the_bus_in_float32(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "l.safetensors"
    save_file({"down": np.zeros((16, 3072), np.float16)}, path)
    without, beside = plan(capsys), plan(capsys, "--lora", path)
    more = int(str(beside["bytes_a_step"])) - int(str(without["bytes_a_step"]))
    assert more == 16 * 3072 * 4
    assert beside["notes"] != without["notes"]


@pytest.mark.parametrize("words", [("--unet", "no.gguf"), ("--t5", "no.gguf"), ("--lora", "no")])
def test_what_is_not_there_is_said(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="no"):
        vram(capsys, *words)


@given(st.binary(max_size=200))
def test_garbage_for_a_model_is_an_error_and_no_traceback(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        for name, read in (
            ("a.gguf", vram_models.unet),
            ("a.safetensors", vram_models.unet),
            ("b.gguf", vram_models.encoders),
            ("b.safetensors", vram_models.encoders),
        ):
            path = Path(folder) / name
            path.write_bytes(content)
            with pytest.raises(ModelError):
                read(path)


# --- the card ---


@pytest.mark.parametrize(
    ("text", "size"),
    [("6GB", 6 << 30), ("6", 6 << 30), ("6144MB", 6 << 30), ("5.5 GiB", 11 << 29), ("8g", 8 << 30)],
)
def test_a_cards_memory_is_read_as_cards_are_sold(text: str, size: int) -> None:
    assert vram_command.card_size(text) == size


@pytest.mark.parametrize("text", ["", "six", "0", "-6GB", "6TB", "1e9", "6 GB GB", "99999GB"])
def test_what_is_no_cards_memory_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="no card's memory"):
        vram_command.card_size(text)


LAPTOP = HostFacts(
    "0.3.64", True, "RTX 4050", 1 << 30, vram_total=6 << 30, on_gpu=True, cuda=True,
    torch_held=4 << 30, ram_total=32 << 30,
)  # fmt: skip


def test_a_hosts_flags_and_what_it_holds_are_taken_into_account() -> None:
    flags = ("--lowvram", "--disable-smart-memory", "--reserve-vram", "1.5", "--cpu-vae")
    found = vram_command.machine_of(_with(LAPTOP, flags))
    assert found.idle == 5 << 30
    assert found.launch == Launch(True, VramState.LOW, 1.5, smart=False)
    assert found.ram == 32 << 30
    assert "--cpu-vae" in found.notes[0]


@pytest.mark.parametrize(
    ("flags", "reserve"),
    [((), None), (("--reserve-vram=0.5",), 0.5), (("--reserve-vram",), None),
     (("--reserve-vram", "much"), None)],
)  # fmt: skip
def test_the_reserve_is_read_in_both_spellings(
    flags: tuple[str, ...], reserve: float | None
) -> None:
    assert vram_command.machine_of(_with(LAPTOP, flags)).launch.reserve == reserve


def _with(facts: HostFacts, flags: tuple[str, ...]) -> HostFacts:
    return replace(facts, flags=flags)


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serving() as served:
        yield served


def test_a_host_is_asked_for_its_card(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    host.device |= {"name": "RTX 4060", "vram_total": 8 << 30, "vram_free": 6 << 30}
    host.device |= {"torch_vram_total": 2 << 30, "torch_vram_free": 1 << 30}  # a model is loaded
    host.system |= {"os": "nt", "argv": ["main.py", "--novram"]}
    found = plan(capsys, "--host", host.url)
    assert found["card"] == {"name": "RTX 4060", "total": 8 << 30, "idle": 7 << 30}
    assert found["launch"]["state"] == "--novram"  # type: ignore[index] # JSON
    assert found["verdict"] == "partly"


def test_a_host_without_a_card_has_nothing_to_plan(
    host: FakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    host.device |= {"type": "cpu", "name": "cpu"}
    code, said = vram(capsys, "--host", host.url)
    assert code == 0
    assert "nothing to plan" in said


# --- what is said ---


def test_a_job_that_cannot_fit_ends_in_1_and_names_what_fits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, said = vram(capsys, "--width", "2048", "--height", "2048", "--batch", "8")
    assert code == 1
    assert "IT CANNOT FIT" in said
    assert "2048x2048, batch 2" in " ".join(said.split())


@pytest.mark.parametrize("words", [("--width", "0"), ("--batch", "0"), ("--height", "99999")])
def test_a_size_that_no_picture_has_is_refused(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="is no picture"):
        vram(capsys, *words)


def test_the_lines_that_comfyui_will_print_are_told_on_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, without = vram(capsys)
    _, said = vram(capsys, "--log")
    assert "loaded partially" not in without
    assert "loaded partially 3528.192 " in said


def test_the_size_of_a_workflow_file_is_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = json.loads((ROOT / "configs/workflows/txt2img.json").read_text())
    for node in graph.values():
        if "batch_size" in node["inputs"]:
            node["inputs"] |= {"width": 832, "height": 1216, "batch_size": 2}
    (tmp_path / "mine.json").write_text(json.dumps(graph))
    found = plan(capsys, "--workflow", tmp_path / "mine.json")
    assert found["picture"] == {"width": 832, "height": 1216, "batch": 2}
    found = plan(capsys, "--workflow", tmp_path / "mine.json", "--batch", "1")
    assert found["picture"] == {"width": 832, "height": 1216, "batch": 1}


# --- advice and table ---


@pytest.mark.parametrize("gib", [4, 6, 8, 12, 16, 24])
def test_the_advice_for_a_card_fits_it(gib: int) -> None:
    idle = gib * GIB - (1000 << 20)
    found = vram_advice.advise(gib * GIB, idle, Launch(), Picture(1024, 1024), 32 * GIB)
    assert found.chosen.plan.verdict is not Verdict.CANNOT
    assert found.chosen.plan.seconds[0] <= vram_advice.STREAMING
    for most in found.most:
        assert most.width * most.height * most.batch >= 1024 * 1024


def test_more_of_a_card_is_never_advised_a_smaller_type() -> None:
    ranks = []
    for gib in range(5, 25):
        idle = gib * GIB - (1000 << 20)
        found = vram_advice.advise(gib * GIB, idle, Launch(), Picture(1024, 1024), 64 * GIB)
        ranks.append(vram_models.BY_QUALITY.index(found.chosen.kind))
    whole = [rank for rank in ranks if rank <= vram_models.BY_QUALITY.index(FileType.Q4_K_S)]
    assert len(whole) >= 15


def test_what_the_machine_cannot_hold_is_not_advised() -> None:
    large = vram_advice.advise(24 * GIB, 23 * GIB, Launch(), Picture(1024, 1024), 64 * GIB)
    small = vram_advice.advise(24 * GIB, 23 * GIB, Launch(), Picture(1024, 1024), 12 * GIB)
    assert small.chosen.plan.sampling.size < large.chosen.plan.sampling.size


def test_flags_that_do_not_help_are_named_where_a_host_has_them() -> None:
    launch = Launch(state=VramState.LOW, smart=False)
    found = vram_advice.advise(6 * GIB, 5 * GIB, launch, Picture(1024, 1024))
    told = [flag.what for flag in found.flags]
    assert "leave --lowvram out" in told
    assert "leave --disable-smart-memory out" in told


def test_readmes_table_is_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    _, said = vram(capsys, "--table")
    assert said.strip() in (ROOT / "README.md").read_text()


def test_the_table_tells_exact_sizes_of_files(tmp_path: Path) -> None:
    rows = {row.kind: row for row in vram_table.rows(Launch())}
    file = hollow_flux(tmp_path / "a.gguf", FileType.Q4_K_S)
    assert rows["Q4_K_S"].file == file.stat().st_size
    assert list(rows["Q4_K_S"].streamed) == [6, 8, 12, 16, 24]
    for row in rows.values():
        moved = list(row.streamed.values())
        assert moved == sorted(moved, reverse=True)


def test_the_table_is_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    _, said = vram(capsys, "--table", "--json")
    assert {row["kind"] for row in json.loads(said)["rows"]} >= {"Q4_K_S", "Q8_0", "F16"}
