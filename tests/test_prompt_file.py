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
        ("a.toml", 'prompt = "x"\ndenoise = 0\n', 2, "greater than 0"),
        ("a.toml", 'prompt = "x"\nbatch = 17\n', 2, "less than or equal to 16"),
        ("a.toml", 'prompt = "x"\npriority = 101\n', 2, "less than or equal to 100"),
        ("a.toml", 'prompt = "x"\nexpand = "some"\n', 2, "'random', 'combinatorial' or 'off'"),
        ("a.toml", 'prompt = "x"\nslots = 3\n', 2, "names and values"),
        ("a.toml", 'prompt = "x"\nslots = {a = [1]}\n', 2, "a is a text, a number"),
        ("a.toml", 'prompt = "x"\nsamplr = "euler"\n', 2, "did you mean sampler?"),
        ("a.yaml", "prompt: x\ngrid:\n  seed: [1]\n  stesp: [1]\n", 4, "did you mean steps?"),
        ("a.yaml", "prompt: x\ngrid:\n  seed: 5\n", 2, "seed is a list of values"),
        ("a.yaml", "prompt: x\ngrid: 5\n", 2, "axes with their values"),
        ("a.yaml", "steps: 4\nprompt: 'a {b|c'\n", 2, "never closed"),
        ("a.txt", "fine\na {b|c\n", 2, "never closed"),
        ("a.yaml", "prompt: x\ngrid: {prompt: ['{a|b']}\n", 2, "never closed"),
        ("a.yaml", "prompt: x\ncount: 99\ngrid: {seed: 1..99, steps: 1..99}\n", 3, "same pictures"),
        ("a.yaml", "prompt: x\ngrid: {cfg: 1..99, steps: 1..99, width: [64, 128]}\n", 0, "19602"),
        ("a.exe", "x", 0, "is no prompt file"),
        ("a.json", '{"prompt": "a", "slots": {"": 1}}', 1, "a name is empty"),
        ("a.json", '{"prompt": "a \\ud800"}', 0, "half a character"),
        ("a.json", '{"prompt": "a", "slots": {"\\ud800": 1}}', 0, "half a character"),
        ("a.json", '{"prompt": "${x}", "grid": {"var.x": ["\\udfff"]}}', 0, "half a character"),
        ("a.yaml", 'prompt: "a \\ud800"', 0, "half a character"),
        ("a.json", '{"prompt": "a", "seed": ' + "9" * 5000 + "}", 0, "can be used"),
        ("a.toml", 'prompt = "a"\nseed = ' + "9" * 5000, 0, "can be used"),
        ("a.yaml", "prompt: a\nseed: " + "9" * 5000, 0, "can be used"),
        ("a.yaml", "prompt: a\nseed: 2026-13-45", 0, "can be used"),
        ("a.yaml", "prompt: a\nseed: !!int ''", 0, "can be used"),
        ("a.yaml", "prompt: a\nseed: !!timestamp x", 0, "can be used"),
        ("a.yaml", "prompt: a\nseed: !!bool x", 0, "can be used"),
        ("a.toml", "a = " + "[" * 50_000, 0, "nested"),
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


def test_expand_off_takes_any_prompt_as_it_stands() -> None:
    assert parse("a.yaml", "prompt: 'a {b|c'\nexpand: off\n")[0].prompt == "a {b|c"


def test_the_highest_priority_of_its_prompts_is_the_files() -> None:
    text = "priority: -3\nprompts: [a, {prompt: b, priority: 7}, {prompt: c, priority: -9}]"
    assert prompt_file.priority(parse("a.yaml", text)) == 7
    assert prompt_file.priority(parse("a.txt", "x")) == 0


def test_tables_within_grid_and_slots_are_dotted_names() -> None:
    (wish,) = parse(
        "a.toml",
        'prompt = "x"\n[grid]\nlora.strength = [0.5, 1]\nseed = [1]\n[slots]\n25.steps = 3\n',
    )
    assert [name for name, _ in wish.grid] == ["lora.strength", "seed"]
    assert wish.slots == {"25.steps": 3}


def test_an_alias_bomb_in_a_grid_is_refused_in_no_time() -> None:
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, 60)]
    for key in ("grid", "slots"):
        with pytest.raises(PromptError, match="more than 200 keys"):
            parse(
                "bomb.yaml", "\n".join([f"{key}:", *(f"  {line}" for line in lines), "prompt: x"])
            )


KEYS = ["prompt", "grid", "slots", "expand", "lora", "priority", "batch", "image", "steps", "count"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["seed", "steps", "lora.strength", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5), st.text(min_size=1))
def test_any_table_is_wishes_or_a_prompt_error(table: dict[str, object], prompt: str) -> None:
    with contextlib.suppress(PromptError):
        assert parse("a.json", json.dumps({"prompt": prompt, **table}))


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert parse("a.json", '{"prompt": "a \\ud83d\\ude00"}')[0].prompt == "a \U0001f600"
