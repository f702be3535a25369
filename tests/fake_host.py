"""The fault host under one name, for tests that need a ComfyUI which misbehaves on order."""

from tests.fault_host.faults import Faults
from tests.fault_host.host import FakeHost
from tests.fault_host.pictures import picture
from tests.fault_host.server import serving
from tests.sample_request import REQUEST

__all__ = ["FakeHost", "Faults", "png", "serving"]


def png(seed: int, prompt: str = REQUEST.prompt) -> bytes:
    """Make the picture that the fault host makes of this seed and prompt."""
    return picture(prompt, seed)
