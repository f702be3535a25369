"""The ``vulcan`` record of a picture: everything it can be made again from, written and read. Pure.

One JSON object. In a PNG it stands in the text ``vulcan``; other kinds of file have it under the
same key in a JSON file beside them. Read from strangers' files too, so it is checked before it
is a value. Keys::

    version             of the record's form; absent in the first
    vulcan              Vulcan's version
    request             everything about the image, prompt and template included
    picture, pictures   which of a job's pictures this is, from 1, and of how many
    unet_sha256, lora_sha256, text_encoder_sha256, vae_sha256   the files, by name but for the unet
    lora_applied        by name, such as "34 of 38 layers"; only of LoRAs that applied in part
    workflow_sha256     of the template's canonical JSON
    host, host_software the host's name and version; its os, python, pytorch, device

No time, no job id, no path: the same request on the same host gives the same text.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bridge.request import Request
from core.a1111 import Place
from core.provenance import VERSION, Hashes, Provenance

KEYWORD = "vulcan"
FORM = 2  # raised when an old reader would misread a new record

_REQUEST = TypeAdapter(Request)


class RecordError(Exception):
    """A picture that cannot be made again from what is in it; the message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record that was read.

    Attributes:
        request: everything about the image; an input picture's path is empty.
        provenance: what it was made with; what was not recorded is empty.
        place: which of the job's pictures.
        vulcan: version that made it, empty when it did not say.
    """

    request: Request
    provenance: Provenance
    place: Place
    vulcan: str


class _Form(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: int = 1
    vulcan: str = ""
    request: dict[str, Any]
    picture: Annotated[int, Field(ge=1)] = 1
    pictures: Annotated[int, Field(ge=1)] = 1
    unet_sha256: str = ""
    lora_sha256: dict[str, str] = Field(default_factory=dict)
    lora_applied: dict[str, str] = Field(default_factory=dict)
    text_encoder_sha256: dict[str, str] = Field(default_factory=dict)
    vae_sha256: dict[str, str] = Field(default_factory=dict)
    workflow_sha256: str = ""
    host: str = ""
    host_software: dict[str, str] = Field(default_factory=dict)


def write(request: Request, made: Provenance, place: Place) -> str:
    """Return the record as one line of JSON with sorted keys, ASCII only."""
    entry = {
        "version": FORM,
        "vulcan": VERSION,
        "request": _portable(request),
        "picture": place.number,
        "pictures": place.count,
        "unet_sha256": made.hashes.unet,
        "lora_sha256": dict(made.hashes.loras),
        "text_encoder_sha256": dict(made.hashes.text_encoders),
        "vae_sha256": dict(made.hashes.vae),
        "workflow_sha256": made.workflow_sha256,
        "host": made.host,
        "host_software": dict(made.software),
    }
    if made.partial:
        entry["lora_applied"] = dict(made.partial)
    return json.dumps(entry, sort_keys=True)


def read(text: str) -> Record:
    """Read what :func:`write` wrote, today or in an earlier version.

    Raises:
        RecordError: damaged, or of a newer form than this.
    """
    try:
        form = _Form.model_validate(json.loads(text))
        if form.version > FORM:
            raise RecordError(
                f"its record has form {form.version}, this Vulcan reads up to {FORM}: update Vulcan"
            )
        return _record(form)
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordError(f"its record is damaged: {_reason(error)}") from error


def _portable(request: Request) -> dict[str, Any]:
    """Return the request without where on this machine its input picture lies."""
    fields = request.to_dict()
    if request.image:
        del fields["image"]["path"]
    return fields


def _record(form: _Form) -> Record:
    image = form.request.get("image")
    whole = {**form.request, "image": {**image, "path": ""}} if image else form.request
    hashes = Hashes(form.unet_sha256, form.lora_sha256, form.text_encoder_sha256, form.vae_sha256)
    return Record(
        request=_REQUEST.validate_python(whole),
        provenance=Provenance(
            hashes, form.workflow_sha256, form.host, form.host_software, form.lora_applied
        ),
        place=Place(form.picture, form.pictures),
        vulcan=form.vulcan,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return str(error) or type(error).__name__
