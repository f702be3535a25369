import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import lora_metadata
from models.lora_metadata import About

KOHYA = {
    "ss_base_model_version": "flux1",
    "ss_network_module": "networks.lora_flux",
    "ss_output_name": "my style",
    "ss_steps": "2400",
    "ss_epoch": "10",
    "ss_num_train_images": "24",
    "ss_resolution": "(1024, 1024)",
    "ss_training_started_at": "1700000000.5",
    "ss_tag_frequency": json.dumps({"10_a": {"ohwx": 20, "hat": 3}, "5_b": {"ohwx": 4, "sea": 9}}),
    "sshs_model_hash": "ab" * 32,
    "modelspec.author": "None",
}
AI_TOOLKIT = {
    "software": json.dumps({"name": "ai-toolkit", "version": "0.7.3"}),
    "training_info": json.dumps({"step": 1500, "epoch": 4}),
    "name": "thing",
}


def test_what_kohyas_trainer_writes_is_understood() -> None:
    assert lora_metadata.read(KOHYA) == About(
        base="flux1",
        title="my style",
        made_by="kohya sd-scripts (networks.lora_flux)",
        date="1700000000.5",
        steps="2400",
        epochs="10",
        images="24",
        resolution="(1024, 1024)",
        tags=(("ohwx", 24), ("sea", 9), ("hat", 3)),
        recorded_hash="ab" * 32,
    )


def test_what_ai_toolkit_writes_is_understood() -> None:
    found = lora_metadata.read(AI_TOOLKIT)
    assert (found.made_by, found.steps, found.epochs) == ("ai-toolkit 0.7.3", "1500", "4")


@pytest.mark.parametrize(
    ("metadata", "made_by"),
    [
        ({"vulcan.base_file": "x"}, "Vulcan"),
        ({"ot_branch": "master"}, "OneTrainer"),
        ({"ss_steps": "1"}, "kohya sd-scripts, or a program that writes its metadata"),
        ({"lora_adapter_metadata": "{}"}, "diffusers"),
        ({}, ""),
    ],
)
def test_who_made_it_shows_in_the_keys(metadata: dict[str, str], made_by: str) -> None:
    assert lora_metadata.read(metadata).made_by == made_by


def test_control_characters_do_not_reach_the_terminal() -> None:
    found = lora_metadata.read({"ss_output_name": "a\x1b[31m\nb", "ss_steps": "7" * 5000})
    assert found.title == "a [31m b"
    assert len(found.steps) == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*KOHYA, *AI_TOOLKIT]),
        st.text(max_size=20) | json_values.map(json.dumps) | st.just("[" * 3000),
    )
)
def test_whatever_strangers_wrote_is_read_without_an_error(metadata: dict[str, str]) -> None:
    found = lora_metadata.read(metadata)
    assert all(text.isprintable() for text in (found.title, found.steps, found.made_by))
