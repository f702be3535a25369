"""Messages to WebSocket frames, byte for byte as ComfyUI sends them; pure.

A text frame is the message as JSON. A binary frame is big-endian::

    1 PREVIEW_IMAGE                u32 1 | u32 format (1 JPEG, 2 PNG) | image
    4 PREVIEW_IMAGE_WITH_METADATA  u32 4 | u32 n | n bytes of JSON    | image

Type 1 has no ids inside and goes to clients that did not negotiate ``supports_preview_metadata``;
it follows ``progress``, while type 4 precedes it (see :mod:`host.messages`).
"""

import json
import struct

from host.messages import Event, Message, Preview, Step

Frame = str | bytes

_PREVIEW = 1
_PREVIEW_WITH_METADATA = 4


def text(event: Event) -> str:
    """Return the text frame of a message. ASCII only, so that lone surrogates survive."""
    return json.dumps({"type": event.name, "data": event.data})


def plain_preview(preview: Preview) -> bytes:
    """Return the type 1 frame of an image."""
    return struct.pack(">II", _PREVIEW, preview.format) + preview.image


def preview_with_metadata(preview: Preview) -> bytes:
    """Return the type 4 frame of an image."""
    head = json.dumps(
        {
            "node_id": preview.node_id,
            "prompt_id": preview.prompt_id,
            "display_node_id": preview.node_id,
            "parent_node_id": None,
            "real_node_id": preview.node_id,
            "image_type": preview.format.mime,
        }
    ).encode()
    return struct.pack(">II", _PREVIEW_WITH_METADATA, len(head)) + head + preview.image


def encode(message: Message, *, preview_metadata: bool) -> list[Frame]:
    """Return the frames of a message, in the order in which one client expects them."""
    if isinstance(message, Event):
        return [text(message)]
    return _encode_step(message, preview_metadata=preview_metadata)


def _encode_step(step: Step, *, preview_metadata: bool) -> list[Frame]:
    state, progress = text(step.state), text(step.progress)
    if step.preview is None:
        return [state, progress]
    if preview_metadata:
        return [state, preview_with_metadata(step.preview), progress]
    return [state, progress, plain_preview(step.preview)]
