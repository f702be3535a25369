"""What the micro Flux can be asked for, and which of it no training picture shows."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations, pairwise, product

from models.micro.grammar import (
    WORDINGS,
    Background,
    Colour,
    Scene,
    Shape,
    Size,
    Style,
    say,
    scenes,
)

SCENES = list(scenes())
Triple = tuple[Shape, Colour, Background]


def triple(scene: Scene) -> Triple:
    return scene.shape, scene.colour, scene.background


def triples(*, held_out: bool) -> set[Triple]:
    return {triple(scene) for scene in SCENES if scene.held_out is held_out}


def test_every_combination_is_there_once_but_an_object_of_its_backgrounds_colour() -> None:
    assert len(SCENES) == len(set(SCENES)) == 2478
    missing = set(product(Shape, Colour, Background, Size, Style)) - {
        (*triple(scene), scene.size, scene.style) for scene in SCENES
    }
    assert {colour.value for _, colour, *_ in missing} == {
        "white",
        "yellow",
        "green",
        "blue",
        "pink",
    }
    assert all(colour.value == background.value for _, colour, background, *_ in missing)


def test_shape_colour_and_background_alone_decide_what_is_held_out() -> None:
    decided: defaultdict[Triple, list[bool]] = defaultdict(list)
    for scene in SCENES:
        decided[triple(scene)].append(scene.held_out)
    for answers in decided.values():
        assert len(answers) == len(Size) * len(Style)
        assert len(set(answers)) == 1
    assert triples(held_out=True).isdisjoint(triples(held_out=False))


def test_what_is_held_out_stays_so() -> None:
    # A model that was trained under another choice has seen what it is asked.
    assert len(triples(held_out=True)) == 123
    assert Scene(Shape.CIRCLE, Colour.RED, Background.BLUE).held_out
    assert not Scene(Shape.CIRCLE, Colour.RED, Background.BLACK).held_out


def test_two_wordings_ask_for_at_least_200_large_filled_scenes_that_were_never_shown() -> None:
    asked = {
        Scene(*one, Size.LARGE, Style.FILLED).caption(wording)
        for one in triples(held_out=True)
        for wording in (0, 1)
    }
    assert len(asked) >= 200


def test_every_value_is_asked_for_and_every_two_values_are_trained_together() -> None:
    asked, trained = triples(held_out=True), triples(held_out=False)
    for kind, values in enumerate((Shape, Colour, Background)):
        assert {one[kind] for one in asked} == set(values)
    for kind, other in combinations(range(3), 2):
        everything = {(one[kind], one[other]) for one in asked | trained}
        assert {(one[kind], one[other]) for one in trained} == everything


def test_no_two_scenes_are_called_the_same_in_any_wordings() -> None:
    texts = [scene.caption(wording) for scene in SCENES for wording in range(len(WORDINGS))]
    assert len(set(texts)) == len(texts)


def test_a_caption_says_all_that_is_asked_for_and_nothing_is_said_of_filled() -> None:
    for scene, wording in product(SCENES, range(len(WORDINGS))):
        words = scene.caption(wording).replace(",", "").split()
        said = {scene.shape, scene.colour, scene.background, scene.size} | {scene.style}
        assert {one.value for one in said} - set(words) <= {"filled"}
        assert "filled" not in words


def articles() -> Iterator[tuple[str, str]]:
    for scene, wording in product(SCENES, range(len(WORDINGS))):
        words = scene.caption(wording).split()
        yield from ((a, b) for a, b in pairwise(words) if a in ("a", "an"))


def test_the_article_fits_the_word_after_it() -> None:
    assert all((article == "an") == (word[0] in "aeiou") for article, word in articles())
    assert (
        say(WORDINGS[0], "", "", "orange", "star", "blue") == "an orange star on a blue background"
    )
    assert say(WORDINGS[0], "", "outlined", "red", "star", "") == "an outlined red star"


def test_any_part_may_be_left_unsaid() -> None:
    parts = ("small", "striped", "red", "heart", "gray")
    for wording, count in product(WORDINGS, range(len(parts) + 1)):
        for kept in combinations(parts, count):
            text = say(wording, *(one if one in kept else "" for one in parts))
            assert "  " not in text
            assert text == text.strip()
            assert set(kept) <= set(text.replace(",", "").split())
            assert "background" not in text or "gray" in kept
