from hypothesis import assume, given
from hypothesis import strategies as st

from core.claim import (
    IMAGE_SUFFIXES,
    SUFFIXES,
    ClaimName,
    LeavingName,
    clean,
    fit,
    is_picture,
    is_prompt,
)

NAMES = st.text(
    st.characters(exclude_characters="/\0", codec=None, exclude_categories=()), min_size=1
).filter(lambda name: not name.startswith("."))
SUFFIX = st.sampled_from(sorted(SUFFIXES))
IMAGE = st.sampled_from(["", *IMAGE_SUFFIXES])
STAMP, NUMBER = st.integers(0, 2**63 - 1), st.integers(0, 10**8)


@given(NAMES, SUFFIX, STAMP, NUMBER, IMAGE)
def test_a_claims_name_says_again_what_it_was_made_of(
    name: str, suffix: str, stamp: int, number: int, image: str
) -> None:
    assume(not (name + suffix).endswith(".error.md"))
    made = ClaimName(stamp, number, fit(name + suffix), image)
    assert ClaimName.parse(made.prompt) == made
    assert len(made.prompt.encode("utf-8")) <= 255
    assert LeavingName.parse(made.prompt) is None
    if image:
        assert is_picture(made.picture)
        assert ClaimName.parse(made.picture) is None
        leaving = made.leaving("done", "a-2.png")
        assert LeavingName.parse(leaving) == LeavingName(stamp, number, "done", "a-2.png")
        assert ClaimName.parse(leaving) is None
        assert not is_picture(leaving)


@given(st.binary(min_size=1, max_size=255))
def test_any_bytes_of_a_file_system_become_a_name_of_one_line(raw: bytes) -> None:
    name = clean(raw.decode("utf-8", "surrogateescape"))
    assert len(name.encode("utf-8")) <= len(raw)
    assert len(f"x{name}".splitlines()) == 1
    assert clean(name) == name


@given(st.text())
def test_any_text_is_a_claims_name_or_none(text: str) -> None:
    parsed = ClaimName.parse(text)
    assert parsed is None or parsed.prompt == text or not text.isascii()


def test_our_own_complaints_are_no_prompt_files() -> None:
    assert is_prompt("a.md")
    assert is_prompt("A.TXT")
    assert not is_prompt("a.txt.error.md")
    assert not is_prompt("a.png")
