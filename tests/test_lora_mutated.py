"""500 LoRA files with something wrong: a clear error or a true result, and nothing dropped unsaid.

Each file is a good one that was mutated, by seed. What must hold for every one of them is written
down in check(); it uses the safetensors package and tests/lora_kit.py, not our own reading.
"""

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from core import arguments, lora_command, lora_inspection
from models import lora, lora_fit, lora_keys, safetensors_file
from models.errors import ModelError
from quantize import lora_convert, lora_cut
from quantize.errors import QuantizeError
from tests import lora_kit, model_files
from tests.lora_kit import MINI, NAMINGS, SHAPES
from tests.model_files import Array

FILES = 500
Arrays = dict[str, Array]
Change = Callable[[Arrays, random.Random], None]


def some(arrays: Arrays, dice: random.Random, end: str = "") -> str:
    return dice.choice([name for name in arrays if name.endswith(end)] or list(arrays))


def drop(arrays: Arrays, dice: random.Random) -> None:
    del arrays[some(arrays, dice)]


def rename(arrays: Arrays, dice: random.Random) -> None:
    name = some(arrays, dice)
    pairs = [
        *(("transformer.", "transfomer."), ("lora_unet_", "lora_unet"), ("0", "9"), ("1", "0")),
        *(("lora_A", "lora_C"), ("up", "down"), ("lora_down", "lora_A"), (".weight", "")),
        *(("attn", "attention"), ("blocks", "block"), ("diffusion_model.", ""), ("to_q", "to_k")),
    ]
    old, new = dice.choice(pairs)
    arrays[name.replace(old, new, 1)] = arrays.pop(name)


def rename_all(arrays: Arrays, dice: random.Random) -> None:
    old, new = dice.choice(
        [("transformer.", ""), ("lora_unet_", "lycoris_"), ("_", "."), (".", "_")]
    )
    for name in list(arrays):
        arrays[name.replace(old, new, 1)] = arrays.pop(name)


def twice(arrays: Arrays, dice: random.Random) -> None:
    """The same rows by another naming's name."""
    naming = NAMINGS[dice.choice(sorted(NAMINGS))]
    stems = naming.stems()
    stem = dice.choice(sorted(stems))
    arrays |= lora_kit.weights(naming, {stem: stems[stem]}, rank=3, seed=dice.randrange(99))


def turn(arrays: Arrays, dice: random.Random) -> None:
    name = some(arrays, dice, "weight")
    arrays[name] = arrays[name].T


def cut(arrays: Arrays, dice: random.Random) -> None:
    name = some(arrays, dice, "weight")
    if arrays[name].ndim:
        axis = dice.randrange(arrays[name].ndim)
        kept = range(min(dice.randrange(3), arrays[name].shape[axis]))
        arrays[name] = np.take(arrays[name], kept, axis)


def bend(arrays: Arrays, dice: random.Random) -> None:
    name = some(arrays, dice)
    shape = dice.choice([(-1,), (1, -1), (1, 1, -1), (-1, 1, 1, 1)])
    arrays[name] = arrays[name].reshape(shape)


def spoil(arrays: Arrays, dice: random.Random) -> None:
    name = some(arrays, dice)
    if arrays[name].size:
        array = arrays[name].copy()
        array.reshape(-1)[dice.randrange(array.size)] = dice.choice([np.nan, np.inf, -np.inf])
        arrays[name] = array


def alpha(arrays: Arrays, dice: random.Random) -> None:
    key = lora_keys.split(some(arrays, dice, "weight"))
    if key:
        value = dice.choice([0.0, -1.0, np.nan, np.inf, 6e4, 1e-7, 2.0])
        arrays[f"{key.stem}.alpha"] = np.array(value, np.float32)


def relative(arrays: Arrays, dice: random.Random) -> None:
    stem = some(arrays, dice).split(".lora")[0]
    marks = ["dora_scale", "lokr_w1", "hada_w1_a", "lora_mid.weight", "diff", "oft_blocks"]
    arrays[f"{stem}.{dice.choice(marks)}"] = np.zeros(3, np.float32)


def add(arrays: Arrays, dice: random.Random) -> None:
    names = ["junk", "lora_te1_x.lora_down.weight", "text_encoder.y.lora_A.weight", "", "a" * 300]
    arrays[dice.choice(names)] = np.zeros((2, 2), np.float32)


CHANGES: list[Change] = [
    *(drop, rename, rename_all, twice, turn, cut, bend, spoil, alpha, relative, add),
]


def damage(content: bytes, dice: random.Random) -> bytes:
    """Break the bytes themselves."""
    data = bytearray(content)
    match dice.randrange(5):
        case 0:
            return bytes(data[: dice.randrange(len(data))])
        case 1:
            return bytes(data) + b"\0" * dice.randrange(1, 9)
        case 2:
            data[dice.randrange(8)] ^= 1 << dice.randrange(8)
        case 3:
            header = int.from_bytes(data[:8], "little")
            data[8 + dice.randrange(header)] = dice.randrange(256)
        case _:
            data[dice.randrange(len(data))] ^= 0xFF
    return bytes(data)


