"""The page: well-formed, self-contained, everything on it and nothing of a file name as HTML."""

import io
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from bridge.request import Request
from core import report_page, report_pictures
from core.easel import Drawn
from core.report_page import Facts
from core.report_pictures import Gallery, Share, Way
from core.report_weights import Weights
from models.tensor_types import TensorType
from quantize.layer_proof import Attempt, LayerProof
from quantize.verify import TensorError

VOID = {"meta", "img", "rect", "br"}
PROMPT = "a large red circle on a blue background"


class Page(HTMLParser):
    """Checks that what is opened is closed, in turn, and collects what the page says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def is_self_contained(self) -> bool:
        """No tag that loads, no address that leads outside."""
        places = [v for _, attrs in self.tags for k, v in attrs.items() if k in ("src", "href")]
        loads = {"script", "link", "iframe", "object"} & {tag for tag, _ in self.tags}
        return not loads and all((place or "").startswith("data:") for place in places)


def png(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (level, level, 90)).save(out, "PNG")
    return out.getvalue()


def request(prompt: str, seed: int) -> Request:
    return Request(
        *(prompt, "", 64, 64, 8, 3.5, 1.0, seed, (), "txt2img", "x.gguf", ("c", "t"), "v")
    )


def gallery(
    folder: Path, prompts: tuple[str, ...] = (PROMPT, "large vulcan, gray ground")
) -> Gallery:
    unet = folder / "u.gguf"
    unet.write_bytes(b"x" * 2_000_000)
    ways = [
        Way("fp16", "FP16", unet, lora=False, reference="fp16"),
        Way("packed", "Q4_K_S", unet, lora=False, reference="fp16"),
        Way("fp16-lora", "FP16 + LoRA", unet, lora=True, reference="fp16-lora"),
        Way("packed-lora", "Q4_K_S + LoRA", unet, lora=True, reference="fp16-lora"),
        Way("baked", "Q4_K_S baked", unet, lora=False, reference="fp16-lora"),
    ]
    made = Gallery([request(one, n) for n, one in enumerate(prompts)], ways, micro=True)
    for row in range(len(prompts)):
        for number, way in enumerate(ways):
            level = 100 if way.name == "baked" else 80 + 10 * number
            made.drawn[row, way.name] = Drawn(png(level), (0.010, 0.030, 0.020))
    return made


def weights(count: int = 3) -> Weights:
    names = [f"double_blocks.{number}.img_attn.qkv.weight" for number in range(count)]
    errors = [TensorError(one, TensorType.Q4_K, 100, 1.0, 0.0049) for one in names]
    tried = (Attempt(TensorType.Q4_K, 0.9, 0.2), Attempt(TensorType.Q5_K, 0.981, 0.1))
    proofs = [LayerProof(one, 0.01, 0.07, tried) for one in names]
    return Weights(errors, proofs, dict.fromkeys(names, 0.0123))


def facts(title: str = "micro") -> Facts:
    return Facts(title, [("model", title)], "Q4_K_S")


def test_the_page_is_well_formed_self_contained_and_has_every_column(tmp_path: Path) -> None:
    page = Page(report_page.page(facts(), gallery(tmp_path), weights()))
    assert page.is_self_contained()
    for label in ("FP16", "Q4_K_S", "FP16 + LoRA", "Q4_K_S + LoRA", "Q4_K_S baked", PROMPT):
        assert label in page.words
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 10
    assert all((one["src"] or "").startswith("data:image/png;base64,iVBOR") for one in pictures)
    assert all(one["alt"] for one in pictures)
    assert "20.0 ms" in page.words
    assert {"scene right", "concept shown", "0 of 1"} <= set(page.words)


def test_weights_alone_need_no_pictures() -> None:
    text = report_page.page(facts(), None, weights())
    page = Page(text)
    assert page.is_self_contained()
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert {"98.10%", "1.23%", "7.000%", "Q4_K > Q5_K"} <= set(page.words)
    assert "3 got a finer type" in text


def test_many_tensors_are_folded_and_none_is_left_out() -> None:
    page = Page(report_page.page(facts(), None, weights(40)))
    assert page.words.count("double_blocks.39.img_attn.qkv") == 2
    assert f"{40 - report_page.SHOWN} more" in page.words


def test_names_and_prompts_are_text_not_html(tmp_path: Path) -> None:
    odd = '<script src="http://x.invalid/">&"\''
    page = Page(report_page.page(facts(odd), gallery(tmp_path, (odd,)), weights()))
    assert page.is_self_contained()
    assert odd in "".join(page.words)


def test_pictures_are_compared_with_their_own_reference(tmp_path: Path) -> None:
    made = gallery(tmp_path)
    by_name = {way.name: way for way in made.ways}
    assert made.likeness(0, by_name["fp16"]) is None
    assert made.likenesses(by_name["fp16-lora"]) == []
    same = made.likeness(0, by_name["baked"])  # the very picture that FP16 + LoRA gave
    assert same is not None
    assert same.psnr is None
    assert same.ssim == pytest.approx(1.0)
    other = made.likeness(0, by_name["packed"])
    assert other is not None
    assert other.psnr == pytest.approx(29.89, abs=0.01)  # 10 of 255 in two channels of three
    assert other.ssim < 1
    assert made.step(by_name["baked"]) == pytest.approx(0.020)


def test_only_the_micro_flux_at_its_own_size_is_judged(tmp_path: Path) -> None:
    made = gallery(tmp_path)
    way = made.ways[0]
    assert (made.scenes(way), made.concepts(way)) == (Share(0, 1), Share(0, 1))
    made.micro = False
    assert (made.scenes(way).count, made.concepts(way).count) == (0, 0)


def test_identical_pictures_count_as_better_than_any() -> None:
    assert report_pictures.middle([None, None, 30.0]) is None
    assert report_pictures.middle([None, 40.0, 30.0]) == pytest.approx(40)


def test_the_usual_prompts_are_scenes_that_the_judge_knows_and_the_loras_word() -> None:
    prompts = report_pictures.micro_prompts(8)
    assert len(prompts) == len(set(prompts)) == 16
    assert all(report_pictures.scene_of(prompt) for prompt in prompts[:8])
    assert all("vulcan" in prompt for prompt in prompts[8:])


def test_bars_are_drawings_that_an_xml_reader_takes() -> None:
    text = report_page.page(facts(), None, weights())
    drawings = [part.split("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert drawings
    for one in drawings:
        ET.fromstring("<svg" + one)
