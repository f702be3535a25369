"""The director as a user runs it: the real command, the real embedded host, the real files."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from PIL import Image

from core import png_text
from core.job import State
from core.journal import Journal

ROOT = Path(__file__).resolve().parents[1]
DIRECTOR = [sys.executable, str(ROOT / "core" / "director.py")]
Eventually = Callable[..., None]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay the micro set out and make its GGUF once, by the commands a user would type."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-m", "models.micro", str(folder)], cwd=ROOT, check=True)
    source = folder / "unet" / "vulcan-micro-F16.safetensors"
    subprocess.run([*DIRECTOR, "quantize", str(source), "--json"], check=True)
    return folder


@dataclass
class Site:
    """Folders of one test, and the directors started in them."""

    root: Path
    models: Path
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def command(self, *more: str) -> list[str]:
        folders = [f"--{name}={getattr(self, name)}" for name in ("inbox", "outbox", "models")]
        return [*DIRECTOR, "--host=embedded", *folders, *more]

    def start(self, *more: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            self.command(*more),
            cwd=self.root,
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def once(self) -> tuple[int, str]:
        process = self.start("--once")
        _, errors = process.communicate(timeout=100)
        return process.returncode, errors

    def environ(self) -> dict[str, str]:
        return {**os.environ, "VULCAN_STATE": str(self.state), "VULCAN_HOST__GRACE": "1"}

    def drop(self, name: str, text: str) -> None:
        self.inbox.mkdir(parents=True, exist_ok=True)
        (self.inbox / name).write_text(text)

    def pictures(self) -> list[Path]:
        return sorted(self.outbox.glob("*.png"))


@pytest.fixture
def site(tmp_path: Path, models: Path) -> Iterator[Site]:
    site = Site(tmp_path, models)
    yield site
    for process in site.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.convert("RGB").tobytes()


SMALL = "width: 64\nheight: 64\nsteps: 2\n"


def test_prompt_files_of_every_kind_become_pictures(site: Site) -> None:
    site.drop("a.txt", "# a comment\na red fox\n")
    site.drop("b.md", f"---\n{SMALL}lora: none\n---\na blue sea\n")
    site.drop("c.toml", 'prompt = "a tree"\nwidth = 64\nheight = 96\nsteps = 2\ncount = 2\n')
    site.drop("d.json", '{"prompt": "a boat", "negative": "rain", "steps": 2, "width": 64}')
    site.drop("e.yaml", f"{SMALL}prompts: [a moon, a sun]\n")
    code, errors = site.once()
    assert code == 0, errors
    names = [re.sub(r"^\d{4}-\d\d-\d\d_", "", path.name) for path in site.pictures()]
    assert names == [
        f"{n}.png" for n in ("a_001", "b_001", "c_001", "c_002", "d_001", "e_001", "e_002")
    ]
    assert sorted(p.name for p in (site.inbox / "done").iterdir()) == [
        "a.txt",
        "b.md",
        "c.toml",
        "d.json",
        "e.yaml",
    ]
    with Image.open(site.pictures()[2]) as picture:
        assert picture.size == (64, 96)


def test_a_picture_says_what_it_was_made_with(site: Site) -> None:
    site.drop("a.yaml", f"{SMALL}seed: 5\nprompt: a fox\n")
    assert site.once()[0] == 0
    texts = png_text.texts(site.pictures()[0].read_bytes())
    record, graph = json.loads(texts["vulcan"]), json.loads(texts["prompt"])
    assert record["request"]["seed"] == 5
    assert record["request"]["prompt"] == "a fox"
    manifest = json.loads(next((site.state / "manifests").iterdir()).read_text())
    assert record["unet_sha256"] == manifest["unet_sha256"]
    assert record["lora_sha256"] == {lora["file"]: lora["sha256"] for lora in manifest["loras"]}
    assert manifest["loras"][0]["trigger_words"] == ["vulcan"]
    samplers = [node for node in graph.values() if node["class_type"] == "KSampler"]
    assert samplers[0]["inputs"]["seed"] == 5
    assert "/" not in str([node["inputs"].get("filename_prefix") for node in graph.values()])


def test_pictures_differ_by_prompt_seed_and_strength_and_repeat_to_the_byte(site: Site) -> None:
    prompt = "{prompt: a vulcan, seed: 1, lora: none}"
    others = [
        "{prompt: a red star, seed: 1, lora: none}",
        "{prompt: a vulcan, seed: 2, lora: none}",
        "{prompt: a vulcan, seed: 1, lora: {name: vulcan-micro-lora, strength: 0.5}}",
        "{prompt: a vulcan, seed: 1, lora: {name: vulcan-micro-lora, strength: 1}}",
    ]
    site.drop("a.yaml", f"{SMALL}prompts: [{prompt}, {', '.join(others)}]\n")
    assert site.once()[0] == 0
    site.drop("b.yaml", f"{SMALL}prompts: [{prompt}, {others[3]}]\n")
    assert site.once()[0] == 0
    *first, again, again_lora = site.pictures()
    assert len({pixels(path) for path in first}) == 5
    assert again.read_bytes() == first[0].read_bytes()
    assert again_lora.read_bytes() == first[4].read_bytes()


def test_a_bad_file_goes_to_failed_with_its_line_and_the_others_are_made(site: Site) -> None:
    site.drop("bad.toml", 'prompt = "x"\nsteps = "many"\n')
    site.drop("lora.yaml", "prompt: x\nlora: nobody\n")
    site.drop("flow.yaml", "prompt: x\nworkflow: nothing\n")
    site.drop("good.yaml", f"{SMALL}prompt: a fox\n")
    code, errors = site.once()
    assert code == 1
    assert "Traceback" not in errors
    failed = site.inbox / "failed"
    assert "line 2" in (failed / "bad.toml.error.md").read_text()
    assert "nobody" in (failed / "lora.yaml.error.md").read_text()
    assert "nothing" in (failed / "flow.yaml.error.md").read_text()
    assert len(site.pictures()) == 1


def test_kill_9_in_the_middle_of_ten_jobs_loses_none_and_makes_none_twice(
    site: Site, eventually: Eventually
) -> None:
    site.drop("ten.yaml", f"{SMALL}seed: 100\ncount: 10\nprompt: a fox\n")
    for wanted in (1, 4):
        director = site.start()
        eventually(lambda wanted=wanted: len(site.pictures()) >= wanted, 60)
        director.send_signal(signal.SIGKILL)
        director.wait()
    assert len(site.pictures()) < 10, "killed too late to prove anything"
    code, errors = site.once()
    assert code == 0, errors
    seeds = [
        json.loads(png_text.texts(path.read_bytes())["vulcan"])["request"]["seed"]
        for path in site.pictures()
    ]
    assert seeds == list(range(100, 110))
    assert not list(site.outbox.glob("*.part"))
    assert not list((site.state / "host" / "output" / "vulcan").iterdir()), "copies are left"
    assert [path.name for path in (site.inbox / "done").iterdir()] == ["ten.yaml"]


def test_the_embedded_host_never_outlives_its_director(site: Site, eventually: Eventually) -> None:
    director = site.start()
    hosts: list[psutil.Process] = []

    def host_is_there() -> bool:
        hosts[:] = [
            child
            for child in psutil.Process(director.pid).children(recursive=True)
            if "host" in child.cmdline()
        ]
        return bool(hosts)

    eventually(host_is_there, 30)
    director.send_signal(signal.SIGKILL)
    director.wait()
    eventually(lambda: not hosts[0].is_running(), 10)


def test_a_killed_host_is_started_again_and_its_job_made_once(
    site: Site, eventually: Eventually
) -> None:
    site.drop("six.yaml", f"{SMALL}count: 6\nprompt: a fox\n")
    director = site.start("--once")
    eventually(lambda: site.pictures(), 60)
    for child in psutil.Process(director.pid).children(recursive=True):
        child.kill()
    director.communicate(timeout=90)
    assert director.returncode == 0
    assert len(site.pictures()) == 6


def test_files_dropped_while_it_runs_are_made(site: Site, eventually: Eventually) -> None:
    site.start()
    eventually(lambda: (site.inbox / ".claimed").is_dir(), 20)
    site.drop("late.yaml", f"{SMALL}prompt: a fox\n")
    eventually(lambda: site.pictures(), 60)


def test_the_first_interrupt_ends_well_and_leaves_the_rest_for_later(
    site: Site, eventually: Eventually
) -> None:
    site.drop("many.yaml", "width: 128\nheight: 128\nsteps: 30\ncount: 8\nprompt: a fox\n")
    director = site.start()
    eventually(lambda: site.pictures(), 60)
    director.send_signal(signal.SIGINT)
    _, errors = director.communicate(timeout=60)
    assert director.returncode == 130, errors
    assert "Traceback" not in errors
    journal = Journal(site.state, time.time)
    counts = journal.counts()
    journal.close()
    assert counts[State.DONE] == len(site.pictures())
    assert counts[State.DONE] + counts[State.QUEUED] == 8


def test_a_second_director_on_the_same_state_is_refused(site: Site, eventually: Eventually) -> None:
    first = site.start()
    eventually(lambda: (site.state / "journal.sqlite").exists(), 20)
    code, errors = site.once()
    assert code == 1
    assert str(first.pid) in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host=nowhere"], "expected auto, embedded or a URL"),
        (["--config=missing.toml"], "cannot be read"),
        (["quantize", "missing.safetensors"], "missing.safetensors"),
        (["quantize", str(ROOT / "README.md")], "safetensors"),
        (["quantize", str(ROOT / "README.md"), "--type=Q9"], "no file type Q9"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    result = subprocess.run(
        [*DIRECTOR, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_lora_of_another_model_stops_the_run_before_any_job(site: Site, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[lora]\nfile = "vulcan-micro-F16"\n')
    target = site.models / "loras" / "vulcan-micro-F16.safetensors"
    target.symlink_to(site.models / "unet" / "vulcan-micro-F16.safetensors")
    try:
        site.drop("a.txt", "a fox\n")
        process = site.start("--once", f"--config={tmp_path / 'own.toml'}")
        _, errors = process.communicate(timeout=60)
    finally:
        target.unlink()
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "LoRA" in errors
    assert site.pictures() == []


def test_it_works_from_any_folder_and_help_needs_no_settings(tmp_path: Path) -> None:
    result = subprocess.run(
        [*DIRECTOR, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "quantize" in result.stdout
    assert "exit codes" in result.stdout


def test_the_running_director_has_no_torch_in_it(site: Site, eventually: Eventually) -> None:
    director = site.start()
    site.drop("a.yaml", f"{SMALL}prompt: a fox\n")
    eventually(lambda: site.pictures(), 60)
    maps = Path(f"/proc/{director.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert "numpy" not in maps
    assert psutil.Process(director.pid).memory_info().rss < 100e6


def test_pictures_are_whole_files(site: Site) -> None:
    site.drop("a.yaml", f"{SMALL}prompt: a fox\n")
    assert site.once()[0] == 0
    content = site.pictures()[0].read_bytes()
    assert png_text.is_whole(content)
    Image.open(io.BytesIO(content)).load()
