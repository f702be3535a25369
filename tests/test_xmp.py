from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from core import xmp

SPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}


def described(packet: str) -> ElementTree.Element:
    root = ElementTree.fromstring(packet.encode("utf-8"))
    found = root.find("rdf:RDF/rdf:Description", SPACES)
    assert found is not None
    return found


def test_it_says_that_a_model_made_the_picture_and_which_software() -> None:
    entry = described(xmp.packet("a fox", 'Vulcan "1" <&>'))
    assert entry.get(f"{{{SPACES['ext']}}}DigitalSourceType") == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    assert entry.get(f"{{{SPACES['xmp']}}}CreatorTool") == 'Vulcan "1" <&>'


@given(st.text(st.characters(codec="utf-8")))
def test_any_prompt_is_valid_xml_and_comes_back_without_what_xml_forbids(prompt: str) -> None:
    entry = described(xmp.packet(prompt, "x"))
    text = entry.findtext("dc:description/rdf:Alt/rdf:li", None, SPACES)
    allowed = [
        c
        for c in prompt
        if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
    ]
    assert text == "".join(allowed)


def test_half_a_surrogate_is_left_out() -> None:
    assert xmp.packet("a\ud800b", "x").encode("utf-8")
