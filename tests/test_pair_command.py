"""``director.py pair`` as a user types it, killed at any moment, and its pairs drawn with."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import png_text, record
from core.pair_state import Sight
from models import store
from models.pair_shelf import PairShelf
from tests import doctor_site, model_files, random_lora
from tests.fake_host import FakeHost, serving
from tests.model_files import TINY

ROOT = Path(__file__).resolve().parents[1]
DIRECTOR = [sys.executable, str(ROOT / "core" / "director.py")]
SETTINGS = f"""
state = "state"
[folders]
inbox = "inbox"
outbox = "outbox"
models = "models"
[model]
source = "models/unet/{doctor_site.UNET}"
text_encoders = {list(doctor_site.ENCODERS)}
vae = "{doctor_site.VAE}"
[lora]
file = ""
[host]
models = "comfy"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    doctor_site.make_models(tmp_path)
    (tmp_path / "comfy" / "loras").mkdir(parents=True)
    (tmp_path / "my.toml").write_text(SETTINGS)
    return tmp_path


def director(root: Path, command: str, *more: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [*DIRECTOR, command, "--config=my.toml", *more],
        cwd=root,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_pair_is_made_shown_listed_and_removed(root: Path) -> None:
    assert "no pairs yet" in director(root, "pair").stdout
    made = json.loads(director(root, "pair", "a", "--lora", "l:0.5", "--json").stdout)
    assert (made["event"], made["name"], made["loras"][0]["strength"]) == ("paired", "a", 0.5)
    assert "in place of" in director(root, "pair", "a", "--lora=l").stdout
    shown = director(root, "pair", "a")
    assert shown.returncode == 0
    assert shown.stdout.count("there ") == 10
    listed = json.loads(director(root, "pair", "--json").stdout)
    assert (listed["name"], listed["state"], listed["default"]) == ("a", "there", False)
    assert "a  there" in director(root, "pair").stdout

    model_files.write(root / "models" / "loras" / "l.safetensors", random_lora.weights(TINY), {})
    published = root / "comfy" / "loras" / made["loras"][0]["file"]
    published.write_bytes(b"x")
    changed = director(root, "pair", "a")
    assert changed.returncode == 1
    assert "a: changed" in changed.stdout
    assert "--again" in changed.stdout
    assert director(root, "pair", "a", "--again").returncode == 0
    assert director(root, "pair").returncode == 0

    gone = json.loads(director(root, "pair", "a", "--remove", "--json").stdout)
    assert len(gone["removed"]) >= 10
    assert director(root, "pair", "a").returncode == 1


def test_what_cannot_be_meant_is_told_in_a_sentence(root: Path) -> None:
    for options, told in (
        (["--prune", "a"], "for all pairs"),
        (["--prune", "--remove"], "no other option"),
        (["a", "--remove", "--lora=l"], "no other option"),
        (["--lora=l"], "which pair"),
        (["a", "--again", "--lora=l"], "--again"),
        (["a", "--again"], "no pair 'a'"),
        (["a", "--lora=nothing"], "no model file"),
        (["a", "--lora=l", "--to=/no/such"], "no such folder"),
        (["a/b", "--lora=l"], "cannot be a pair's name"),
    ):
        done = director(root, "pair", *options)
        assert done.returncode == 1, options
        assert told in done.stderr, options
    assert list((root / "comfy").rglob("*.*")) == []


MAKER = """
import sys
from itertools import count
from pathlib import Path
from configs import settings
from core.pair_files import Wanted
from core.pair_making import PairMaker
from tests import model_files, random_lora
root = Path(sys.argv[1])
loaded = settings.load(root / "my.toml", {}, {})
maker = PairMaker(loaded, lambda what, share: None)
arrays = random_lora.weights(model_files.TINY)
for number in count(int(sys.argv[2])):
    lora = root / "dl" / "style.safetensors"
    model_files.write(lora, {name: array + number % 50 for name, array in arrays.items()})
    wanted = Wanted("a", loras=((str(lora), 1.0),), targets=(loaded.host.models,))
    maker.make(wanted)
    print(number, flush=True)
"""


@pytest.mark.timeout(300)
def test_a_kill_at_any_moment_leaves_the_old_pair_or_the_new_one(root: Path) -> None:
    chance = random.Random(7)
    comfy, models, number = root / "comfy", root / "models", 0
    sight, shelf = Sight(models, store.sha256), PairShelf(models)
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", MAKER, str(root), str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as maker:
            assert maker.stdout is not None
            assert maker.stdout.readline(), "it makes pairs after the last kill, too"
            time.sleep(chance.uniform(0, 0.15))
            maker.kill()
            number += 2 + len(maker.stdout.read().split())
        sight.checked(shelf.load("a"))
        for path in (*comfy.rglob("*.safetensors"), *comfy.rglob("*.gguf")):
            assert hashlib.sha256(path.read_bytes()).hexdigest()[:8] == path.stem[-8:]
    assert director(root, "pair", "--prune").returncode == 0
    left = {path.name for path in comfy.rglob("*") if path.is_file()}
    assert left == {name for _, name in shelf.load("a").names()} | {".vulcan-published.json"}


def test_jobs_are_drawn_with_their_pair_on_a_host_that_spells_like_windows(root: Path) -> None:
    (root / "models" / "loras" / "sub").mkdir()
    lora = root / "models" / "loras" / "sub" / "own.safetensors"
    model_files.write(lora, random_lora.weights(TINY), {"trigger_words": "zap"})
    (root / "comfy" / "loras" / "sub").mkdir()
    (root / "comfy" / "loras" / "sub" / "own.safetensors").write_bytes(lora.read_bytes())
    assert director(root, "pair", "a", "--lora=l:0.5").returncode == 0
    assert director(root, "pair", "b", "--lora=sub/own").returncode == 0
    host = FakeHost()
    host.catalogue.windows = True
    for kind in ("unet", "text_encoders", "vae", "loras"):
        host.catalogue.models[kind] = store.names(root / "comfy" / kind)
    (root / "inbox").mkdir()
    text = "prompt: a fox\nsteps: 2\ngrid: {pair: [a, b]}\n"
    (root / "inbox" / "fox.yaml").write_text(text)
    (root / "inbox" / "bad.md").write_text("---\npair: c\n---\na fox\n")
    with serving(host):
        done = director(root, "run", "--once", f"--host={host.url}", "--pair=a")
    assert done.returncode == 1, "one of the files was bad"
    error = (root / "inbox" / "failed" / "bad.md.error.md").read_text()
    assert "bad.md, line 2: pair: there is no pair 'c'" in error
    shelf = PairShelf(root / "models")
    first, second = sorted((root / "outbox").glob("*_00*.png"))
    for path, name in ((first, "a"), (second, "b")):
        pair = shelf.load(name)
        made = record.read(png_text.texts(path.read_bytes())["vulcan"])
        assert made.request.pair == name
        assert made.request.unet == pair.unet
        assert made.provenance.hashes.unet == pair.unet_sha256
        assert made.provenance.hashes.loras == {use.file: use.sha256 for use in pair.loras}
        assert len(made.provenance.hashes.text_encoders) == 2
    posted = [value["inputs"] for graph in host.graphs.values() for value in graph.values()]
    names = {inputs["lora_name"] for inputs in posted if "lora_name" in inputs}
    assert names == {shelf.load("a").loras[0].file, "sub\\own.safetensors"}
