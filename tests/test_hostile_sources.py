"""Thousands of damaged sources: each is refused with a sentence, at once, and nothing is left.

Everything goes through plan(), as the command does. Seeds are fixed: a failure comes again.
"""

import json
import os
import random
import resource
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest

from models import t5
from models.errors import ModelError
from models.flux import diffusers_pieces, tensor_shapes
from models.tensor_types import FileType
from quantize import convert
from quantize.errors import QuantizeError
from tests.model_files import TINY

Header = dict[str, Any]
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "BOOL": 1, "F64": 8}
HUGE = (2**31, 2**32 - 1, 2**53, 2**61, 2**62, 2**63, 2**64, 10**30, -1, -(2**40))
ODD: tuple[Any, ...] = (None, True, 1.5, "7", [], {}, [[]], "\ud800", float("nan"))
T5 = t5.T5Shape(words=40, width=256, inner=256, heads=4, buckets=32, mlp=256, layers=2)


def header_of(shapes: dict[str, tuple[int, ...]], dtype: str) -> Header:
    table: Header = {}
    position = 0
    for name, shape in shapes.items():
        end = position + SIZES[dtype] * volume(shape)
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    return table


def volume(shape: tuple[int, ...]) -> int:
    return prod(shape)


def diffusers_shapes() -> dict[str, tuple[int, ...]]:
    ours = tensor_shapes(TINY)
    return {n: (p.rows, *ours[p.tensor][1:]) for n, p in diffusers_pieces(TINY).items()}


SOUND = (
    header_of(tensor_shapes(TINY), "BF16"),
    header_of(diffusers_shapes(), "F16"),
    header_of({f"model.diffusion_model.{n}": s for n, s in tensor_shapes(TINY).items()}, "F8_E4M3"),
    header_of(t5.source_shapes(T5), "F16"),
)


def write(path: Path, text: bytes, data: int, length: int | None = None) -> None:
    """A file of a header and `data` bytes of nothing, which take no room."""
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + data)


def data_bytes(table: Header) -> int:
    return int(max(entry["data_offsets"][1] for entry in table.values()))


# --- what can be done to a header -----------------------------------------------------------------


def drop(table: Header, chance: random.Random) -> None:
    del table[chance.choice(list(table))]


def rename(table: Header, chance: random.Random) -> None:
    name = chance.choice(list(table))
    noise = "".join(chr(chance.choice((0, 10, 46, 0x2603, 0x1F600))) for _ in range(3))
    other = chance.choice([name[:-1], name + noise, "", "../" + name, "x" * 5000])
    table[other] = table.pop(name)


def swap_names(table: Header, chance: random.Random) -> None:
    a, b = chance.sample(list(table), 2)
    if table[a]["shape"] == table[b]["shape"]:
        table[a]["shape"] = [*table[a]["shape"], 1]  # the two would be the same again
    table[a], table[b] = table[b], table[a]


def lie_about_shape(table: Header, chance: random.Random) -> None:
    entry = table[chance.choice(list(table))]
    place = chance.randrange(len(entry["shape"]))
    entry["shape"][place] = chance.choice([*HUGE, 0, entry["shape"][place] + 1, *ODD])


def lie_about_offsets(table: Header, chance: random.Random) -> None:
    entry = table[chance.choice(list(table))]
    place = chance.randrange(2)
    entry["data_offsets"][place] = chance.choice(
        [*HUGE, *ODD, entry["data_offsets"][place] + chance.choice((-2, -1, 1, 2, 4096))]
    )


