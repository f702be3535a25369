"""What a job will do on a card: what stays there, what streams, the peak, and whether it fits.

A job is three uses of the card, one model each: prompts are encoded, the latents sampled, the
picture decoded. Two jobs are followed (:mod:`models.vram_card`), and the second is told: it finds
the card as every later one does. The peak is what really lives at once
(:mod:`models.vram_needs`), not ComfyUI's reckoning, which is told beside it.

It reads no file, asks no host and chooses nothing.
"""

from dataclasses import dataclass
from enum import StrEnum

from models import vram_needs
from models.flux import FluxShape
from models.vram_card import LEAST, MIB, Card, Launch
from models.vram_modules import Weights
from models.vram_needs import Picture

# Bytes that are gone before any model is loaded, where no host can be asked: the CUDA context, and
# on Windows the desktop and what the driver keeps; estimates.
TAKEN_WINDOWS, TAKEN_ELSEWHERE = 1000 * MIB, 450 * MIB
# Bytes a second over PCIe 4.0 with 8 lanes, as a laptop has: about 12 GB/s of its 16; a slow slot
# or memory that is not pinned gives half of it. Estimates.
BUS, SLOW_BUS = 12_000_000_000, 6_000_000_000
_ENCODING_BYTES = 200 * MIB  # T5's activations for 256 tokens, and an unpacked weight; estimate


class Use(StrEnum):
    """What a model is used for."""

    ENCODE = "encode"
    SAMPLE = "sample"
    DECODE = "decode"


class Verdict(StrEnum):
    """How well a job fits."""

    WHOLE = "whole"  # the unet stays on the card
    PARTLY = "partly"  # some of it streams
    TIGHT = "tight"  # less is free than ComfyUI wants for computing; it tries all the same
    CANNOT = "cannot"  # computing alone takes more than the card has


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a job.

    Attributes:
        shape: the unet's sizes.
        unet: its weights.
        encoders: CLIP-L and T5.
        vae: the autoencoder.
        loras: bytes of LoRAs that cross the bus to a GGUF's layers at each step.
    """

    shape: FluxShape
    unet: Weights
    encoders: Weights
    vae: Weights
    loras: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """One use of the card; sizes in bytes.

    Attributes:
        use: what for.
        on_card: whether it computes on the card.
        size: of the model, as ComfyUI counts it.
        resident: of its weights that stay on the card meanwhile.
        streamed: that cross the bus at each pass through it.
        reckoned: what ComfyUI keeps free for computing.
        computing: what computing takes.
        peak: of the card, others' share included.
    """

    use: Use
    on_card: bool
    size: int
    resident: int
    streamed: int
    reckoned: float
    computing: int
    peak: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job will do on a card.

    Attributes:
        picture: what is asked for.
        total: bytes of the card.
        idle: bytes free before any model is loaded.
        launch: how the host was started.
        stages: encode, sample, decode.
        loras: bytes of LoRAs that cross the bus at each step.
        tiled: the picture is decoded in tiles, as decoding it whole takes more than is free.
        verdict: how well it fits.
        log_lines: what ComfyUI will print of it, in its first job and the second.
    """

    picture: Picture
    total: int
    idle: int
    launch: Launch
    stages: tuple[Stage, Stage, Stage]
    loras: int
    tiled: bool
    verdict: Verdict
    log_lines: tuple[str, ...]

    @property
    def sampling(self) -> Stage:
        """The stage that takes the time."""
        return self.stages[1]

    @property
    def peak(self) -> int:
        """The most bytes of the card in use at once."""
        return max(stage.peak for stage in self.stages)

    @property
    def crossing(self) -> int:
        """Bytes that cross the bus at each step."""
        return self.sampling.streamed + self.loras

    @property
    def seconds(self) -> tuple[float, float]:
        """Seconds a step that this costs, on a good bus and on a slow one."""
        return self.crossing / BUS, self.crossing / SLOW_BUS


def taken(launch: Launch) -> int:
    """Bytes that are gone before any model is loaded, where no host says."""
    return TAKEN_WINDOWS if launch.windows else TAKEN_ELSEWHERE


def plan(
    models: Models, picture: Picture, total: int, launch: Launch, idle: int | None = None
) -> Plan:
    """Follow two jobs and tell the second.

    Args:
        models: with their weights.
        picture: size and batch.
        total: bytes of the card.
        launch: how the host was started.
        idle: bytes free before any model is loaded; estimated where not given.
    """
    free = max(0, total - taken(launch)) if idle is None else idle
    card = Card(total, free, launch)
    _job(card, models, picture)
    stages = _job(card, models, picture)
    cannot = vram_needs.floor(picture, models.shape) > total
    return Plan(
        picture,
        total,
        free,
        launch,
        stages,
        models.loras,
        _is_tiled(stages[2], total),
        Verdict.CANNOT if cannot else _verdict(stages[1], total, free),
        tuple(card.log_lines),
    )


def _job(card: Card, models: Models, picture: Picture) -> tuple[Stage, Stage, Stage]:
    on_card = card.launch.encoders_on_card
    card.load(models.encoders, on_card=on_card)
    encode = _stage(card, models, models.encoders, Use.ENCODE, 0, _ENCODING_BYTES, on_card)
    wanted, least = vram_needs.sampling_wished(picture), vram_needs.sampling(picture)
    card.load(models.unet, wanted, least)
    lives = vram_needs.pass_bytes(picture, models.unet, models.shape, lora=models.loras > 0)
    sample = _stage(card, models, models.unet, Use.SAMPLE, least, lives)
    wanted = vram_needs.decoding(picture)
    card.load(models.vae, wanted)
    lives = vram_needs.decoded_bytes(picture)
    return encode, sample, _stage(card, models, models.vae, Use.DECODE, wanted, lives)


def _stage(
    card: Card,
    models: Models,
    weights: Weights,
    use: Use,
    reckoned: float,
    computing: int,
    on_card: bool = True,
) -> Stage:
    there = sum(card.resident(one) for one in (models.unet, models.encoders, models.vae))
    least = card.launch.least_computing(card.total) - card.launch.reserved(card.total)
    return Stage(
        use,
        on_card,
        weights.size,
        card.resident(weights),
        card.streamed(weights) if on_card else 0,
        max(reckoned, least) if on_card else 0.0,
        computing if on_card else 0,
        card.total - card.idle + there + (computing if on_card else 0),
    )


def _is_tiled(decode: Stage, total: int) -> bool:
    """Tell whether decoding in one piece runs out of memory; ComfyUI then turns to tiles."""
    return decode.peak > total


def _verdict(sample: Stage, total: int, idle: int) -> Verdict:
    if sample.peak > total or sample.reckoned + LEAST > idle:
        return Verdict.TIGHT
    return Verdict.PARTLY if sample.streamed else Verdict.WHOLE
