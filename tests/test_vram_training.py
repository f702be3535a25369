from models import vram_training
from models.flux import FLUX_DEV
from models.vram_needs import Picture

Q4_K_S = 6_797_000_000


def total(picture: Picture, rank: int = 16) -> int:
    return vram_training.training(FLUX_DEV, Q4_K_S, picture.tokens, rank).total


def test_a_lora_on_attention_and_mlps_has_the_weights_that_peft_counts() -> None:
    assert 16 * vram_training.lora_width(FLUX_DEV) == 65_372_160  # 65.4 million at rank 16


def test_half_a_megapixel_on_a_4_bit_base_takes_about_ten_gigabytes() -> None:
    assert 9.5e9 < total(Picture(512, 512)) < 10.5e9
    assert 10.5e9 < total(Picture(768, 768)) < 11.5e9


def test_a_larger_picture_rank_or_base_takes_more() -> None:
    assert total(Picture(768, 512)) > total(Picture(512, 512))
    assert total(Picture(512, 512), rank=32) > total(Picture(512, 512))
    parts = vram_training.training(FLUX_DEV, 2 * Q4_K_S, 1280)
    assert parts.total - Q4_K_S == total(Picture(512, 512))


def test_the_parts_add_up() -> None:
    parts = vram_training.training(FLUX_DEV, Q4_K_S, 1280)
    assert parts.total == (
        parts.base + parts.lora + parts.optimiser + parts.boundaries + parts.recomputed
        + parts.unpacked + parts.context
    )  # fmt: skip
