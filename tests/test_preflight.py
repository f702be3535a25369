"""Which machines of Kaggle's a training begins on, and what is said of the others."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.kaggle import preflight
from training.kaggle.places import Places
from training.kaggle.preflight import Accelerator, Card, Machine, Needs
from training.kaggle.refusal import Code, RefusalError

GB = 1_000_000_000
# As nvidia-smi --query-gpu=name,compute_cap,memory.total --format=csv,noheader,nounits answers.
T4_TWICE = "Tesla T4, 7.5, 15360\nTesla T4, 7.5, 15360\n"
P100 = "Tesla P100-PCIE-16GB, 6.0, 16384\n"
L4 = "NVIDIA L4, 8.9, 23034\n"
K80 = "Tesla K80, 3.7, 11441\n"
SMALL = "NVIDIA GeForce RTX 2060, 7.5, 6144\n"
NONE = "No devices were found\n"
BROKEN = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that "
    "the latest NVIDIA driver is installed and running.\n"
)
OLD_DRIVER = 'Field "compute_cap" is not a valid field to query.\n'
GOOD = Machine((3, 11), preflight.parse_cards(T4_TWICE), 31 * GB, 60 * GB, 20 * GB)
NEEDS = Needs(Accelerator.T4, 16 * GB, 19 * GB, 4 * GB)


def test_two_t4_are_read_as_their_driver_tells_of_them() -> None:
    t4 = Card("Tesla T4", (7, 5), 15360 << 20)
    assert preflight.parse_cards(T4_TWICE) == (t4, t4)


@pytest.mark.parametrize("text", [T4_TWICE, L4])
def test_a_t4_or_newer_passes(text: str) -> None:
    preflight.judge(replace(GOOD, cards=preflight.parse_cards(text)), NEEDS)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (P100, Code.WRONG_GPU, "P100-PCIE-16GB.*no kernels.*sm_60.*GPU T4 x2.*NvidiaTeslaT4"),
        (K80, Code.WRONG_GPU, "K80.*sm_37"),
        (SMALL, Code.WRONG_GPU, "RTX 2060.*6.4 GB of memory, and 15.0 GB"),
        (T4_TWICE + P100, Code.WRONG_GPU, "P100"),
        (NONE, Code.NO_GPU, "no GPU.*accelerator is off.*GPU T4 x2"),
        (BROKEN, Code.NO_GPU, "no GPU"),
        (OLD_DRIVER, Code.NO_GPU, "no GPU"),
        ("", Code.NO_GPU, "no GPU"),
    ],
)
def test_other_cards_are_refused_with_what_to_choose(text: str, code: Code, said: str) -> None:
    with pytest.raises(RefusalError, match=said) as caught:
        preflight.judge(replace(GOOD, cards=preflight.parse_cards(text)), NEEDS)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("machine", "code", "said"),
    [
        (replace(GOOD, python=(3, 10)), Code.PYTHON, "Python 3.10 is too old"),
        (replace(GOOD, memory=13 * GB), Code.RAM, "memory: there are 13.0 GB, and 16.0 GB are"),
        (replace(GOOD, temp=5 * GB), Code.DISK, "room for the models: there are 5.0 GB"),
        (replace(GOOD, working=GB), Code.DISK, "room for the output"),
    ],
)
def test_what_is_too_little_is_told_with_both_numbers(
    machine: Machine, code: Code, said: str
) -> None:
    with pytest.raises(RefusalError, match=said) as caught:
        preflight.judge(machine, NEEDS)
    assert caught.value.code is code


def test_the_micro_flux_needs_no_card() -> None:
    preflight.judge(replace(GOOD, cards=()), replace(NEEDS, accelerator=Accelerator.NONE))


@given(st.text())
def test_whatever_the_driver_answers_is_read(text: str) -> None:
    assert all(isinstance(card, Card) for card in preflight.parse_cards(text))


def test_a_machine_is_looked_at_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(f"#!/bin/sh\ncat <<'END'\n{T4_TWICE}END\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:{os.environ['PATH']}")
    places = Places(tmp_path / "input", tmp_path / "working", tmp_path / "temp")
    machine = preflight.look(places)
    assert machine.cards == GOOD.cards
    assert machine.memory > GB
    assert machine.temp > 0 < machine.working
    assert "Tesla T4 (16.1 GB), Tesla T4 (16.1 GB)" in str(machine)


def test_a_torch_that_sees_no_card_is_found_out() -> None:
    """This machine's torch is the processor's."""
    import torch

    if torch.cuda.is_available():
        assert preflight.try_cuda()
        return
    with pytest.raises(
        RefusalError, match=r"torch cannot compute on the GPU.*sees no card"
    ) as caught:
        preflight.try_cuda()
    assert caught.value.code is Code.CUDA
