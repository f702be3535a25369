from pathlib import Path

import pytest

from bridge.request import LoraChoice, Request
from core import resolve
from core.prompt_file import LoraWish, Wish
from core.resolve import Native, Ready, UsableLora, Usual
from models.errors import ModelError

USUAL = Usual("txt2img", 0, 0, 0, guidance=3.5, cfg=1.0, cfg_with_negative=2.0)
PAIR = UsableLora("pair.safetensors", 0.8, ("vulcan",), "aa")
READY = Ready(
    unet="u.gguf",
    unet_path=Path("u.gguf"),
    unet_sha256="bb",
    text_encoders=("c", "t"),
    vae="v",
    lora=PAIR,
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
