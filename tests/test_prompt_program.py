import contextlib
import random
import string
from collections import Counter
from pathlib import Path

import pytest
from dynamicprompts.generators import CombinatorialPromptGenerator
from dynamicprompts.wildcards import WildcardManager
from hypothesis import given, settings
from hypothesis import strategies as st

from core.prompt_combinations import Combinations
from core.prompt_draw import Draw
from core.prompt_parts import Parts, Scope
from core.prompt_program import Programs
from core.prompt_syntax import ProgramError
from core.wildcards import Wildcards


def programs(folder: Path | None = None) -> Programs:
    return Programs(Parts(Wildcards(folder) if folder else None))


def drawn(text: str, seed: int = 0, turn: int = 0, folder: Path | None = None) -> str:
    return programs(folder).draw(text, seed, turn, {})


def combined(text: str, folder: Path | None = None, at_most: int = 1000) -> list[str]:
    return list(programs(folder).combinations(text, 0, {}, at_most))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "animals.txt").write_text("# kept out\nfox\nowl\n\n{red|grey} cat 50%\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "trees.txt").write_text("oak\nelm\n")
    (tmp_path / "more.yaml").write_text("clothes:\n  winter: [coat]\n  summer: [shirt, hat]\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "all_"),
    [
        ("a {red|blue} car", ["a red car", "a blue car"]),
        ("{2$$a|b|c}", ["a,b", "a,c", "b,a", "b,c", "c,a", "c,b"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b", "b and a"]),
        ("{a|{b|c}} {d|e}", ["a d", "a e", "b d", "b e", "c d", "c e"]),
        ("{{a|b}|c}", ["a", "b", "c"]),
        ("${x={a|b}}${x} ${x}", ["a a", "a b", "b a", "b b"]),
        ("${x=!{a|b}}${x} ${x}", ["a a", "b b"]),
        ("${x:a} ${y={b|c}}${y}", ["a b", "a c"]),
        ("${x=a}${x?=b}${x}", ["a"]),
        ("%{x ... y$${a|b}}", ["x a y", "x b y"]),
        ("{a|a|b}", ["a", "b"]),
        ("{x|} tail", ["x tail", "tail"]),
        (r"50% {lit} $5 {a\|b|c} #", ["50% {lit} $5 a|b", "50% {lit} $5 c"]),
        ("(a:1.2) [b|c] {d|e} <x:1>", ["(a:1.2) [b|c] d <x:1>", "(a:1.2) [b|c] e <x:1>"]),
        ("my_var ${my_var={a_b|c}}${my_var}", ["my_var a_b", "my_var c"]),
    ],
)
def test_combinations_are_all_there_in_order(text: str, all_: list[str]) -> None:
    assert combined(text) == all_
    found = programs()
    assert {found.draw(text, seed, 0, {}) for seed in range(100)} == set(all_)


def test_wildcards_come_from_text_and_trees_and_may_hold_syntax(folder: Path) -> None:
    assert sorted(combined("a __animals__", folder)) == [
        "a fox",
        "a grey cat 50%",
        "a owl",
        "a red cat 50%",
    ]
    assert combined("__deep/trees__ __deep/*__", folder) == [
        "elm elm",
        "elm oak",
        "oak elm",
        "oak oak",
    ]
    assert combined("__deep/*__ or __deep/*__ */", folder)[0] == "elm or elm */"
    assert combined("${s={winter|summer}}__clothes/${s}__", folder) == ["coat", "hat", "shirt"]
    assert combined("{2$$ + $$__deep/trees__}", folder) == ["elm + oak", "oak + elm"]


def test_half_a_character_in_a_wildcard_file_is_replaced(folder: Path) -> None:
    (folder / "half.json").write_text('{"half": ["a \\ud800 b"]}')
    assert drawn("__half__", folder=folder) == "a ? b"


def test_the_same_seed_draws_the_same_for_ever() -> None:
    # Written down, not computed: these must not change with Python, platform or hash seed.
    text = "{a|b|c|d|e|f|g|h} {2$$ $$a|b|c|d}"
    assert [drawn(text, seed) for seed in (0, 1, 2, 2**64 - 1)] == [
        "g b c",
        "g b c",
        "h a d",
        "c c d",
    ]


def test_weights_weigh_also_when_several_are_drawn() -> None:
    found = programs()
    single = Counter(found.draw("{3::a|b|0::c}", seed, 0, {}) for seed in range(2000))
    assert single["c"] == 0
    assert 0.70 < single["a"] / 2000 < 0.80
    # The first of two is a with 1/6, b with 4/6, c with 1/6; a,c together are then rare.
    pairs = Counter(
        frozenset(found.draw("{2$$a|4::b|c}", seed, 0, {}).split(",")) for seed in range(3000)
    )
    both = 2 * (1 / 6) * (1 / 5)
    assert abs(pairs[frozenset("ac")] / 3000 - both) < 0.02


def test_turns_are_taken_from_image_to_image() -> None:
    assert [drawn("{@a|b|c}", 9, turn) for turn in range(4)] == ["a", "b", "c", "a"]


def test_a_grid_sets_variables_over_the_prompts_own() -> None:
    text = "${x={a|b}}${y:c} ${x}"
    assert programs().draw(text, 0, 0, {"x": "z", "y": "{q}"}) == "{q} z"
    assert list(programs().combinations(text, 0, {"x": "{m|n}"}, 9)) == ["c m", "c n"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${nothing}", "variable nothing is not set"),
        ("{2$$a|b} __ani__", "no wildcard ani in"),
        ("${x=${y=1}}", "not understood"),
        ("{|}", "empty prompt"),
        ("${x=${x}}${x}", "more than 20 deep"),
        ("__self__", "more than 20 deep"),
        ("__twins__", r"more than 20 deep|too much|characters"),
        ("${a={x|y}${a:}}${a}", "more than 20 deep"),
        ("__../secret__", "no wildcard"),
        ("__a(b__ {x|y}", "not understood"),
    ],
)
def test_what_cannot_be_drawn_says_why(folder: Path, text: str, says: str) -> None:
    (folder / "self.txt").write_text("__self__\n")
    (folder / "twins.txt").write_text("__twins__ __twins__\n")
    with pytest.raises(ProgramError, match=says):
        drawn(text, folder=folder)
    with pytest.raises(ProgramError, match=says):
        combined(text, folder)


def test_weights_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ProgramError, match="weights"):
        drawn("{0::a|0::b}")


def test_a_missing_wildcard_names_the_nearest_and_the_folder(folder: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        drawn("__animal__", folder=folder)
    assert "animals" in str(caught.value)
    assert str(folder) in str(caught.value)


def test_no_folder_and_no_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="is not there"):
        drawn("__a__", folder=tmp_path / "none")
    with pytest.raises(ProgramError, match="no wildcard files"):
        drawn("__a__", folder=tmp_path)
    with pytest.raises(ProgramError, match="no folder"):
        drawn("__a__")


def test_edited_wildcard_files_are_seen(folder: Path) -> None:
    wildcards = Wildcards(folder)
    assert len(wildcards.values("deep/trees")) == 2
    (folder / "deep" / "trees.txt").write_text("oak\nelm\nash tree\n")
    wildcards.refresh()
    assert len(wildcards.values("deep/trees")) == 3


def test_too_many_combinations_are_refused_with_their_number_at_once() -> None:
    with pytest.raises(ProgramError, match="has 1000000 combinations, and 100 images"):
        combined(" ".join(["{a|b|c|d|e|f|g|h|i|j}"] * 6), at_most=100)
    with pytest.raises(ProgramError, match="or more combinations"):
        combined(" ".join(["{a|b|c|d|e|f|g|h|i|j}"] * 60), at_most=100)
    with pytest.raises(ProgramError, match="has 1000000000000000 or more"):
        combined("{20$$" + "|".join(map(str, range(40))) + "}", at_most=100)


def test_growing_text_and_growing_wildcards_are_stopped(tmp_path: Path) -> None:
    laughs = "${a=ha ha}" + "".join(
        f"${{{b}=${{{a}}} ${{{a}}}}}"
        for a, b in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
    )
    for attempt in (drawn, combined):
        with pytest.raises(ProgramError, match="more than"):
            attempt(laughs + "${q}")
    for level in range(15):
        (tmp_path / f"w{level}.txt").write_text(
            f"__w{level + 1}__ __w{level + 1}__ __w{level + 1}__"
        )
    (tmp_path / "w15.txt").write_text("x")
    with pytest.raises(ProgramError, match=r"more than|too much"):
        drawn("__w0__", folder=tmp_path)
    with pytest.raises(ProgramError, match=r"more than|too much"):
        combined("__w0__", folder=tmp_path)


WORDS = st.sampled_from("abcdefghijklmnop")


def _variants(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    options = st.lists(inner, min_size=2, max_size=3)
    bound = st.sampled_from(["", "", "2$$", "1-2$$", "0-1$$", "2$$ and $$"])
    return st.builds(lambda b, o: "{" + b + "|".join(o) + "}", bound, options)


TEMPLATES = st.lists(st.recursive(WORDS, _variants, max_leaves=6), min_size=1, max_size=3).map(
    " ".join
)


def distinct(text: str) -> str:
    """Give every word of a template a letter of its own."""
    letters = iter(string.ascii_letters)
    plain = text.replace(" and ", " + ")
    return "".join(next(letters) if char.isalpha() else char for char in f"x{plain}")


@given(TEMPLATES)
@settings(max_examples=60, deadline=None)
def test_the_count_is_the_number_of_combinations(text: str) -> None:
    found = programs()
    number = found.count(text, {})
    if number > 3000:
        return
    parts = Parts(None)
    listed = Combinations(parts, Draw(parts, 0, 0)).texts(parts.command(text), Scope())
    assert len(listed) == number


@given(TEMPLATES)
@settings(max_examples=40, deadline=None)
def test_the_library_itself_finds_the_same_combinations(text: str) -> None:
    text = distinct(text)
    if programs().count(text, {}) > 300:
        return
    theirs = CombinatorialPromptGenerator(WildcardManager()).generate(text, max_prompts=None)
    assert set(combined(text)) == {one.strip() for one in theirs}


@given(TEMPLATES, st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_what_is_drawn_is_one_of_the_combinations(text: str, seed: int) -> None:
    text = distinct(text)
    if programs().count(text, {}) > 3000:
        return
    assert drawn(text, seed) in combined(text, at_most=3000)


@given(st.text(alphabet="{}|$%_#/\\\t\n ab1~!@:=(),*-", max_size=40), st.integers(0, 9))
@settings(max_examples=300, deadline=None)
def test_any_text_is_drawn_or_refused_never_a_traceback(text: str, seed: int) -> None:
    for attempt in (lambda: drawn(text, seed), lambda: combined(text)):
        with contextlib.suppress(ProgramError):
            assert attempt()


def test_the_global_generator_is_left_alone() -> None:
    random.seed(1)
    before = random.getstate()
    drawn("{a|b|c}", 3)
    assert random.getstate() == before
