from pathlib import Path

import pytest

from configs import settings
from configs.settings import ConfigError


def test_the_built_in_file_gives_every_setting_a_value() -> None:
    loaded = settings.load(environ={})
    assert loaded.model.file_type == "Q4_K_S"
    assert loaded.folders.inbox == settings.ROOT / "inbox"


def test_flags_beat_the_environment_beats_the_file(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[host]\ndepth = 3\ngrace = 4.0\nsilence = 6.0\n")
    loaded = settings.load(
        own,
        flags={"host": {"depth": 9, "use": None}},
        environ={"VULCAN_HOST__DEPTH": "7", "VULCAN_HOST__GRACE": "8"},
    )
    assert (loaded.host.depth, loaded.host.grace, loaded.host.silence) == (9, 8.0, 6.0)


def test_relative_paths_count_from_the_file_that_names_them(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[folders]\ninbox = "drop"\n')
    assert settings.load(own, environ={}).folders.inbox == tmp_path / "drop"


def test_the_state_folder_follows_its_own_variable(tmp_path: Path) -> None:
    assert settings.load(environ={"VULCAN_STATE": str(tmp_path)}).state == tmp_path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[hots]\n", "no such setting; did you mean host?"),
        ("[host]\ndept = 1\n", "did you mean depth?"),
        ("[host]\ndepth = 0\n", "host.depth"),
        ('[host]\nuse = "ftp://x"\n', "expected auto, embedded or a URL"),
        ('host = "x"\n', "is a table of settings"),
        ("[host\n", "is not TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, text: str, says: str
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(ConfigError) as caught:
        settings.load(own, environ={})
    assert says in str(caught.value)
    assert str(own) in str(caught.value)


def test_a_missing_file_is_an_error_not_a_default(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        settings.load(tmp_path / "none.toml", environ={})


def test_an_unknown_variable_of_ours_is_an_error() -> None:
    with pytest.raises(ConfigError, match="VULCAN_STATE"):
        settings.load(environ={"VULCAN_STAT": "x"})
