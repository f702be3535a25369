import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.request import InputImage, LoraChoice, Request
from configs.settings import ROOT
from core import prompt_file, resolve
from core.native import Native
from core.prompt_file import LoraWish, PromptError, Wish
from core.resolve import Ready, UsableLora, Usual
from core.wildcards import Wildcards
from models.errors import ModelError

USUAL = Usual("txt2img", 0, 0, 0, guidance=3.5, cfg=1.0, cfg_with_negative=2.0)
PAIR = UsableLora("pair.safetensors", 0.8, ("vulcan",), "aa")
READY = Ready(
    unet="u.gguf",
    unet_path=Path("u.gguf"),
    unet_sha256="bb",
    text_encoders=("c", "t"),
    vae="v",
    loras=(PAIR,),
    native=Native(128, 96, 8),
)


def find(name: str) -> UsableLora:
    if name != "other":
        raise ModelError(f"there is no {name}")
    return UsableLora("other.safetensors", 0.5, (), "cc")


def resolved(*wishes: Wish) -> list[Request]:
    return resolve.requests(wishes, READY, USUAL, find, draw_seed=lambda index: 1000 + index)


def test_what_a_file_leaves_out_comes_from_model_and_settings() -> None:
    (request,) = resolved(Wish(prompt="a fox"))
    assert (request.width, request.height, request.steps) == (128, 96, 8)
    assert (request.guidance, request.cfg, request.workflow) == (3.5, 1.0, "txt2img")
    assert (request.unet, request.text_encoders, request.vae) == ("u.gguf", ("c", "t"), "v")


def test_what_a_file_says_wins() -> None:
    (request,) = resolved(
        Wish(prompt="a", width=32, height=16, steps=2, guidance=0.0, cfg=3.0, seed=5)
    )
    assert (request.width, request.height, request.steps) == (32, 16, 2)
    assert (request.guidance, request.cfg, request.seed) == (0.0, 3.0, 5)


def test_the_pairs_lora_is_used_unless_the_file_says_otherwise() -> None:
    usual, none, other = resolved(
        Wish(prompt="a"),
        Wish(prompt="a", lora=()),
        Wish(prompt="a", lora=(LoraWish(name="other", strength=2.0),)),
    )
    assert usual.loras == (LoraChoice("pair.safetensors", 0.8),)
    assert none.loras == ()
    assert other.loras == (LoraChoice("other.safetensors", 2.0),)


def test_a_lora_that_does_not_fit_refuses_the_file() -> None:
    with pytest.raises(ModelError):
        resolved(Wish(prompt="a", lora=(LoraWish(name="nothing"),)))


def test_a_trigger_word_is_added_only_with_its_lora_and_only_once() -> None:
    missing, there, without = resolved(
        Wish(prompt="a fox"), Wish(prompt="a Vulcan fox"), Wish(prompt="a fox", lora=())
    )
    assert [r.prompt for r in (missing, there, without)] == [
        "vulcan, a fox",
        "a Vulcan fox",
        "a fox",
    ]


def test_a_trigger_word_that_the_prompt_is_to_say_is_never_added() -> None:
    concept = replace(READY, loras=(replace(PAIR, in_front=False),))
    wishes = [Wish(prompt="a fox"), Wish(prompt="a fox", grid=(("lora.strength", (0.5, 1.0)),))]
    requests = resolve.requests(wishes, concept, USUAL, find, draw_seed=lambda index: index)
    assert [request.prompt for request in requests] == ["a fox"] * 3
    assert [request.loras[0].strength for request in requests] == [0.8, 0.5, 1.0]


def test_count_asks_for_consecutive_seeds() -> None:
    requests = resolved(Wish(prompt="a", seed=2**64 - 1, count=3))
    assert [request.seed for request in requests] == [2**64 - 1, 0, 1]


def test_seeds_nobody_chose_are_drawn_per_image() -> None:
    requests = resolved(Wish(prompt="a", count=2), Wish(prompt="b"))
    assert [request.seed for request in requests] == [1001, 1002, 1003]


