"""The user's account on Kaggle, through Kaggle's own package.

The package finds the credentials itself: ``KAGGLE_API_TOKEN``, ``~/.kaggle/access_token``,
``kaggle.json`` or what ``kaggle auth login`` left. They stay in it: nothing here reads, prints or
keeps them. The package is loaded when an account is opened, since loading it takes a second, makes
its settings folder and may ask Kaggle whose token it is.

What the package does otherwise is changed in three places, on our own instance of it alone: every
request has a time limit (it has none), it asks again by our :class:`Patience` (not for minutes by
its own), and a file that did not go up is an error (it would leave the file out and go on).
"""

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from training.errors import TrainingError
from training.kaggle import cloud_errors
from training.kaggle.patience import Interrupted, Patience

PRODUCTION = "https://api.kaggle.com"
_INSTALL = "pip install -r requirements.txt (kaggle 2.2.4 needs six, too, and does not say so)"

T = TypeVar("T")


class Account:
    """A signed-in account.

    Attributes:
        user: its name on Kaggle.
        api: the package's ``KaggleApi``; call it within :meth:`ask`.
        patience: how long to go on asking.
    """

    def __init__(self, api: Any, user: str, patience: Patience) -> None:
        self.api = api
        self.user = user
        self.patience = patience

    @classmethod
    def open(cls, endpoint: str | None = None, patience: Patience | None = None) -> "Account":
        """Sign in, and ask Kaggle whether it agrees.

        Args:
            endpoint: of another server than Kaggle's, for tests.
            patience: how long to go on asking.

        Raises:
            TrainingError: there are no credentials, Kaggle refuses them, or cannot be reached.
        """
        patience = patience or Patience()
        api = _package(endpoint, patience)
        user = patience.ask("signing in", lambda: _sign_in(api))
        account = cls(api, user, patience)
        account.ask("signing in", lambda: api.kernels_list(mine=True, page_size=1))
        return account

    def ask(self, doing: str, call: Callable[[], T]) -> T:
        """Call the package, quietly and with patience.

        Raises:
            CloudError: Kaggle says no, or cannot be reached.
        """
        return self.patience.ask(doing, lambda: _quietly(call))


def _sign_in(api: Any) -> str:
    try:
        _quietly(api.authenticate)
    except SystemExit as ended:  # how the package says that it found nothing
        raise cloud_errors.no_credentials() from ended
    user = api.config_values.get(api.CONFIG_NAME_USER)
    if not user:
        raise cloud_errors.no_credentials()
    return str(user)


def _package(endpoint: str | None, patience: Patience) -> Any:
    """Load the package, set to an endpoint before it asks anything."""
    try:
        from kagglesdk import kaggle_env
    except ImportError as error:
        raise _not_installed(error) from error
    kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = endpoint or PRODUCTION
    try:
        # The package signs in while it is loaded, and prints where it cannot.
        extended = _quietly(_load)
    except ImportError as error:
        raise _not_installed(error) from error
    # It tells the links of uploads that it tries again, and who has one can write there.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    api = extended.KaggleApi()
    # No attempts of its own: each call of ours is one attempt.
    api.with_retry = lambda call, *_, **__: call
    _limit_requests(api, patience)
    _insist_on_uploads(api, patience)
    return api


def _load() -> Any:
    from kaggle.api import kaggle_api_extended

    return kaggle_api_extended


def _not_installed(error: ImportError) -> TrainingError:
    return TrainingError("Kaggle's package cannot be loaded", why=str(error), fix=_INSTALL)


def _limit_requests(api: Any, patience: Patience) -> None:
    """Give each client that the package builds a time limit for its requests."""
    build = api.build_kaggle_client

    def limited() -> Any:
        client = build()
        http = client.http_client()
        http._init_session()
        send = http._session.send

        def send_in_time(request: Any, **settings: Any) -> Any:
            settings["timeout"] = settings.get("timeout") or (patience.connect, patience.silence)
            return send(request, **settings)

        http._session.send = send_in_time
        return client

    api.build_kaggle_client = limited


def _insist_on_uploads(api: Any, patience: Patience) -> None:
    """Make a file that did not go up an error, and the second time a fresh start."""
    upload = api._upload_blob
    failed: set[str] = set()

    def once(path: str, context: Any, call: Callable[[], Any]) -> Any:
        token = call()
        if token is not None:
            failed.discard(path)
            return token
        if path in failed:  # what was begun cannot be gone on with: it may have expired
            context._file_uploads[-1].cleanup()
        failed.add(path)
        raise Interrupted("a file does not go up")

    def insist(path: str, quiet: bool, kind: Any, context: Any, content_type: Any = None) -> Any:
        # Each file has the whole patience: a long upload is no more easily given up than a short.
        return patience.ask(
            f"uploading {Path(path).name}",
            lambda: once(path, context, lambda: upload(path, quiet, kind, context, content_type)),
        )

    api._upload_blob = insist


def _quietly(call: Callable[[], T]) -> T:
    """Call without what the package prints: its help, its warnings, its retries."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return call()