def mutated(seed: int, folder: Path) -> Path:
    """The file of a seed."""
    dice = random.Random(seed)
    naming = NAMINGS[dice.choice(sorted(NAMINGS))]
    stems = naming.stems()
    chosen = {stem: stems[stem] for stem in dice.sample(sorted(stems), min(6, len(stems)))}
    kind = dice.choice([np.float32, np.float16])
    arrays = lora_kit.weights(
        naming, chosen, rank=dice.randint(1, 5), alpha=dice.choice([None, 2.0]), dtype=kind
    )
    metadata = {"lora_adapter_metadata": dice.choice(["{", "[]", '{"transformer.lora_alpha": 1}'])}
    for _ in range(dice.randint(0, 2)):
        dice.choice(CHANGES)(arrays, dice)
    path = folder / f"{seed}.safetensors"
    if not arrays:
        path.write_bytes(b"")
        return path
    model_files.write(path, arrays, metadata if dice.random() < 0.1 else None)
    if dice.random() < 0.3:
        path.write_bytes(damage(path.read_bytes(), dice))
    return path


def check(path: Path) -> str:
    """What must hold for any file; returns what became of it."""
    read = read_or_refused(path)
    if isinstance(read, ModelError):
        said_clearly(read)
        assert str(path) in str(read)
        return "refused"
    nothing_is_dropped(read)
    fit = lora_fit.judge(read, SHAPES)
    if holds_what_is_no_number(read):
        assert not lora_inspection.inspect(path, MINI).sound
        return "found"
    if not fit.findings:
        lora_kit.assert_same(by_names(path), lora_kit.of_layers(read))
        assert len(fit.applied) == fit.total
    return "accepted" if not fit.findings else "found"


def read_or_refused(path: Path) -> lora.LoraFile | ModelError:
    try:
        return lora.read(path, MINI)
    except ModelError as error:
        return error


def said_clearly(error: ModelError | QuantizeError) -> None:
    assert error.what
    assert error.why
    assert error.fix


def holds_what_is_no_number(read: lora.LoraFile) -> bool:
    arrays = load_file(read.path)
    infos = [info for layer in read.layers for info in (layer.down, layer.up)]
    return not all(np.isfinite(arrays[info.name]).all() for info in infos)


def nothing_is_dropped(read: lora.LoraFile) -> None:
    """Every tensor of the file is a layer's, a text encoder's, or said to be unmatched."""
    names = {name for layer in read.layers for name in (layer.down.name, layer.up.name)}
    stems = {key.stem for name in names if (key := lora_keys.split(name))}
    with_alpha = sum(layer.alpha is not None for layer in read.layers)
    alphas = {
        name for name in safetensors_file.read_header(read.path).names if is_alpha(name, stems)
    }
    assert len(alphas) == with_alpha
    every = sorted([*names, *alphas, *read.unmatched, *read.text_encoder])
    assert every == sorted(safetensors_file.read_header(read.path).names)


def is_alpha(name: str, stems: set[str]) -> bool:
    return name.endswith(".alpha") and name.removesuffix(".alpha") in stems


def by_names(path: Path) -> lora_kit.Deltas:
    """What all namings together make of the file, added up: as ComfyUI adds patches."""
    arrays, total = load_file(path), lora_kit.Deltas()
    for name in lora_kit.IN_COMFYUI:
        for tensor, delta in lora_kit.meant(NAMINGS[name], arrays).items():
            total[tensor] = total[tensor] + delta if tensor in total else delta
    return total


def converted(path: Path, target: Path) -> bool:
    """Convert it, or be refused with a reason; what comes out changes what went in."""
    refusal = conversion_refused(path, target)
    if refusal:
        said_clearly(refusal)
        return False
    changed = lora_kit.of_layers(lora.read(path, MINI))
    lora_kit.assert_same(changed, lora_kit.of_converted(target), 2e-3)  # halves, rounded once more
    return True


def conversion_refused(path: Path, target: Path) -> ModelError | QuantizeError | None:
    try:
        lora_convert.convert(lora_cut.plan(lora.read(path, MINI)), target, force=True)
    except (ModelError, QuantizeError) as error:
        return error
    return None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("mutated")
    return [mutated(seed, folder) for seed in range(FILES)]


def test_five_hundred_mutated_files_give_a_clear_error_or_the_true_result(
    files: list[Path],
) -> None:
    outcomes = [check(path) for path in files]
    counts = {kind: outcomes.count(kind) for kind in ("refused", "found", "accepted")}
    # The mutations must reach everything that is claimed, or this test proves nothing.
    assert min(counts.values()) >= FILES // 20, counts


def test_none_of_them_is_converted_into_something_else(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)  # 200 files need not survive a power cut
    done = [converted(path, tmp_path / "out.safetensors") for path in files]
    assert FILES // 10 <= sum(done) <= FILES - FILES // 10
    assert {path.name for path in tmp_path.iterdir()} == {"out.safetensors"}


def test_the_command_survives_all_of_them(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unet = model_files.write(tmp_path / "unet.safetensors", model_files.flux_arrays(MINI))
    codes = set()
    for path in files[::5]:
        for action in (("check", "--unet", str(unet)), ("inspect",), ("inspect", "--json")):
            codes.add(ran(arguments.parse(["lora", action[0], str(path), *action[1:]])))
    assert codes == {0, 1}
    assert "Traceback" not in capsys.readouterr().out


def ran(chosen: argparse.Namespace) -> int:
    try:
        return lora_command.run(chosen)
    except (ModelError, QuantizeError):
        return 1
