import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from bridge import workflow
from bridge.answers import HostFacts
from bridge.request import LoraChoice
from configs.settings import WORKFLOWS
from core import gallery, png_text, record
from core.a1111 import Place
from core.gallery import Picture
from core.inscription import Inscriber
from core.png_text import PngError
from core.provenance import TOOL, Hashes, workflow_sha256
from core.resolve import UsableLora
from tests import a1111_reader
from tests.fake_host import png
from tests.sample_request import REQUEST

FACTS = HostFacts("0.3.64", False, "cuda:0 RTX 4050", 1, "nt", "3.12.4", "2.9.1+cu128")
TEMPLATE = workflow.load(WORKFLOWS / "txt2img.json")
ASKED = replace(REQUEST, prompt="a fox, \u4e2d", loras=(LoraChoice("l.safetensors", 1),))
INSCRIBER = Inscriber(
    lambda _: TEMPLATE,
    Hashes("aa" * 32, {}, {"c.safetensors": "cc"}, {"v.safetensors": "dd"}),
    lambda name: UsableLora(name, 1, (), "bb" * 32),
)


def finish(content: bytes, name: str = "img_00001_.png", place: Place | None = None) -> Picture:
    return INSCRIBER.finish(ASKED, content, name, place or Place(), FACTS)


def test_a_png_carries_graph_parameters_source_type_and_record() -> None:
    texts = png_text.texts(finish(png(1)).content)
    assert json.loads(texts["prompt"]) == workflow.build(TEMPLATE, ASKED, "vulcan")
    assert a1111_reader.parse(texts["parameters"])["Lora hashes"] == f"l: {'bb' * 5}"
    assert "trainedAlgorithmicMedia" in texts["XML:com.adobe.xmp"]
    ElementTree.fromstring(texts["XML:com.adobe.xmp"].encode())
    read = record.read(texts["vulcan"])
    assert read.request == ASKED
    made = read.provenance
    assert made.hashes == replace(INSCRIBER.hashes, loras={"l.safetensors": "bb" * 32})
    assert made.workflow_sha256 == workflow_sha256(TEMPLATE)
    assert made.host == "ComfyUI 0.3.64"
    assert made.software == {
        "os": "nt",
        "python": "3.12.4",
        "pytorch": "2.9.1+cu128",
        "device": "cuda:0 RTX 4050",
    }


def test_the_same_request_on_the_same_host_gives_the_same_bytes() -> None:
    assert finish(png(1)) == finish(png(1))
    busier = replace(FACTS, vram_free=2)
    assert INSCRIBER.finish(ASKED, png(1), "b.png", Place(), busier) == finish(png(1))


def test_the_embedded_host_is_told_from_the_comfyui_it_speaks_like() -> None:
    own = INSCRIBER.finish(ASKED, png(1), "a.png", Place(), replace(FACTS, embedded=True))
    read = record.read(png_text.texts(own.content)["vulcan"])
    assert read.provenance.host == f"embedded host of {TOOL}, as ComfyUI 0.3.64"


def test_the_editors_own_graph_stays_in_the_picture() -> None:
    from_host = png_text.with_texts(png(1), {"workflow": '{"nodes": []}', "prompt": "{}"})
    texts = png_text.texts(finish(from_host).content)
    assert texts["workflow"] == '{"nodes": []}'
    assert texts["prompt"] != "{}"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_other_kinds_keep_their_bytes_and_get_a_file_beside_them(kind: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, kind)
    picture = finish(out.getvalue(), "clip_00001.bin", Place(1, 2))
    assert picture.content == out.getvalue()
    paths = gallery.choose_paths(tmp_path, "a", [picture.suffix])
    gallery.save(paths, [picture])
    beside = json.loads(paths[0].with_suffix(".json").read_text())
    assert record.read(json.dumps(beside["vulcan"])).request == ASKED
    assert beside["prompt"] == workflow.build(TEMPLATE, ASKED, "vulcan")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"<html>", png(1)[:-9]])
def test_what_is_called_a_png_and_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(PngError):
        finish(content)


def test_a_workflow_is_hashed_by_what_it_says() -> None:
    turned = json.loads(json.dumps(dict(reversed(TEMPLATE.items())), indent=3))
    assert workflow_sha256(turned) == workflow_sha256(TEMPLATE)
    turned["8"]["inputs"]["steps"] = 21
    assert workflow_sha256(turned) != workflow_sha256(TEMPLATE)
