"""What is found in a set as a whole."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset_kit import measurement
from training.dataset import set_checks
from training.dataset.faces import Box
from training.dataset.finding import Severity
from training.dataset.measurement import Measurement
from training.dataset.set_checks import Framing
from training.recipe import Preset


def faced(file: str, height: int, count: int = 1) -> Measurement:
    return measurement(file, (512, 512), faces=(Box(100, 100, height, height),) * count)


def codes(measured: list[Measurement], preset: Preset = Preset.CHARACTER) -> list[str]:
    return [one.code for one in set_checks.check(measured, preset)]


def test_too_few_is_a_warning_and_fewer_than_usual_a_note() -> None:
    found = {count: list(set_checks.too_few(count, Preset.STYLE)) for count in (0, 7, 8, 29, 30)}
    assert [one.severity for one in found[7]] == [Severity.WARNING]
    assert [one.severity for one in found[8]] == [Severity.NOTE] == [found[29][0].severity]
    assert found[0] == found[30] == []


def test_the_same_bytes_are_duplicates_and_not_near_ones_too() -> None:
    measured = [measurement(f"{name}.png", sha256="00", likeness=1) for name in "abc"]
    assert codes(measured, Preset.STYLE) == ["too-few", "duplicate"]
    assert set_checks.duplicates(measured) == [("a.png", "b.png", "c.png")]


def test_six_bits_apart_look_the_same_and_seven_do_not() -> None:
    for bits, found in ((6, 1), (7, 0)):
        pair = [measurement("a", likeness=0), measurement("b", likeness=(1 << bits) - 1)]
        assert len(set_checks.alike(pair)) == found


def test_what_is_alike_through_a_third_is_one_group() -> None:
    chain = [measurement(str(step), likeness=(1 << 5 * step) - 1) for step in range(4)]
    (group,) = set_checks.alike(chain[::-1])
    assert {one.file for one in group} == {"0", "1", "2", "3"}


def test_the_same_hash_of_another_shape_is_not_alike() -> None:
    pair = [measurement("a", (900, 600), likeness=5), measurement("b", (2600, 800), likeness=5)]
    assert set_checks.alike(pair) == []


@given(st.lists(st.integers(0, 2**12 - 1), max_size=12))
def test_groups_are_disjoint_and_hold_all_that_is_near(hashes: list[int]) -> None:
    measured = [measurement(str(index), likeness=value) for index, value in enumerate(hashes)]
    groups = [{one.file for one in group} for group in set_checks.alike(measured)]
    assert sum(map(len, groups)) == len(set().union(*groups))
    for one, other in itertools.combinations(measured, 2):
        if (one.likeness ^ other.likeness).bit_count() <= 6:
            assert any({one.file, other.file} <= group for group in groups)


@pytest.mark.parametrize(
    ("height", "kind"),
    [(300, Framing.CLOSE_UP), (120, Framing.PORTRAIT), (40, Framing.FIGURE)],
)
def test_framing_follows_the_faces_share_of_the_height(height: int, kind: Framing) -> None:
    assert set_checks.framing(faced("a", height)) == kind


def test_one_framing_throughout_is_told_and_a_mix_is_not() -> None:
    alike = [faced(str(index), 300) for index in range(9)]
    assert "one-framing" in codes(alike)
    mixed = [faced(str(index), (300, 120, 40)[index % 3]) for index in range(9)]
    assert "one-framing" not in codes(mixed)
    assert "one-framing" not in codes(alike, Preset.STYLE)


def test_a_characters_missing_and_surplus_faces_are_told() -> None:
    faces = [faced(str(index), (300, 120, 40)[index % 3]) for index in range(9)]
    found = list(set_checks.faces([*faces, faced("two", 80, 2), measurement("none")]))
    assert [(one.code, one.files) for one in found] == [
        ("no-face", ("none",)),
        ("several-faces", ("two",)),
    ]


def test_a_set_without_any_face_gets_one_note() -> None:
    (found,) = set_checks.faces([measurement(str(index)) for index in range(9)])
    assert (found.code, found.files, found.severity) == ("no-faces", (), Severity.NOTE)
