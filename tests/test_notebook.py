"""The Kaggle notebook as a file: what is in it, and that it needs nothing else."""

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.micro import spec
from training import recipe
from training.kaggle import known_files, model_file, notebook, source_archive
from training.kaggle.model_file import Role
from training.kaggle.preflight import Accelerator
from training.recipe import Preset
from training.run_plan import Backend, Plan

Q4_K_S = "75bb19459b5240c9f373b5af527584af15b675867fa142efadf7478d6abbf62b"
PLAN = Plan(
    name="ohwx",
    trigger="ohwx woman",
    preset=Preset.CHARACTER,
    backend=Backend.GGUF,
    base_name="flux1-dev-Q4_K_S.gguf",
    base_sha256=Q4_K_S,
    recipe=recipe.load(Preset.CHARACTER, {}),
)
LARGEST = 1_000_000  # bytes: Kaggle's editor takes no larger notebook


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(notebook.build(PLAN))
    return table


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(io.BytesIO(source_archive.make().content)).extractall(folder)
    return folder


def cell(table: dict[str, Any], name: str) -> str:
    (found,) = [one for one in table["cells"] if one["id"] == name]
    return "".join(found["source"])


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python where only the unpacked source is to be found."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=kept, capture_output=True, text=True, timeout=100, check=False
    )


# --- the file ---


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    notebook.write(tmp_path / "a.ipynb", PLAN)
    assert (tmp_path / "a.ipynb").read_text() == notebook.build(PLAN)
    assert notebook.build(PLAN, max_runtime=60) != notebook.build(PLAN)


def test_it_is_a_notebook_that_kaggle_takes(built: dict[str, Any]) -> None:
    nbformat.validate(nbformat.from_dict(built))  # type: ignore[no-untyped-call] # its own
    assert len(json.dumps(built)) < LARGEST
    for one in built["cells"]:
        if one["cell_type"] == "code":
            compile("".join(one["source"]), one["id"], "exec")
            assert not one["outputs"]


def test_a_person_is_told_of_each_step_before_it(built: dict[str, Any]) -> None:
    names = [one["id"] for one in built["cells"]]
    for name in ("parameters", "source", "preflight", "install", "assets", "resume", "train"):
        assert names[names.index(name) - 1] == f"{name}-about"
    assert "GPU T4 x2" in cell(built, "about")
    assert "HF_TOKEN" in cell(built, "about")


def test_the_template_alone_trains_nothing() -> None:
    template = json.loads(notebook.TEMPLATE.read_text())
    assert 'SOURCE = ""' in cell(template, "source")
    tags = [tag for one in template["cells"] for tag in one["metadata"].get("tags", ())]
    assert sorted(tags) == ["parameters", "source", "unpack"]


@given(trigger=st.text(min_size=1, max_size=100), pictures=st.text(max_size=20))
def test_any_trigger_word_arrives_as_it_was_written(trigger: str, pictures: str) -> None:
    plan = PLAN.model_copy(update={"trigger": trigger})
    text = notebook._parameters(plan, 3600.0, known_files.of(plan), Accelerator.T4, pictures)
    told: dict[str, Any] = {}
    exec(text, told)
    assert Plan.model_validate_json(json.dumps(told["PLAN"])) == plan
    assert model_file.from_table(told["FILES"]) == known_files.of(plan)
    assert (told["MAX_RUNTIME"], told["ACCELERATOR"]) == (3600, "NvidiaTeslaT4")
    assert told["PICTURES"] == pictures


# --- the model files ---


def test_a_public_base_is_known_by_its_bytes_whatever_it_is_called() -> None:
    plan = PLAN.model_copy(update={"base_name": "mine.gguf"})
    (base,) = known_files.of(plan)[Role.UNET]
    assert (base.name, base.repo, base.path) == (
        "mine.gguf",
        "city96/FLUX.1-dev-gguf",
        "flux1-dev-Q4_K_S.gguf",
    )


def test_a_base_that_nobody_published_has_no_repository() -> None:
    (base,) = known_files.of(PLAN.model_copy(update={"base_sha256": "ab" * 32}))[Role.UNET]
    assert not base.repo


def test_no_file_but_the_base_needs_a_token_first() -> None:
    files = known_files.of(PLAN)
    assert not any(files[role][0].gated for role in Role)
    assert {file.sha256 for file in files[Role.VAE]} == {files[Role.VAE][0].sha256}
    assert all(len(file.sha256) == 64 for choices in files.values() for file in choices)


def test_the_micro_flux_runs_without_a_gpu_on_the_shipped_files() -> None:
    plan = PLAN.model_copy(update={"base_name": spec.UNET_FILE, "base_sha256": ""})
    text = notebook.build(plan)
    assert 'ACCELERATOR = \\"none\\"' in text
    assert not any(file.repo for choices in known_files.of(plan).values() for file in choices)


def test_a_damaged_list_of_files_is_refused() -> None:
    with pytest.raises(ValueError, match="FILES is damaged"):
        model_file.from_table({"unet": [{"name": "a"}]})


# --- the source ---


def test_the_archive_is_the_same_each_time_and_holds_code_alone() -> None:
    made = source_archive.make()
    assert made == source_archive.make()
    assert made.sha256 == hashlib.sha256(made.content).hexdigest()
    kinds = {Path(name).suffix for name in made.files if name not in source_archive.BESIDE}
    assert kinds == {".py"}
    assert not [name for name in made.files if name.startswith(("core/", "bridge/", "tests/"))]


def test_the_notebook_holds_the_archive(built: dict[str, Any]) -> None:
    told: dict[str, Any] = {}
    exec(cell(built, "source"), told)
    archive = base64.b64decode(told["SOURCE"])
    assert archive == source_archive.make().content
    assert hashlib.sha256(archive).hexdigest() == told["SOURCE_SHA256"]


def test_a_source_that_was_changed_is_not_unpacked(
    built: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULCAN_KAGGLE_TEMP", str(tmp_path))
    told: dict[str, Any] = {}
    exec(cell(built, "source"), told)
    told["SOURCE"] = told["SOURCE"].replace("A", "B", 1)
    with pytest.raises(ValueError, match="write the notebook anew"):
        exec(cell(built, "unpack"), told)
    assert not list(tmp_path.iterdir())


def test_the_unpacked_source_trains_by_itself(unpacked: Path) -> None:
    told = run(unpacked, "-m", "training", "--help")
    assert told.returncode == 0, told.stderr
    assert "--max-runtime" in told.stdout


def test_every_module_of_the_archive_can_be_imported_there(unpacked: Path) -> None:
    names = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in source_archive.make().files
        if name.endswith(".py")
    ]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"ours = [m.__file__ for n, m in sys.modules.items() if n in {names!r}]\n"
        f"assert all(f.startswith({str(unpacked.resolve())!r}) for f in ours), ours\n"
        "print(len(ours))\n"
    )
    told = run(unpacked, "-c", script)
    assert told.returncode == 0, told.stderr
    assert int(told.stdout.splitlines()[-1]) == len(names)


def test_before_packages_are_installed_only_the_standard_library_is_needed(unpacked: Path) -> None:
    script = (
        "import sys\n"
        "from training.kaggle.kernel_run import KernelRun\n"
        "from pathlib import Path\n"
        "outside = {name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(outside))\n"
    )
    told = run(unpacked, "-I", "-c", f"import sys; sys.path.insert(0, '.')\n{script}")
    assert told.returncode == 0, told.stderr
    loaded = set(eval(told.stdout))
    assert not loaded & {"pydantic", "torch", "PIL", "numpy", "huggingface_hub", "peft"}
