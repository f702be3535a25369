"""The page about a data set: self-contained, whatever the names and captions hold."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

from tests import dataset_kit
from tests.dataset_kit import RECIPE, NoFaces, scene
from training.dataset import check, page
from training.dataset.faces import Haar
from training.recipe import Preset

VOID = ("meta", "img", "rect", "br")


class Outline(HTMLParser):
    """Notes tags and checks that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(folder: Path, preset: Preset = Preset.CONCEPT) -> Outline:
    detector = NoFaces if preset != Preset.CHARACTER else Haar
    return Outline(page.write(check.check(folder, "<b>ohwx", RECIPE, preset, detector=detector)))


def test_the_page_needs_nothing_from_outside_and_runs_nothing(tmp_path: Path) -> None:
    found = outline(dataset_kit.folder(tmp_path / "set", 3))
    assert found.open == []
    assert "script" not in {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        for name in ("src", "href"):
            assert re.match(r"^(data:image/jpeg;base64,|$)", attributes.get(name) or "")


def test_names_and_captions_cannot_break_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    name = '<script>alert("x")& \n' + os.fsdecode(b"\xff")
    scene(1).save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text("</figure><script>1</script>")
    (folder / "broken<i>.png").touch()
    found = outline(folder)
    assert found.open == []
    assert not {"script", "i"} & {tag for tag, _ in found.tags}
    assert '<script>alert("x")& \\n\\udcff' in found.text
    assert "</figure><script>1</script>" in found.text


def test_each_picture_has_a_card_with_its_findings_and_the_other_of_a_pair(
    tmp_path: Path,
) -> None:
    folder = dataset_kit.folder(tmp_path / "set", 3)
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    found = outline(folder)
    assert sum(tag == "figure" for tag, _ in found.tags) == 4
    assert "2 files are the same picture: also 1.png" in found.text
    assert "2 files are the same picture: also copy.png" in found.text


def test_a_proposed_crop_is_drawn_over_its_picture(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "set"
    folder.mkdir()
    whole = Image.new("RGB", (1600, 1600), (70, 80, 90))
    whole.paste(dataset_kit.face(400), (900, 100))
    whole.save(folder / "a.png")
    boxes = [
        at for tag, at in outline(folder, Preset.CHARACTER).tags if tag == "rect" and "x" in at
    ]
    assert len(boxes) == 1
    assert 800 < int(boxes[0]["x"] or 0) < 1200
