import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import prompt_syntax
from core.prompt_syntax import ProgramError

ODD = st.text(alphabet="{}|$%_#/\\\t\n ab1~!@:=(),*-", max_size=60)


@pytest.mark.parametrize(
    "text",
    [
        "a fox",
        "{masterpiece}, a fox",
        "a {[json: {}]} fox",
        ":{ and }: and | and $5 and 50% # 1",
        "snake_case and a __ b and ____ and ___x",
        "http://example.com/a_b // not a comment",
        "{not closed",
        r"a backslash \{ in a plain \_ prompt",
        "__ name __",
        "__a # b__",
        "{a\n}",
        "$ {x} %",
        "\U0010ff00 {x}",
    ],
)
def test_a_prompt_without_the_syntax_is_none_of_its_business(text: str) -> None:
    assert prompt_syntax.marked(text) is None


@pytest.mark.parametrize(
    "text",
    ["{a|b}", "{2$$a|b}", "{-2$$a}", "__x__", "a__x/y-z__b", "${a=b}", "${a}", "%{a...$$b}"],
)
def test_the_syntax_is_seen(text: str) -> None:
    assert prompt_syntax.marked(text) is not None


@pytest.mark.parametrize("text", [r"\__init__", r"\{a|b\}", r"\${HOME}", r"\_\_x__"])
def test_an_escape_counts_only_where_it_hides_syntax(text: str) -> None:
    found = prompt_syntax.marked(text)
    assert found is not None
    assert found.marks == 0
    assert prompt_syntax.shown(found.text) == text.replace("\\", "")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("{a|b} # note", "{a|b} "),
        ("{a|b} // note\nmore", "{a|b} \nmore"),
        ("{a|b} /* note */more", "{a|b} more"),
        ("{a|b} https://x.org/y", "{a|b} https://x.org/y"),
        (r"{a|b} \# 1", "{a|b} # 1"),
        ("{a|b} and/or /* open", "{a|b} and/or /* open"),
    ],
)
def test_comments_are_cut_and_addresses_are_not(text: str, left: str) -> None:
    found = prompt_syntax.marked(text)
    assert found is not None
    assert prompt_syntax.shown(found.text) == left


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a {b|c", "never closed"),
        ("${x=1", "never closed"),
        ("${x={a|b}", "never closed"),
        ("{a|" * 17 + "b" + "}" * 17, "more than 16 deep"),
        ("{a|b}" * 501, "1000 at most"),
        ("{a|b} \U0010ff03", "U.10FF03"),
    ],
)
def test_what_cannot_be_syntax_is_refused_with_the_place(text: str, says: str) -> None:
    with pytest.raises(ProgramError, match=says):
        prompt_syntax.marked(text)


@given(ODD)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = prompt_syntax.marked(text)
    except ProgramError:
        return
    if found is not None:
        assert "\t" not in found.text


@pytest.mark.parametrize(
    "piece", ["{", "{a|", "${a=", "%{", "__a", "/*", "{1$$", "\\{", "_", "{a|b}", "#", "//"]
)
def test_a_file_full_of_one_sign_takes_no_more_than_its_length(piece: str) -> None:
    def seconds(length: int) -> float:
        started = time.process_time()
        with contextlib.suppress(ProgramError):
            prompt_syntax.marked(piece * (length // len(piece)) + " {a|b} __x__")
        return time.process_time() - started

    seconds(20_000)
    assert seconds(80_000) < 40 * (seconds(20_000) + 0.01)  # linear is 4, quadratic 16 and more
