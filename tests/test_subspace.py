import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.tensor_types import TensorType
from quantize import layer_proof, subspace
from quantize.layer_proof import LADDER, Attempt, LayerProof, finer

Floats = NDArray[np.float32]


def random(stream: np.random.Generator, *shape: int) -> Floats:
    return stream.standard_normal(shape).astype(np.float32)


def by_svd(up: Floats, down: Floats, error: Floats) -> tuple[float, float]:
    """Kept and error as they are defined, from the whole matrices."""
    delta = up.astype("f8") @ down.astype("f8")
    left, sizes, right = np.linalg.svd(delta, full_matrices=False)
    rank = int((sizes > 1e-6 * sizes[0]).sum())
    met = left[:, :rank].T @ error @ right[:rank].T
    kept = 1 + (error * delta).sum() / (delta * delta).sum()
    return float(kept), float(np.linalg.norm(met) / np.linalg.norm(delta))


def judged(up: Floats, down: Floats, error: Floats) -> Attempt:
    space = subspace.of(up, down)
    share = space.share((error @ space.directions.T).astype("f4"))
    return layer_proof.attempt(TensorType.Q4_K, [share])


@settings(max_examples=50, deadline=None)
@given(rank=st.integers(1, 12), seed=st.integers(0, 10_000), scale=st.floats(-3, 3))
def test_it_agrees_with_a_singular_value_decomposition(rank: int, seed: int, scale: float) -> None:
    stream = np.random.default_rng(seed)
    up = random(stream, 60, rank) * np.float32(10.0**scale)
    down = random(stream, rank, 48)
    error = (random(stream, 60, 48) - 0.3 * (up @ down)).astype(np.float32)
    found, (kept, wanted) = judged(up, down, error), by_svd(up, down, error)
    assert found.kept == pytest.approx(kept, rel=1e-4, abs=1e-4)
    assert found.error == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_terms_that_say_the_same_twice_make_no_second_direction() -> None:
    stream = np.random.default_rng(1)
    up, down = random(stream, 40, 3), random(stream, 3, 64)
    error = random(stream, 40, 64)
    twice = judged(np.hstack([up / 2, up / 2]), np.vstack([down, down]), error)
    once = judged(up, down, error)
    assert twice.kept == pytest.approx(once.kept, rel=1e-4)
    assert twice.error == pytest.approx(once.error, rel=1e-3)
    assert len(subspace.of(np.hstack([up, up]), np.vstack([down, down])).sizes) == 3


def test_it_does_not_matter_where_a_terms_length_lies() -> None:
    stream = np.random.default_rng(2)
    up, down = random(stream, 40, 3), random(stream, 3, 64)
    lengths = np.array([1e-6, 1.0, 1e6], "f4")
    error = random(stream, 40, 64)
    moved = judged(up * lengths, (down / lengths[:, None]).astype(np.float32), error)
    assert moved.error == pytest.approx(judged(up, down, error).error, rel=1e-3)


def test_a_change_that_is_lost_is_told() -> None:
    stream = np.random.default_rng(3)
    up, down = random(stream, 40, 3), random(stream, 3, 64)
    found = judged(up, down, -up @ down)
    assert found.kept == pytest.approx(0, abs=1e-5)
    assert found.error == pytest.approx(1, abs=1e-5)


def test_nothing_is_lost_of_nothing() -> None:
    zero = np.zeros((4, 2), "f4"), np.zeros((2, 8), "f4")
    share = subspace.of(*zero).share(np.ones((4, 0), "f4"))
    assert layer_proof.attempt(TensorType.Q4_K, [share]) == Attempt(TensorType.Q4_K, 1.0, 0.0)


@pytest.mark.parametrize("kind", TensorType)
def test_every_type_goes_up_to_exact_numbers(kind: TensorType) -> None:
    seen: list[TensorType] = []
    step = finer(kind, (512, 512))
    while step is not None:
        seen.append(step)
        step = finer(step, (512, 512))
    assert seen == sorted(seen, key=LADDER.index)
    assert seen[-1:] == ([] if kind is TensorType.F32 else [TensorType.F32])


def test_the_next_types_are_those_of_the_ladder_that_fit() -> None:
    assert finer(TensorType.Q4_K, (256, 256)) is TensorType.Q5_K
    assert finer(TensorType.Q5_K, (256, 256)) is TensorType.Q6_K
    assert finer(TensorType.Q3_K, (256, 256)) is TensorType.Q4_K
    assert finer(TensorType.Q4_0, (256, 96)) is TensorType.Q8_0
    assert finer(TensorType.BF16, (256, 100)) is TensorType.F16
    assert finer(TensorType.F32, (256, 256)) is None


def test_the_worst_layers_come_first() -> None:
    proofs = [
        LayerProof(str(kept), 0.1, 0.1, (Attempt(TensorType.Q4_K, kept, 0.1),))
        for kept in (0.99, 0.5, math.inf, 0.98)
    ]
    assert [proof.last.kept for proof in layer_proof.worst(proofs, 2)] == [0.5, 0.98]
    assert [proof.enough for proof in proofs] == [True, False, True, True]