def lie_consistently(table: Header, chance: random.Random) -> None:
    """A shape that fits its bytes, but not the model."""
    matrices = [n for n, entry in table.items() if len(entry["shape"]) == 2]
    # Other numbers of distances and heads make another T5, and a whole one.
    name = chance.choice([n for n in matrices if "relative_attention_bias" not in n])
    rows, width = table[name]["shape"]
    table[name]["shape"] = chance.choice(
        [[rows * width], [rows * width, 1], [1, rows, width], [rows // 2, 2 * width]]
    )


def change_dtype(table: Header, chance: random.Random) -> None:
    entry = table[chance.choice(list(table))]
    entry["dtype"] = chance.choice(["F32", "I64", "F64", "F4", "", 7, None, "F8_E8M0", "BOOL"])


def change_entry(table: Header, chance: random.Random) -> None:
    name = chance.choice(list(table))
    key = chance.choice(["dtype", "shape", "data_offsets"])
    if chance.random() < 0.5:
        del table[name][key]
    else:
        table[name][key] = chance.choice([*ODD, [1, 2, 3], "BF16x", [2**70]])


def replace_entry(table: Header, chance: random.Random) -> None:
    table[chance.choice(list(table))] = chance.choice(ODD)


def empty_model(table: Header, chance: random.Random) -> None:
    """Every width is zero: consistent, and nothing at all."""
    for entry in table.values():
        entry["shape"] = [0 for _ in entry["shape"]]
        entry["data_offsets"] = [0, 0]


def add_strangers(table: Header, chance: random.Random) -> None:
    end = data_bytes(table)
    prefix = "model.diffusion_model." if "img_in.weight" not in table else ""
    for number in range(chance.choice((1, 3, 2000))):
        name = f"{prefix}stranger.{number}.scale_weight"
        table[name] = {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}


def skip_a_block(table: Header, chance: random.Random) -> None:
    """The blocks' numbers have a gap, or are beyond counting."""
    number = chance.choice(["7", "99999999999999999999", "00", "-1", "１"])
    for name in [n for n in table if ".0." in n]:
        table[name.replace(".0.", f".{number}.", 1)] = table.pop(name)


MUTATIONS: tuple[Callable[[Header, random.Random], None], ...] = (
    drop, rename, swap_names, lie_about_shape, lie_about_offsets, lie_consistently, change_dtype,
    change_entry, replace_entry, empty_model, add_strangers, skip_a_block,
)  # fmt: skip


def damaged_text(text: bytes, chance: random.Random) -> bytes:
    """The header's JSON with a few bytes changed, lost, doubled or cut off."""
    content = bytearray(text)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(1, len(content))
        match chance.randrange(4):
            case 0:
                content[place] = chance.randrange(256)
            case 1:
                del content[place : place + chance.randrange(1, 50)]
            case 2:
                content[place:place] = content[place : place + 40]
            case _:
                del content[place:]
                return bytes(content) or b"{"
    return bytes(content)


# --- the rules ------------------------------------------------------------------------------------


def planned(path: Path) -> str:
    """What plan() says: "" or its refusal, which must be a whole sentence on this file."""
    error = refusal(path)
    if error is None:
        return ""
    text = str(error)
    assert error.path is not None, text
    assert error.what, text
    assert error.why, text
    assert error.fix, text
    assert len(text) < 20_000, text[:200]
    assert text.encode(), "it can be printed"
    return text


def refusal(path: Path) -> ModelError | QuantizeError | None:
    try:
        convert.plan(path, path.with_name("never.gguf"), FileType.Q4_K_S)
    except (ModelError, QuantizeError) as error:
        return error
    return None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hostile.safetensors"


def memory() -> int:
    """Bytes of this process at the highest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def copied(table: Header) -> Header:
    copy: Header = json.loads(json.dumps(table))
    return copy


@pytest.mark.parametrize("number", range(len(SOUND)))
def test_the_headers_to_be_damaged_are_sound(path: Path, number: int) -> None:
    write(path, json.dumps(SOUND[number]).encode(), data_bytes(SOUND[number]))
    assert planned(path) == ""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.__name__)
def test_a_header_that_lies_is_refused(
    path: Path, mutation: Callable[[Header, random.Random], None]
) -> None:
    chance, before = random.Random(mutation.__name__), memory()
    for turn in range(150):
        table = SOUND[turn % len(SOUND)]
        size, table = data_bytes(table), copied(table)
        mutation(table, chance)
        write(path, json.dumps(table).encode("utf-8", "surrogatepass"), size)
        assert planned(path), f"{mutation.__name__}, turn {turn}, was accepted"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert memory() - before < 100e6


def test_damaged_bytes_are_refused_or_change_nothing_that_counts(path: Path) -> None:
    chance, refused = random.Random(7), 0
    for turn in range(600):
        table = SOUND[turn % len(SOUND)]
        text = json.dumps(table).encode()
        write(path, damaged_text(text, chance), data_bytes(table))
        refused += bool(planned(path))
    assert refused > 590  # a space for a space is no damage
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_truncated_file_is_refused_wherever_it_ends(path: Path) -> None:
    text = json.dumps(SOUND[0]).encode()
    write(path, text, data_bytes(SOUND[0]))
    size, chance = path.stat().st_size, random.Random(3)
    for end in [0, 1, 7, 8, 9, 8 + len(text), *(chance.randrange(size) for _ in range(200))]:
        write(path, text, data_bytes(SOUND[0]))
        os.truncate(path, end)
        assert planned(path), end


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**32, 2**62, 2**63, 2**64 - 1, 99_999_999])
def test_a_header_length_that_lies_is_refused_without_reading_on(path: Path, length: int) -> None:
    before = memory()
    write(path, json.dumps(SOUND[0]).encode(), data_bytes(SOUND[0]), length)
    assert planned(path)
    assert memory() - before < 50e6


def test_a_name_that_occurs_twice_is_refused(path: Path) -> None:
    text = json.dumps(SOUND[0])
    for name in list(SOUND[0])[:40]:
        double = text[:-1] + f', "{name}": {json.dumps(SOUND[0][name])}' + "}"
        write(path, double.encode(), data_bytes(SOUND[0]))
        assert "a name occurs twice" in planned(path)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_json_nested_without_end_is_refused(path: Path, opening: bytes) -> None:
    write(path, b'{"x":' + opening * 100_000, 0)
    assert "nested too deep" in planned(path)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_index_is_refused(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    shapes = list(diffusers_shapes().items())
    for number, name in enumerate(names):
        table = header_of(dict(shapes[number::3]), "F16")
        write(tmp_path / name, json.dumps(table).encode(), data_bytes(table))
    sound = {tensor: names[number % 3] for number, (tensor, _) in enumerate(shapes)}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": sound}))
    assert planned(index) == ""
    for _ in range(100):
        table = dict(sound)
        name = chance.choice(list(table))
        table[name] = chance.choice(
            [chance.choice([n for n in names if n != table[name]]), "/etc/passwd", "", None, 3,
             "../x.safetensors", "no.safetensors", "a\0.safetensors", ["x"], "\ud800.safetensors"]
        )  # fmt: skip
        index.write_text(json.dumps({"weight_map": table}))
        assert planned(index), table[name]
