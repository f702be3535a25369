from pathlib import Path

import pytest

from core import training_advice
from core.training_record import Where
from core.training_setup import Setup
from models.micro import micro_set
from tests import train_kit
from training.run_plan import Assets


def setup(*, is_micro: bool) -> Setup:
    files = micro_set.place(micro_set.SHIPPED)
    assets = Assets(
        pictures=Path("photos"),
        unet=files.unet,
        clip_l=files.clip_l,
        t5=files.t5,
        vae=files.vae,
        models=Path("models"),
    )
    return Setup(train_kit.plan(), assets, files.unet, is_micro)


def test_a_machine_without_a_card_is_told_of_before_flux_is_trained_on_it(tmp_path: Path) -> None:
    (note,) = training_advice.notes(setup(is_micro=False), Where.LOCAL, [tmp_path / "none"])
    assert "--on kaggle" in note


def test_with_a_card_the_memory_is_estimated(tmp_path: Path) -> None:
    (tmp_path / "card").touch()
    cards = [tmp_path / "none", tmp_path / "card"]
    (note,) = training_advice.notes(setup(is_micro=False), Where.LOCAL, cards)
    assert "GB of the card's memory" in note


@pytest.mark.parametrize(("micro", "place"), [(True, Where.LOCAL), (False, Where.KAGGLE)])
def test_where_no_card_is_needed_here_nothing_is_told(
    tmp_path: Path, micro: bool, place: Where
) -> None:
    assert not training_advice.notes(setup(is_micro=micro), place, [tmp_path / "none"])