def test_a_negative_prompt_brings_the_cfg_without_which_it_does_nothing() -> None:
    plain, chosen = resolved(
        Wish(prompt="a", negative="blur"), Wish(prompt="a", negative="blur", cfg=1.5)
    )
    assert (plain.cfg, chosen.cfg) == (2.0, 1.5)


def made(text: str, name: str = "a.yaml", **more: Any) -> list[Request]:
    return resolve.requests(
        prompt_file.parse(name, text.encode()), READY, USUAL, find, lambda n: 1000 + n, **more
    )


def test_what_a_file_asks_for_reaches_the_request() -> None:
    (request,) = made(
        "prompt: a\nsampler: heun\nscheduler: beta\ndenoise: 0.4\nbatch: 3\nsteps: 4\n"
        "negative: blur\nslots: {detail: 0.5, 25.steps: 3}\n"
    )
    assert (request.sampler, request.scheduler) == ("heun", "beta")
    assert (request.denoise, request.batch) == (0.4, 3)
    assert request.slots == (("detail", 0.5), ("25.steps", 3))
    assert request.asked == (
        *("negative", "steps", "sampler", "scheduler", "denoise", "batch"),
        *("detail", "25.steps"),
    )


def test_a_file_asks_only_for_what_it_says() -> None:
    (plain,) = made("prompt: a\nnegative: ''\nbatch: 1\nlora: none\ncount: 1\nworkflow: txt2img\n")
    assert plain.asked == ()
    asked = {request.asked for request in made("prompt: a\ngrid: {lora.strength: [1, 2]}\n")}
    assert asked == {("lora",)}
    assert {r.asked for r in made("prompt: a\ngrid: {seed: [1, 2]}\n")} == {("seed",)}


def test_the_picture_beside_a_file_goes_where_no_other_is_named() -> None:
    beside, other = (InputImage(name, f"/x/{name}", "00") for name in ("a.png", "b.png"))
    text = "prompts:\n- one\n- {prompt: two, image: b.png}\n"
    found = made(text, image=beside, find_image={"b.png": other}.__getitem__)
    assert [request.image for request in found] == [beside, other]
    assert [request.asked for request in found] == [(), ("image",)]
    with pytest.raises(PromptError, match=r"a.yaml, line 3: image: .*b.png"):
        made(text)


def test_both_the_template_and_the_drawn_prompt_are_kept() -> None:
    plain, program = made('prompts: ["a {fox}", "a {fox|fox} #1"]')
    assert (plain.prompt, plain.template) == ("vulcan, a {fox}", "")
    assert (program.prompt, program.template) == ("vulcan, a fox", "a {fox|fox} #1")
    (off,) = made('prompt: "a {b|c} __d__"\nexpand: off\n')
    assert (off.prompt, off.template) == ("vulcan, a {b|c} __d__", "")


def test_each_image_draws_anew_by_its_own_seed() -> None:
    text = "prompt: '{a|b|c|d|e|f|g|h} {a|b|c|d|e|f|g|h}'\ncount: 30\n"
    first = made(text)
    assert len({request.prompt for request in first}) > 10
    assert first == made(text)
    (alone,) = made(text.replace("count: 30", f"seed: {first[7].seed}"))
    assert alone.prompt == first[7].prompt


def test_two_claims_of_the_same_file_with_a_seed_are_the_same_jobs() -> None:
    text = "prompt: '{a|b|c|d|e} __x__'\nseed: 4\ncount: 3\n"
    wishes = prompt_file.parse("a.yaml", text.replace("__x__", "x").encode())
    one = resolve.requests(wishes, READY, USUAL, find, draw_seed=lambda n: n)
    assert one == resolve.requests(wishes, READY, USUAL, find, draw_seed=lambda n: 99 + n)


