import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import prompt_file
from core.prompt_file import LoraWish, PromptError, Wish


def parse(name: str, text: str) -> list[Wish]:
    return prompt_file.parse(name, text.encode())


def test_txt_is_one_prompt_a_line_without_comments() -> None:
    wishes = parse("a.txt", "# note\na fox\n\n  an owl  \n#x\n")
    assert [wish.prompt for wish in wishes] == ["a fox", "an owl"]


def test_md_is_front_matter_and_a_prompt() -> None:
    (wish,) = parse(
        "a.md", "---\nsteps: 4\nlora: {name: x, strength: 0.5}\n---\n\na fox\nat night\n"
    )
    assert (wish.prompt, wish.steps) == ("a fox\nat night", 4)
    assert wish.lora == (LoraWish(name="x", strength=0.5),)


def test_md_without_front_matter_is_all_prompt() -> None:
    assert parse("a.md", "a fox\n")[0].prompt == "a fox"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'width = 64\nprompts = ["a fox", {prompt = "an owl", width = 32}]'),
        ("a.json", '{"width": 64, "prompts": ["a fox", {"prompt": "an owl", "width": 32}]}'),
        ("a.yaml", "width: 64\nprompts:\n- a fox\n- prompt: an owl\n  width: 32\n"),
    ],
)
def test_tables_share_what_stands_above_the_list(name: str, text: str) -> None:
    wishes = parse(name, text)
    assert [(wish.prompt, wish.width) for wish in wishes] == [("a fox", 64), ("an owl", 32)]


@pytest.mark.parametrize(
    ("lora", "wanted"),
    [
        ('"x"', (LoraWish(name="x"),)),
        (
            '["x", {"name": "y", "strength": 2}]',
            (LoraWish(name="x"), LoraWish(name="y", strength=2)),
        ),
        ('"none"', ()),
        ("false", ()),
        ("null", ()),
        ("[]", ()),
    ],
)
def test_lora_is_a_name_a_table_a_list_or_none(lora: str, wanted: tuple[LoraWish, ...]) -> None:
    assert parse("a.json", f'{{"prompt": "p", "lora": {lora}}}')[0].lora == wanted


def test_no_word_about_lora_is_not_none() -> None:
    assert parse("a.json", '{"prompt": "p"}')[0].lora is None


@pytest.mark.parametrize(
    ("name", "text", "line", "says"),
    [
        ("a.toml", 'prompt = "x"\nwidht = 64\n', 2, "did you mean width?"),
        ("a.toml", 'prompt = "x"\nwidth = 65\n', 2, "multiple of 16"),
        ("a.toml", 'prompt = "x\n', 1, "not TOML"),
        ("a.json", '{"prompt": "x",\n "steps": 0}', 2, "greater than or equal to 1"),
        ("a.json", '{"prompt": "x",\n}', 2, "not JSON"),
        ("a.yaml", "prompt: x\nsteps: [1\n", 3, "not YAML"),
        ("a.yaml", "prompts:\n- prompt: a\n- prompt: b\n  seed: -1\n", 4, "greater than or equal"),
        ("a.md", "---\nsteps: 4\na fox\n", 1, "no closing ---"),
        ("a.md", "---\nsteps: many\n---\na fox\n", 2, "valid integer"),
        ("a.toml", "steps = 4\n", 0, "prompt is missing"),
        ("a.txt", "# nothing\n", 0, "holds no prompt"),
        ("a.json", '"x"', 1, "no table"),
        ("a.json", "[" * 100_000, 0, "nested"),
        ("a.toml", 'prompt = "x"\ncount = 10001\n', 2, "less than or equal to 10000"),
    ],
)
def test_errors_name_the_line_and_the_reason(name: str, text: str, line: int, says: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse(name, text)
    assert says in str(caught.value)
    assert caught.value.line == line
    assert name in str(caught.value)


def test_an_alias_bomb_is_refused_in_no_time() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    with pytest.raises(PromptError):
        parse("bomb.yaml", "\n".join([*lines, "prompt: *a59"]))
    with pytest.raises(PromptError):
        parse("bomb.yaml", "\n".join([f"steps:\n  {line}" for line in lines]) + "\nprompt: x")


def test_text_that_is_not_utf8_names_its_line() -> None:
    with pytest.raises(PromptError) as caught:
        prompt_file.parse("a.txt", b"fine\n\xff\xfe\n")
    assert caught.value.line == 2


def test_a_byte_order_mark_is_no_part_of_the_prompt() -> None:
    assert prompt_file.parse("a.txt", b"\xef\xbb\xbfa fox")[0].prompt == "a fox"


def test_a_huge_file_is_refused_unread() -> None:
    with pytest.raises(PromptError, match="larger than"):
        prompt_file.parse("a.txt", b"x" * (prompt_file.MAX_BYTES + 1))


@given(st.sampled_from([".txt", ".md", ".toml", ".json", ".yaml"]), st.binary(max_size=300))
def test_any_bytes_are_wishes_or_a_prompt_error(suffix: str, content: bytes) -> None:
    with contextlib.suppress(PromptError):
        assert prompt_file.parse("a" + suffix, content)


@given(st.text(min_size=1).filter(str.strip))
def test_any_prompt_survives_json(prompt: str) -> None:
    assert parse("a.json", json.dumps({"prompt": prompt}))[0].prompt == prompt.strip()
