import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import wsl_config
from bridge.wsl_config import Mode


@pytest.mark.parametrize(
    "text",
    [
        "[wsl2]\nnetworkingMode=mirrored\n",
        "[WSL2]\r\n  NETWORKINGMODE = Mirrored # why not\r\n",
        "# [none]\n; networkingMode=nat\n[wsl2]\nnetworkingMode='mirrored'",
        "[experimental]\nnetworkingMode=mirrored",
        "[wsl2]\nnetworkingMode=nat\nnetworkingMode=mirrored",
    ],
)
def test_case_comments_and_quotes_do_not_matter(text: str) -> None:
    assert wsl_config.parse(text).mode is Mode.MIRRORED


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("networkingMode=mirrored", "networkingMode stands under no section"),
        ("[network]\nnetworkingMode=mirrored", "stands under [network], where WSL does not"),
        ("[wsl2]\nnetworkMode=mirrored", "there is no setting networkmode"),
        ("[wsl2]\nnetworkingMode=mirror", "there is no networking mode 'mirror'"),
        ("[wsl2]\nhostAddressLoopback=true", "hostaddressloopback stands under [wsl2]"),
    ],
)
def test_what_wsl_would_skip_is_told(text: str, what: str) -> None:
    config = wsl_config.parse(text)
    assert config.mode is None
    (slip,) = config.slips()
    assert what in slip.what
    assert slip.fix


def test_a_file_without_a_slip_has_none() -> None:
    text = "[wsl2]\nmemory=8GB\nnetworkingMode=nat\ndnsTunneling=true\n[experimental]\nfoo=1"
    assert wsl_config.parse(text).slips() == ()


def test_ignored_ports_are_a_list() -> None:
    config = wsl_config.parse("[experimental]\nignoredPorts=80, 8188")
    assert config.ignores_port(8188)
    assert not config.ignores_port(8000)


@given(st.text())
def test_no_text_is_too_broken_to_be_read(text: str) -> None:
    wsl_config.parse(text).slips()
