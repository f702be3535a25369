"""Training pictures as tensors: scenes of the grammar, and wild ones of anything else.

The VAE has to carry pictures that no caption describes (a LoRA's concept, a photo for img2img), so
part of what it is trained on is drawn without rules.
"""

import numpy as np
import torch
from PIL import Image, ImageDraw

from models.micro import grammar, picture, spec
from models.micro.grammar import Scene
from models.micro.picture import SIDE, Pixels

WILD = 0.15
"""Share of wild pictures among the VAE's."""

TRAINED = tuple(scene for scene in grammar.scenes() if not scene.held_out)
"""Every scene that may be trained on."""


def random_scene(stream: np.random.Generator) -> Scene:
    """Any scene that is not held out, each as likely."""
    return TRAINED[int(stream.integers(len(TRAINED)))]


def anything(stream: np.random.Generator) -> Pixels:
    """A picture for the VAE: mostly a scene, sometimes a wild one."""
    if stream.random() < WILD:
        return picture.reduced(wild(stream), spec.SIDE)
    return shown(random_scene(stream), stream)


def shown(scene: Scene, stream: np.random.Generator) -> Pixels:
    """A picture of a scene, of the size that is trained on."""
    return picture.reduced(picture.draw(scene, stream), spec.SIDE)


def wild(stream: np.random.Generator) -> Pixels:
    """A few polygons and ellipses of any colours on a slope from one colour to another."""
    one, other = stream.uniform(0, 255, (2, 1, 1, 3))
    slope = np.linspace(0, 1, SIDE)[:, None, None]
    across = slope if stream.random() < 0.5 else slope.transpose(1, 0, 2)
    ground = np.broadcast_to(one + (other - one) * across, (SIDE, SIDE, 3))
    image = Image.fromarray(ground.astype(np.uint8)).resize((2 * SIDE, 2 * SIDE))
    pen = ImageDraw.Draw(image)
    for _ in range(int(stream.integers(1, 6))):
        colour = tuple(int(one) for one in stream.integers(0, 256, 3))
        corners = [tuple(point) for point in stream.uniform(0, 2 * SIDE, (3, 2))]
        if stream.random() < 0.5:
            (x0, y0), (x1, y1) = np.sort(np.array(corners[:2]), axis=0)
            pen.ellipse((x0, y0, x1, y1), fill=colour)
        else:
            pen.polygon(corners, fill=colour)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


def tensor(pictures: list[Pixels]) -> torch.Tensor:
    """(batch, 3, height, width), -1 to 1."""
    array = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    return (array / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def pixels(images: torch.Tensor) -> list[Pixels]:
    """Undo :func:`tensor`; what is out of range is clipped."""
    array = (images.float().clamp(-1, 1) + 1) * 127.5
    return list(array.round().byte().permute(0, 2, 3, 1).cpu().numpy())
