"""Which layers stay on a card, with torch's meta device in its place: it computes shapes only."""

import argparse

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from host import card, residency
from host.__main__ import memory_size
from host.packed import Packed, PackedLinear
from models.tensor_types import TensorType

CPU, CARD = torch.device("cpu"), torch.device("meta")


def layer(rows: int, columns: int = 32) -> PackedLinear:
    """Q8_0: 34 bytes for 32 weights."""
    blocks = np.random.default_rng(rows).integers(0, 64, rows * columns // 32 * 34, dtype=np.uint8)
    packed = Packed(torch.from_numpy(blocks), TensorType.Q8_0, (rows, columns))
    return PackedLinear(packed, torch.ones(rows), torch.float32)


def model() -> nn.Sequential:
    return nn.Sequential(layer(32), nn.LayerNorm(32), layer(64), layer(96, 64))


def places(of: nn.Module) -> list[str]:
    return [one.weight.device.type for one in residency.layers(of)]


@given(st.lists(st.integers(1, 50), max_size=12), st.integers(0, 300))
def test_what_stays_has_room_and_nothing_more_would(sizes: list[int], room: int) -> None:
    stays = residency.chosen(sizes, room)
    taken = sum(sizes[index] for index in stays)
    assert taken <= room
    assert all(taken + size > room for index, size in enumerate(sizes) if index not in stays)


def test_the_largest_layers_stay_and_the_others_leave() -> None:
    net = model()
    assert residency.fit(net, CARD, 96 * 64 // 32 * 34) == 96 * 64 // 32 * 34
    assert places(net) == ["cpu", "cpu", "meta"]
    assert residency.resident(net, CARD) == 96 * 64 // 32 * 34
    residency.fit(net, CARD, 64 * 34)
    assert places(net) == ["cpu", "meta", "cpu"]


def test_a_layer_that_left_is_what_it_was() -> None:
    net, given = model(), torch.randn(3, 32)
    before = net[0](given)
    residency.fit(net, CARD, 1 << 30)
    assert set(places(net)) == {"meta"}
    assert residency.fit(net, CARD, 0) == 0
    assert torch.equal(net[0](given), before)


def test_a_layer_that_lies_elsewhere_computes_where_its_input_is() -> None:
    net = model()
    residency.settle(net, CARD)
    assert places(net) == ["cpu"] * 3
    made = net[2](torch.empty(3, 32, device=CARD))
    assert (made.device, made.shape) == (CARD, (3, 64))
    assert places(net) == ["cpu"] * 3


def test_all_but_packed_weights_settle_on_the_card() -> None:
    net = model()
    residency.settle(net, CARD)
    others = [
        value for name, value in net.named_parameters() if "bias" in name or name == "1.weight"
    ]
    assert {value.device for value in others} == {CARD}


def test_room_is_what_is_left_beside_what_will_be_computed() -> None:
    assert card.room(free=5, resident=3, needed=2) == 6
    assert card.room(free=1, resident=3, needed=9) == 0


@pytest.mark.parametrize(("text", "gib"), [("6GB", 6), ("5.5GiB", 5.5), (" 8 ", 8), ("6g", 6)])
def test_a_limit_is_read_as_cards_are_sold(text: str, gib: float) -> None:
    assert memory_size(text) == gib * (1 << 30)


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "many", "nan", "6TB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 6GB"):
        memory_size(text)
