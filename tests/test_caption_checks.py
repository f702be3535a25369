"""What is found in captions."""

from training.dataset import caption_checks, picture_set, token_count
from training.dataset.caption_checks import Caption
from training.dataset.caption_file import CaptionFile
from training.dataset.finding import Finding, Severity
from training.dataset.token_count import TokenCounter


def found(*captions: tuple[str, CaptionFile]) -> list[Finding]:
    items = [
        Caption(file, own, picture_set.with_trigger(own.text, "ohwx")) for file, own in captions
    ]
    return list(caption_checks.check(items, "ohwx", token_count.estimates()))


def one(own: CaptionFile) -> list[tuple[str, Severity]]:
    return [(each.code, each.severity) for each in found(("a.png", own))]


def test_a_sound_caption_has_no_finding() -> None:
    assert one(CaptionFile("ohwx woman in a garden")) == []
    assert one(CaptionFile("[trigger] in a garden")) == []


def test_missing_and_empty_captions_are_warnings() -> None:
    assert one(CaptionFile("", exists=False)) == [("no-caption", Severity.WARNING)]
    assert one(CaptionFile("")) == [("empty-caption", Severity.WARNING)]


def test_a_missing_trigger_is_a_note_as_it_is_put_in_front() -> None:
    assert one(CaptionFile("a woman")) == [("no-trigger", Severity.NOTE)]


def test_the_same_words_twice_are_told_with_both_files() -> None:
    both = found(("a", CaptionFile("ohwx, a hat")), ("b", CaptionFile("OHWX, A hat")))
    assert [(each.code, each.files) for each in both] == [("same-caption", ("a", "b"))]


def test_other_encodings_than_utf8_are_told() -> None:
    cases = {
        "cp1252": Severity.WARNING,
        "utf-16": Severity.WARNING,
        "utf-8-sig": Severity.NOTE,
    }
    for encoding, severity in cases.items():
        assert one(CaptionFile("ohwx", encoding=encoding)) == [("caption-encoding", severity)]


def test_a_watermark_is_told_by_the_word_and_not_by_a_part_of_one() -> None:
    assert one(CaptionFile("ohwx with a Shutterstock watermark")) == [
        ("watermark", Severity.WARNING)
    ]
    assert one(CaptionFile("ohwx, a logogram of signatures")) == []


def test_a_long_caption_is_a_note_past_clip_and_a_warning_past_t5() -> None:
    assert one(CaptionFile("ohwx " + "word " * 80)) == [("long-caption", Severity.NOTE)]
    assert one(CaptionFile("ohwx " + "word " * 300)) == [
        ("long-caption", Severity.WARNING),
        ("long-caption", Severity.NOTE),
    ]


def test_an_estimate_says_about_and_a_count_does_not() -> None:
    for exact, told in ((False, "is about 9 tokens of T5"), (True, "is 9 tokens of T5")):
        counter = TokenCounter("T5", 4, exact, lambda _: 9)
        caption = Caption("a", CaptionFile("ohwx"), "ohwx")
        (long,) = caption_checks.too_long([caption], counter)
        assert told in long.text


def test_a_caption_that_was_cut_off_is_told() -> None:
    assert ("caption-cut", Severity.WARNING) in one(CaptionFile("ohwx", cut=True))
