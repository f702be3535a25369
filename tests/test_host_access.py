"""Who may use the host: foreign pages, rebound names, and the token beyond loopback."""

import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as st

from host.__main__ import LOOPBACK, find_token
from host.access_token import LEAST_LENGTH, Token, TokenError
from host.origin import is_foreign
from host.system_stats import without_token
from tests.host_kit import LocalHost, free_port, saved, serving
from tests.test_host_process import ROOT, started

SECRET = "correct-horse-battery"
ANYWHERE = ipaddress.ip_address("0.0.0.0")
BEARER = {"Authorization": f"Bearer {SECRET}"}


# --- pages ---


@pytest.mark.parametrize("host", ["localhost:8188", "127.0.0.1", "[::1]:8188", "box", "box.local"])
def test_a_name_that_no_page_can_have_may_be_the_host(host: str) -> None:
    assert not is_foreign({"host": host})


@pytest.mark.parametrize("host", ["evil.example", "evil.example.:8188", "127.0.0.1.nip.io"])
def test_a_name_of_the_public_dns_is_refused_for_it_may_be_rebound(host: str) -> None:
    assert is_foreign({"host": host})
    assert not is_foreign({"host": host}, has_token=True)


def test_a_page_of_another_site_is_refused_by_what_the_browser_says() -> None:
    assert is_foreign({"host": "127.0.0.1:8188", "sec-fetch-site": "cross-site"})
    assert not is_foreign({"host": "127.0.0.1:8188", "sec-fetch-site": "same-origin"})


def test_with_a_token_every_other_origin_is_foreign() -> None:
    headers = {"host": "10.0.0.5:8188", "origin": "http://evil.example"}
    assert is_foreign(headers, has_token=True)
    assert not is_foreign({**headers, "origin": "http://10.0.0.5:8188"}, has_token=True)


@given(st.text(), st.text())
def test_no_header_is_too_odd_to_decide(host: str, origin: str) -> None:
    assert is_foreign({"host": host, "origin": origin}) in (True, False)


# --- the token itself ---


def test_beyond_loopback_there_is_no_start_without_a_token() -> None:
    with pytest.raises(TokenError, match="VULCAN_HOST_TOKEN"):
        find_token(None, None, ANYWHERE)
    assert find_token(None, None, LOOPBACK) is None
    assert find_token(None, SECRET, ANYWHERE) == Token(SECRET)
    assert find_token("another-secret-one", SECRET, LOOPBACK) == Token("another-secret-one")


@pytest.mark.parametrize("secret", ["", "x" * (LEAST_LENGTH - 1), "x" * 20 + " ", "ü" * 20])
def test_a_token_that_is_no_secret_or_no_header_is_refused(secret: str) -> None:
    with pytest.raises(TokenError):
        find_token(secret, None, LOOPBACK)


@given(st.text(), st.binary())
def test_nothing_but_the_token_opens(given_: str, query: bytes) -> None:
    assert not Token(SECRET).opens(f"Bearer {given_}", b"token=" + query)
    assert not Token(SECRET).opens(given_)


def test_a_token_does_not_show_itself() -> None:
    assert SECRET not in repr(Token(SECRET))
    words = ["--port", "1", "--token", SECRET, f"--token={SECRET}"]
    assert without_token(words) == ["--port", "1", "--token", "...", "--token=..."]


# --- a host that asks for it ---


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    with serving(tmp_path_factory.mktemp("host"), token=Token(SECRET)) as running:
        yield running


def test_every_route_asks_for_the_token(host: LocalHost) -> None:
    for path in ("/", "/prompt", "/api/jobs", "/view?filename=x.png", "/nosuch", "/system_stats"):
        answer = host.get(path)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert host.get(f"{path}{'&' if '?' in path else '?'}token={SECRET}").status == 401
    assert host.post("/prompt", {"prompt": saved()}).status == 401
    assert host.request("OPTIONS", "/prompt").status == 401
    assert host.request("GET", "/prompt", headers=BEARER).status == 200
    assert host.request("POST", "/prompt", {"prompt": saved()}, headers=BEARER).status == 200


@pytest.mark.parametrize("scheme", ["Basic", "Bearer wrong", "Bearer", "bearerx"])
def test_a_wrong_token_is_as_good_as_none(host: LocalHost, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {SECRET[:-1]}"}
    assert host.request("GET", "/prompt", headers=headers).status == 401


def test_a_socket_may_have_the_token_in_its_query_or_its_header(host: LocalHost) -> None:
    url = host.url.replace("http", "ws") + "/ws?clientId=me"
    header = [f"Authorization: Bearer {SECRET}"]
    for address, more in ((f"{url}&token={SECRET}", []), (url, header)):
        connection = websocket.create_connection(address, timeout=5, header=more)
        assert '"sid": "me"' in str(connection.recv())
        connection.close()
    for address in (url, f"{url}&token=wrong"):
        with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
            websocket.create_connection(address, timeout=5)


def test_the_token_does_not_open_the_door_to_foreign_pages(host: LocalHost) -> None:
    headers = {**BEARER, "Origin": "http://evil.example"}
    assert host.request("GET", "/prompt", headers=headers).status == 403
    url = host.url.replace("http", "ws") + f"/ws?token={SECRET}"
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(url, timeout=5, origin="http://evil.example")


# --- as it is started ---


def test_a_host_for_all_does_not_start_without_a_token(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "host", f"--port={free_port()}", f"--models={tmp_path}"]
    done = subprocess.run(
        [*command, "--listen=0.0.0.0"],
        cwd=ROOT,
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "VULCAN_HOST_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_for_all_serves_who_knows_the_token_and_tells_it_nobody(tmp_path: Path) -> None:
    flags = ("--listen=0.0.0.0", f"--token={SECRET}")
    with started(tmp_path / "models", tmp_path, *flags) as child:
        child.host.url = child.host.url.replace("0.0.0.0", "127.0.0.1")
        assert child.host.get("/system_stats").status == 401
        answer = child.host.request("GET", "/system_stats", headers=BEARER)
        assert answer.status == 200
        assert SECRET.encode() not in answer.body
        url = child.host.url.replace("http", "ws") + f"/ws?token={SECRET}"
        connection = websocket.create_connection(url, timeout=5)
        connection.send_binary(b"x")
        connection.send("\xff".encode("latin-1"), websocket.ABNF.OPCODE_TEXT)  # logged: not UTF-8
        connection.close()
    log = (tmp_path / "host.log").read_text()
    assert log
    assert SECRET not in log
