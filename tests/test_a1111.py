import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bridge import workflow
from bridge.request import LoraChoice, Request
from bridge.workflow import Workflow
from configs.settings import WORKFLOWS
from core import a1111
from core.a1111 import Place
from core.provenance import TOOL, Hashes
from tests import a1111_reader
from tests.sample_request import REQUEST

TEMPLATE = workflow.load(WORKFLOWS / "txt2img.json")
HASHES = Hashes("abcdef0123456789", vae={"v.safetensors": "9876543210ff"})
WITH_LORAS = replace(
    REQUEST, loras=(LoraChoice("style/my-style.safetensors", 0.8), LoraChoice("b.safetensors", 1))
)
LORA_HASHES = {"style/my-style.safetensors": "1111111111ff", "b.safetensors": "2222222222ff"}


def graph_of(request: Request) -> Workflow:
    return workflow.build(TEMPLATE, request, "vulcan")


def written(request: Request, hashes: Hashes = HASHES, place: Place | None = None) -> str:
    return a1111.parameters(request, graph_of(request), hashes, place or Place())


def test_it_reads_as_forge_writes_it_for_flux() -> None:
    request = replace(WITH_LORAS, negative="rain", cfg=2.0)
    hashes = replace(HASHES, loras=LORA_HASHES)
    assert written(request, hashes) == (
        "a fox <lora:my-style:0.8> <lora:b:1>\n"
        "Negative prompt: rain\n"
        "Steps: 3, Sampler: Euler, Schedule type: Simple, CFG scale: 2, "
        "Distilled CFG Scale: 3.5, Seed: 1, Size: 64x64, Model hash: abcdef0123, Model: x, "
        "VAE hash: 9876543210, VAE: v.safetensors, "
        'Lora hashes: "my-style: 1111111111, b: 2222222222", '
        f"Version: {TOOL}, "
        'Hashes: {"model": "abcdef0123", "vae": "9876543210", '
        '"lora:my-style": "1111111111", "lora:b": "2222222222"}'
    )


def test_civitai_finds_every_resource_by_its_hash() -> None:
    found = a1111_reader.civitai_hashes(written(WITH_LORAS, replace(HASHES, loras=LORA_HASHES)))
    assert found == {
        "model": "abcdef0123",
        "vae": "9876543210",
        "lora:my-style": "1111111111",
        "lora:b": "2222222222",
    }


def test_what_is_not_known_is_left_out() -> None:
    text = written(replace(WITH_LORAS, negative=""), Hashes("abcdef0123456789"))
    for absent in ("Negative prompt", "VAE hash", "Lora hashes", "Denoising", "Batch", "Template"):
        assert absent not in text


def test_what_the_request_says_counts_before_what_the_workflow_says() -> None:
    request = replace(
        REQUEST, sampler="dpmpp_2m", scheduler="my_own", denoise=0.6, batch=4, template="{a|b} fox"
    )
    read = a1111_reader.parse(written(request, place=Place(3, 4)))
    assert read["Sampler"] == "DPM++ 2M"
    assert read["Schedule type"] == "my_own"
    assert read["Denoising strength"] == "0.6"
    assert (read["Batch size"], read["Batch pos"]) == ("4", "2")
    assert read["Template"] == "{a|b} fox"


def test_a_workflow_without_guidance_claims_none() -> None:
    graph = Workflow({"1": {"class_type": "KSampler", "inputs": {"sampler_name": ["2", 0]}}})
    text = a1111.parameters(REQUEST, graph, HASHES, Place())
    assert "Distilled" not in text
    assert "Sampler" not in text


@given(value=st.text())
def test_values_are_quoted_as_a1111_does_and_come_back(value: str) -> None:
    if a1111_reader.quote(value) != value:
        assert a1111.quote(value) == a1111_reader.quote(value)
    assert a1111_reader.unquote(a1111.quote(value)) == value


NAMES = st.text(min_size=1).filter(lambda name: name.strip() != "")
ODD = st.sampled_from(
    [
        "Negative prompt: no",
        "a\n\nNegative prompt: x\nb",
        "Steps: 1, Sampler: x, Seed: 2",
        "line, one\n  line: two  \n\n",
        'he said "Size: 1x1, Seed: 5"',
        "{braces} and <lora:a:1>",
        "\x0b\x1c\u2028",
    ]
)


@given(
    prompt=st.one_of(ODD, NAMES).filter(lambda text: text.strip() != ""),
    negative=st.one_of(ODD, st.text()),
    template=st.one_of(ODD, st.text()),
    unet=NAMES,
    vae=NAMES,
    lora=NAMES,
    seed=st.integers(0, 2**64 - 1),
    strength=st.floats(-10, 10),
)
def test_a1111_reads_back_what_was_written(
    prompt: str,
    negative: str,
    template: str,
    unet: str,
    vae: str,
    lora: str,
    seed: int,
    strength: float,
) -> None:
    request = replace(
        REQUEST,
        prompt=prompt,
        negative=negative,
        template=template,
        unet=unet,
        vae=vae,
        seed=seed,
        loras=(LoraChoice(lora, strength),),
    )
    hashes = Hashes("abcdef0123456789", {lora: "3333333333ff"}, {}, {vae: "4444444444ff"})
    text = written(request, hashes)
    read = a1111_reader.parse(text)
    tag = re.fullmatch(r"(?s)(.*) <lora:([^:>]*):([^:>]*)>", read["Prompt"])
    assert tag
    assert tag[1] == lines(prompt)
    assert float(tag[3]) == float(f"{strength:g}")
    assert read["Negative prompt"] == lines(negative)
    assert read["Seed"] == str(seed)
    assert (read["Size-1"], read["Size-2"]) == ("64", "64")
    assert read["Model hash"] == "abcdef0123"
    assert read["VAE hash"] == "4444444444"
    if not a1111_reader.RE_SIZE.match(vae):
        assert read["VAE"] == vae
    assert read.get("Template", "") == template or a1111_reader.RE_SIZE.match(template)
    assert read["Lora hashes"] == f"{tag[2]}: 3333333333"
    assert read["Version"] == TOOL
    found = a1111_reader.civitai_hashes(text)
    assert found[f"lora:{tag[2]}"] == "3333333333"
    assert found["model"] == "abcdef0123"


def lines(text: str) -> str:
    """Return what A1111's reader can keep of a prompt: trimmed lines, none like its own."""
    kept = (line.strip() for line in text.strip().split("\n"))
    return "\n".join(
        line.replace("Negative prompt:", "Negative prompt :", 1)
        if line.startswith("Negative prompt:")
        else line
        for line in kept
    )
