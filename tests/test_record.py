import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.request import InputImage, LoraChoice
from core import record
from core.a1111 import Place
from core.provenance import Hashes, Provenance
from core.record import RecordError
from tests.sample_request import REQUEST

MADE = Provenance(
    Hashes("aa", {"l": "bb"}, {"c.safetensors": "cc"}, {"v.safetensors": "dd"}),
    "ee",
    "ComfyUI 0.3.64",
    {"pytorch": "2.9", "device": "cuda:0"},
)
FULL = replace(
    REQUEST,
    prompt="ein Fuchs im Schnee, \u4e2d \U0001f98a",
    template="ein {Fuchs|Hund} im Schnee",
    loras=(LoraChoice("l", 0.5),),
    sampler="heun",
    denoise=0.5,
    batch=2,
    image=InputImage("pose.png", "", "ff"),
    slots=(("upscale.factor", 2), ("11.text", "x"), ("on", True)),
    asked=("sampler",),
    cell=(("seed", "1"),),
)


def test_what_is_read_is_what_was_written() -> None:
    read = record.read(record.write(FULL, MADE, Place(2, 2)))
    assert read.request == FULL
    assert read.provenance == MADE
    assert read.place == Place(2, 2)


def test_the_record_depends_on_the_request_and_what_it_is_made_with_alone() -> None:
    text = record.write(FULL, MADE, Place())
    assert text == record.write(replace(FULL), replace(MADE), Place())
    assert text != record.write(replace(FULL, seed=2), MADE, Place())
    assert text != record.write(FULL, replace(MADE, host="ComfyUI 1"), Place())
    assert text.isascii()


def test_where_an_input_picture_lies_on_this_machine_is_not_told() -> None:
    there = replace(FULL, image=InputImage("pose.png", "/home/me/state/input/ff.png", "ff"))
    assert "/home/me" not in record.write(there, MADE, Place())


def test_a_record_of_the_first_form_is_read_and_says_less() -> None:
    old = json.dumps(
        {
            "request": json.loads(REQUEST.to_json()),
            "unet_sha256": "aa",
            "lora_sha256": {"l": "bb"},
            "host": "ComfyUI 0.3.64",
        }
    )
    read = record.read(old)
    assert read.request == REQUEST
    assert read.provenance == Provenance(Hashes("aa", {"l": "bb"}), "", "ComfyUI 0.3.64")
    assert read.vulcan == ""


def test_a_record_of_a_later_form_asks_for_an_update() -> None:
    entry = json.loads(record.write(REQUEST, MADE, Place()))
    with pytest.raises(RecordError, match="update Vulcan"):
        record.read(json.dumps({**entry, "version": record.FORM + 1}))


def test_keys_that_are_not_known_do_no_harm() -> None:
    entry = json.loads(record.write(REQUEST, MADE, Place()))
    entry["request"]["later"] = 1
    assert record.read(json.dumps({**entry, "more": {}})).request == REQUEST


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{}", '{"request": 1}', '{"request": {}}', "[" * 100_000, "9" * 5000, "{"],
)
def test_a_damaged_record_is_one_sentence(text: str) -> None:
    with pytest.raises(RecordError, match="damaged"):
        record.read(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(json.loads(REQUEST.to_json()))), value=JSON)
def test_a_foreign_value_anywhere_is_a_request_or_a_sentence(key: str, value: object) -> None:
    entry = json.loads(record.write(FULL, MADE, Place()))
    entry["request"][key] = value
    try:
        read = record.read(json.dumps(entry))
    except RecordError:
        return
    hash(read.request)  # whole and frozen to the last value
