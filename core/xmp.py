"""The XMP packet that marks a picture as machine-made, for PNG's ``XML:com.adobe.xmp`` text. Pure.

``Iptc4xmpExt:DigitalSourceType`` is what image libraries, search engines and camera software
look at to tell a generated picture; IPTC's term for one that a trained model made entirely is
``trainedAlgorithmicMedia``. Beside it stand the prompt (``dc:description``) and the software.

Source: XMP Specification Part 1 (ISO 16684-1) and Part 3, section 1.1.5 (PNG); IPTC Photo Metadata
Standard 2023.1, Digital Source Type.
"""

import re
from xml.sax.saxutils import escape, quoteattr

KEYWORD = "XML:com.adobe.xmp"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# What XML 1.0 (section 2.2) does not allow in a document, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp:CreatorTool={tool}
    Iptc4xmpExt:DigitalSourceType={source}>
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">{description}</rdf:li>
    </rdf:Alt>
   </dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def packet(description: str, tool: str) -> str:
    """Return the packet.

    Args:
        description: the prompt; characters that XML forbids are left out.
        tool: software that made the picture.
    """
    return _PACKET.format(
        tool=quoteattr(_allowed(tool)),
        source=quoteattr(SOURCE_TYPE),
        # A bare carriage return would be read as a line feed (XML 1.0, section 2.11).
        description=escape(_allowed(description), {"\r": "&#13;"}),
    )


def _allowed(text: str) -> str:
    return _FORBIDDEN.sub("", text)
