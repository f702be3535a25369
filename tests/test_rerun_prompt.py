import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bridge import workflow
from bridge.request import LoraChoice, Request, Scalar
from bridge.workflow import Workflow
from configs.settings import WORKFLOWS
from core import prompt_file, rerun_prompt, resolve
from core.native import Native
from core.resolve import Ready, UsableLora, Usual
from tests.sample_request import REQUEST

TEMPLATE = workflow.load(WORKFLOWS / "txt2img.json")
OTHER_DEFAULTS = Usual("another", 512, 512, 50, 1.5, 7.0, 9.0)
READY = Ready(
    REQUEST.unet,
    Path("u"),
    "aa",
    REQUEST.text_encoders,
    REQUEST.vae,
    (UsableLora("usual.safetensors", 0.3, ("trigger",), "bb"),),
    Native(64, 64, 2),
)


def read_back(request: Request) -> Request:
    """What a director with other defaults makes of the prompt file."""
    wishes = prompt_file.parse("a.rerun.json", rerun_prompt.content(request, TEMPLATE))
    (again,) = resolve.requests(
        wishes,
        READY,
        OTHER_DEFAULTS,
        lambda name: UsableLora(name, 1.0, (), "cc"),
        lambda _: 99,
    )
    return again


TEXT = st.text(st.characters(codec="utf-8")).map(str.strip)
PROMPT = st.sampled_from(["{a|b} fox", "__animals__", "${x=a}${x}", "\\{a|b\\} # c", "{"]) | TEXT
NAME = st.sampled_from(["", "heun", "my own"])
SCALAR = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
SLOTS = st.dictionaries(st.sampled_from(["upscale", "11.factor", "11.text"]), SCALAR)


@given(
    prompt=PROMPT.filter(bool),
    negative=TEXT,
    size=st.tuples(st.integers(1, 512), st.integers(1, 512)),
    steps=st.integers(1, 1000),
    guidance=st.floats(0, 100),
    cfg=st.floats(0.1, 100),
    seed=st.integers(0, 2**64 - 1),
    loras=st.lists(st.builds(LoraChoice, TEXT.filter(bool), st.floats(-10, 10)), max_size=3),
    sampler=NAME,
    scheduler=NAME,
    denoise=st.none() | st.floats(0.01, 1),
    batch=st.integers(1, 16),
    slots=SLOTS,
)
def test_changed_defaults_change_nothing(
    prompt: str,
    negative: str,
    size: tuple[int, int],
    steps: int,
    guidance: float,
    cfg: float,
    seed: int,
    loras: list[LoraChoice],
    sampler: str,
    scheduler: str,
    denoise: float | None,
    batch: int,
    slots: dict[str, Scalar],
) -> None:
    request = replace(
        REQUEST,
        prompt=prompt,
        negative=negative,
        width=16 * size[0],
        height=16 * size[1],
        steps=steps,
        guidance=guidance,
        cfg=cfg,
        seed=seed,
        loras=tuple(loras),
        sampler=sampler,
        scheduler=scheduler,
        denoise=denoise,
        batch=batch,
        slots=tuple(slots.items()),
    )
    assert replace(read_back(request), asked=()) == request


def test_what_the_workflow_has_no_place_for_is_not_asked_for() -> None:
    without = Workflow(json.loads(json.dumps(TEMPLATE)))
    without["8"]["inputs"]["positive"] = ["4", 0]
    keys = json.loads(rerun_prompt.content(REQUEST, without))
    assert "guidance" not in keys
    assert keys["steps"] == REQUEST.steps
    asked = replace(REQUEST, asked=("guidance",))
    assert "guidance" in json.loads(rerun_prompt.content(asked, without))


def test_what_is_not_as_usual_is_said_and_the_rest_left_out() -> None:
    usual = json.loads(rerun_prompt.content(REQUEST, TEMPLATE))
    assert usual["lora"] == "none"
    assert not usual.keys() & {"sampler", "scheduler", "denoise", "batch", "slots", "expand"}
    request = replace(
        REQUEST,
        prompt="a {literal} brace",
        sampler="heun",
        scheduler="beta",
        denoise=0.5,
        batch=2,
        slots=(("11.upscale", 2),),
    )
    unusual = json.loads(rerun_prompt.content(request, TEMPLATE))
    assert (
        unusual.items()
        >= {
            "sampler": "heun",
            "scheduler": "beta",
            "denoise": 0.5,
            "batch": 2,
            "expand": "off",
        }.items()
    )
    assert unusual["slots"] == {"11.upscale": 2}


def test_a_name_is_never_used_twice_and_the_input_picture_comes_along(tmp_path: Path) -> None:
    image = tmp_path / "kept.png"
    image.write_bytes(b"picture")
    inbox = tmp_path / "inbox"
    seen = {"fox.rerun.json"}
    name = rerun_prompt.drop(inbox, "fox", b"{}", image, seen.__contains__)
    assert name == "fox.rerun-2.json"
    assert (inbox / "fox.rerun-2.png").read_bytes() == b"picture"
    assert {path.name for path in inbox.iterdir()} == {"fox.rerun-2.json", "fox.rerun-2.png"}
