"""What a host made -> what is filed: graph, parameters, XMP and record put into it. Pure.

A PNG carries all four itself, its pixels untouched. Other kinds of file keep their bytes as they
are, and a JSON file beside them holds the same under the same names.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from bridge import workflow
from bridge.answers import HostFacts
from bridge.request import Request
from bridge.workflow import Slots, Workflow
from core import a1111, media_kind, png_text, record, xmp
from core.a1111 import Place
from core.gallery import Picture
from core.input_images import name_on_host
from core.png_text import PngError
from core.provenance import TOOL, Hashes, Provenance, host_of, software_of, workflow_sha256
from core.resolve import FindLora

PREFIX = "vulcan"  # ``filename_prefix`` of the graph in a picture, the same for every job
GRAPH = "prompt"  # keyword under which ComfyUI looks for the graph

HashesOf = Callable[[Request], Hashes]


@dataclass(frozen=True, slots=True)
class _Form:
    """A template and what follows from it alone."""

    template: Workflow
    slots: Slots
    sha256: str


@dataclass(frozen=True, slots=True)
class Inscriber:
    """Finishes the pictures of one run.

    Attributes:
        template: returns a workflow template by name.
        hashes: of unet, text encoders and vae, which are the same for every picture of a run.
        find_lora: LoRAs by name, for their hashes.
        hashes_of: what a job of a named pair was drawn with; others have ``hashes``.
        forms: templates that were used before, by name.
    """

    template: Callable[[str], Workflow]
    hashes: Hashes
    find_lora: FindLora
    hashes_of: HashesOf | None = None
    forms: dict[str, _Form] = field(default_factory=dict)

    def finish(
        self,
        request: Request,
        content: bytes,
        host_name: str,
        place: Place,
        facts: HostFacts,
    ) -> Picture:
        """Return the file to be kept.

        Args:
            request: what it was made from.
            content: as the host sent it.
            host_name: its file name there.
            place: which of the job's pictures.
            facts: what the host says of itself.

        Raises:
            PngError: an empty file, or no whole PNG where the host says it is one.
        """
        form = self._form(request.workflow)
        image = name_on_host(request.image) if request.image else ""
        graph = workflow.build(form.template, request, PREFIX, image, form.slots)
        hashes, applied = self._files(request)
        made = Provenance(hashes, form.sha256, host_of(facts), software_of(facts), applied)
        return _finished(content, host_name, _texts(request, graph, made, place))

    def _form(self, name: str) -> _Form:
        """Return a template with what is the same for all its pictures; found out once."""
        if name not in self.forms:
            template = self.template(name)
            slots = workflow.find_slots(template, name)
            self.forms[name] = _Form(template, slots, workflow_sha256(template))
        return self.forms[name]

    def _files(self, request: Request) -> tuple[Hashes, Mapping[str, str]]:
        """Return the files' hashes, and how much applied of LoRAs that did so in part."""
        if request.pair and self.hashes_of:
            return self.hashes_of(request), {}  # a pair's LoRAs apply, or there is no such pair
        loras = {lora.file: self.find_lora(lora.file) for lora in request.loras}
        hashes = replace(self.hashes, loras={name: one.sha256 for name, one in loras.items()})
        return hashes, {name: one.applied for name, one in loras.items() if one.applied}


def _texts(request: Request, graph: Workflow, made: Provenance, place: Place) -> dict[str, str]:
    return {
        GRAPH: json.dumps(graph),  # ASCII, as ComfyUI itself writes it
        a1111.KEYWORD: a1111.parameters(request, graph, made.hashes, place),
        xmp.KEYWORD: xmp.packet(request.prompt, TOOL),
        record.KEYWORD: record.write(request, made, place),
    }


def _finished(content: bytes, host_name: str, texts: Mapping[str, str]) -> Picture:
    if not content:
        raise PngError("an empty file")
    suffix = media_kind.suffix_of(content, host_name)
    if suffix == media_kind.PNG or media_kind.claims_png(host_name):
        inscribed = png_text.with_texts(content, texts, international=(xmp.KEYWORD,))
        return Picture(inscribed, media_kind.PNG)
    return Picture(content, suffix, sidecar(texts))


def sidecar(texts: Mapping[str, str]) -> bytes:
    """Return the JSON file beside a file that cannot carry its texts itself."""
    entry = {
        GRAPH: json.loads(texts[GRAPH]),
        a1111.KEYWORD: texts[a1111.KEYWORD],
        record.KEYWORD: json.loads(texts[record.KEYWORD]),
    }
    return (json.dumps(entry, indent=1, sort_keys=True) + "\n").encode()