def test_the_jobs_do_not_depend_on_the_process(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("\n".join(f"word{n}" for n in range(50)))
    (tmp_path / "y.yaml").write_text("b: [u, v]\na: [w, {text: z, weight: 3}]\n")
    script = (
        "import sys; from tests.test_resolve import made; from core.wildcards import Wildcards;"
        "from pathlib import Path;"
        "text = 'prompt: \"{a|b|c|d} __x__ {2$$__x__} __*__\"\\ncount: 5\\nseed: 7\\n';"
        "[print(r.prompt) for r in made(text, wildcards=Wildcards(Path(sys.argv[1])))]"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert b"word" in next(iter(said))


def test_all_combinations_are_made_each_with_all_its_seeds() -> None:
    found = made("prompt: '{a|b} {c|d}'\nexpand: combinatorial\nseed: 5\ncount: 2\nlora: none\n")
    assert [(r.prompt, r.seed) for r in found] == [
        (prompt, seed) for prompt in ("a c", "a d", "b c", "b d") for seed in (5, 6)
    ]


def test_too_many_combinations_are_refused_with_the_number() -> None:
    with pytest.raises(PromptError, match=r"a.yaml, line 1: prompt: has 100000 combinations"):
        made(f"prompt: '{' '.join(['{0|1|2|3|4|5|6|7|8|9}'] * 5)}'\nexpand: combinatorial\n")
    with pytest.raises(PromptError, match="and 5 images are left"):
        made("prompt: '{a|b|c|d|e|f}'\nexpand: combinatorial\ncount: 2000\n")


def test_the_cells_of_a_grid_share_seed_and_drawn_prompt() -> None:
    text = "prompt: '{a|b|c|d|e|f|g|h}'\ncount: 4\nlora: none\ngrid: {steps: [1, 2], cfg: [1, 2]}\n"
    found = made(text)
    for number in range(4):
        cells = found[number * 4 : number * 4 + 4]
        assert len({(cell.seed, cell.prompt) for cell in cells}) == 1
        assert {(cell.steps, cell.cfg) for cell in cells} == {(1, 1), (2, 1), (1, 2), (2, 2)}
    assert len({request.seed for request in found}) == 4


def test_cells_differ_in_nothing_but_their_axes() -> None:
    found = made("prompt: '{a|b|c|d|e}'\ngrid: {seed: [1, 2], guidance: [1.0, 2.0]}\n")
    (base,) = {replace(request, seed=0, guidance=0.0, cell=()) for request in found}
    assert base.template == "{a|b|c|d|e}"
    for request in found:
        told = {"seed": str(request.seed), "guidance": f"{request.guidance:g}"}
        assert dict(request.cell) == told


def test_a_grid_over_a_variable_keeps_the_rest_of_the_drawing() -> None:
    found = made(
        "prompt: '${who=a fox} ${who} in {a|b|c|d|e|f}'\nlora: none\n"
        "grid: {var.who: [an owl, a cat]}\n"
    )
    owl, cat = (request.prompt for request in found)
    assert owl.startswith("an owl in")
    assert owl.replace("an owl", "a cat") == cat


def test_lora_strength_needs_a_lora_to_set() -> None:
    wishes = prompt_file.parse("a.yaml", b"prompt: a\ngrid: {lora.strength: [1, 2]}\n")
    alone = replace(READY, loras=())
    with pytest.raises(PromptError, match="needs a LoRA"):
        resolve.requests(wishes, alone, USUAL, find, lambda n: n)


def test_a_missing_wildcard_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "animals.txt").write_text("fox\n")
    with pytest.raises(PromptError) as caught:
        made("one\na __animal__\n", "a.txt", wildcards=Wildcards(tmp_path))
    assert str(caught.value).startswith("a.txt, line 2: prompt: there is no wildcard animal in")
    assert "nearest are animals" in str(caught.value)


def test_a_file_cannot_ask_for_gigabytes_of_prompts() -> None:
    with pytest.raises(PromptError, match="characters of prompts"):
        resolve.requests([Wish(prompt="x" * 900_000, count=100)], READY, USUAL, find, lambda n: n)
