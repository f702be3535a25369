"""The Hugging Face token of a Kaggle kernel: its attached secret, or the environment's.

Is handed on to the download alone; never printed, never written.
"""

from collections.abc import Mapping

SECRET = "HF_TOKEN"  # noqa: S105  the name of the secret, not the secret


def find(environment: Mapping[str, str]) -> str | None:
    """Return the token; None where none is attached.

    ``kaggle_secrets`` is a module of Kaggle's image (Kaggle/docker-python, patches/).
    """
    if token := environment.get(SECRET):
        return token
    try:
        import kaggle_secrets  # type: ignore[import-not-found]  # only there
    except ImportError:
        return None
    absent = (kaggle_secrets.BackendError, kaggle_secrets.CredentialError, ConnectionError)
    try:
        return str(kaggle_secrets.UserSecretsClient().get_secret(SECRET))
    except absent:
        return None
