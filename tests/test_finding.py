from bridge.finding import Level, fine, note, problem, warning


def test_a_finding_belongs_to_the_group_its_name_begins_with() -> None:
    assert fine("host.models", "all there").group == "host"


def test_each_maker_gives_its_level() -> None:
    made = [
        fine("a.b", ""),
        note("a.b", ""),
        warning("a.b", "", "", ""),
        problem("a.b", "", "", ""),
    ]
    assert [one.level for one in made] == list(Level)


def test_a_finding_is_plain_text_for_json() -> None:
    assert problem("a.b", "w", "y", "f").as_dict() == {
        "level": "problem",
        "name": "a.b",
        "what": "w",
        "why": "y",
        "fix": "f",
    }
