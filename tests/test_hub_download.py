"""Fetching model files with Hugging Face's own client, from a hub on this machine."""

import hashlib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from training.kaggle import hub_download, hub_token
from training.kaggle.model_file import ModelFile
from training.kaggle.refusal import Code, RefusalError

CONTENT = b"a model file" * 1000
TOKEN = "hf_secret"
OPEN = ModelFile(
    "a.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "open/one", "x/a.gguf"
)
GATED = ModelFile("a.gguf", len(CONTENT), OPEN.sha256, "gated/one", "a.gguf", gated=True)


class Hub(BaseHTTPRequestHandler):
    """Answers as huggingface.co does: an open repository, a gated one, none else."""

    seen: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        told = self.headers.get("Authorization", "")
        self.seen.append(told)
        if self.path.startswith("/gated/") and told != f"Bearer {TOKEN}":
            return self._refuse(401, "GatedRepo")
        if not self.path.startswith(("/gated/", "/open/")):
            return self._refuse(401, "RepoNotFound")
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("ETag", '"1234"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.end_headers()
        if body:
            self.wfile.write(CONTENT)
        return None

    def _refuse(self, code: int, error: str) -> None:
        self.send_response(code)
        self.send_header("X-Error-Code", error)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(
    hub: str, folder: Path, *choices: ModelFile, token: str | None = None
) -> tuple[Path, list[str]]:
    said: list[str] = []
    path, file = hub_download.fetch(choices, folder, token, said.append, hub)
    assert file in choices
    return path, said


def test_a_public_file_is_fetched_without_a_token(hub: str, tmp_path: Path) -> None:
    path, said = fetch(hub, tmp_path, OPEN)
    assert path.read_bytes() == CONTENT
    assert said == ["fetching a.gguf (0.0 GB) from open/one"]
    assert not any(Hub.seen)


def test_a_gated_file_is_fetched_with_a_token_that_nobody_hears_of(
    hub: str, tmp_path: Path
) -> None:
    path, said = fetch(hub, tmp_path, GATED, token=TOKEN)
    assert path.read_bytes() == CONTENT
    assert f"Bearer {TOKEN}" in Hub.seen
    assert TOKEN not in "".join(said)
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(TOKEN.encode() in content for content in written)


def test_without_a_token_a_gated_file_is_refused_with_the_steps(hub: str, tmp_path: Path) -> None:
    steps = r"no secret HF_TOKEN.*licence at https://huggingface.co/gated/one.*Add-ons > Secrets"
    with pytest.raises(RefusalError, match=steps) as caught:
        fetch(hub, tmp_path, GATED)
    assert caught.value.code is Code.NO_BASE


def test_with_a_token_of_another_account_the_licence_is_asked_for(hub: str, tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match="account of HF_TOKEN may not read gated/one") as caught:
        fetch(hub, tmp_path, GATED, token="hf_other")
    assert "hf_other" not in str(caught.value)


def test_the_next_choice_is_fetched_where_the_first_is_refused(hub: str, tmp_path: Path) -> None:
    path, said = fetch(hub, tmp_path, GATED, OPEN)
    assert "open--one" in path.as_posix()
    assert len(said) == 3


def test_what_has_other_bytes_is_refused_and_not_kept(hub: str, tmp_path: Path) -> None:
    file = ModelFile("a.gguf", len(CONTENT), "0" * 64, "open/one", "a.gguf")
    with pytest.raises(RefusalError, match=r"SHA-256 is .*, not 000000000000"):
        fetch(hub, tmp_path, file)
    assert not list(tmp_path.rglob("a.gguf"))


def test_a_file_that_nobody_published_is_refused_with_what_to_upload(tmp_path: Path) -> None:
    file = ModelFile("own-Q4_K_S.gguf", 0, "a" * 64)
    with pytest.raises(RefusalError, match=r"own-Q4_K_S.gguf.*in no attached data set.*Upload it"):
        hub_download.fetch((file,), tmp_path, None, print)


def test_without_a_network_the_internet_switch_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # spares its patience
    with pytest.raises(RefusalError, match="Internet on"):
        hub_download.fetch((OPEN,), tmp_path, None, lambda _: None, "http://127.0.0.1:9")


# --- the token ---


class BackendError(Exception):
    pass


class CredentialError(Exception):
    pass


def secrets(monkeypatch: pytest.MonkeyPatch, answer: str | Exception) -> None:
    """A ``kaggle_secrets`` as Kaggle's image has it."""

    class UserSecretsClient:
        def get_secret(self, label: str) -> str:
            assert label == "HF_TOKEN"
            if isinstance(answer, Exception):
                raise answer
            return answer

    module = ModuleType("kaggle_secrets")
    for part in (BackendError, CredentialError, UserSecretsClient):
        setattr(module, part.__name__, part)
    monkeypatch.setitem(sys.modules, "kaggle_secrets", module)


def test_the_token_is_the_attached_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets(monkeypatch, TOKEN)
    assert hub_token.find({}) == TOKEN
    assert hub_token.find({"HF_TOKEN": "mine"}) == "mine"


@pytest.mark.parametrize("error", [BackendError(), CredentialError(), ConnectionError()])
def test_a_secret_that_is_not_attached_is_no_token(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    secrets(monkeypatch, error)
    assert hub_token.find({}) is None


def test_outside_kaggle_there_is_no_token() -> None:
    assert hub_token.find({}) is None
