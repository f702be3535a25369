"""Fetches model files from Hugging Face, and believes their hash alone.

The token comes as an argument, goes to Hugging Face's own client, and nowhere else.
"""

from collections.abc import Callable
from pathlib import Path

from models import store
from training.kaggle.hub_token import SECRET
from training.kaggle.model_file import ModelFile
from training.kaggle.refusal import Code, RefusalError

_INTERNET = "Turn Settings > Internet on (it needs a phone-verified account) and run all again"


def fetch(
    choices: tuple[ModelFile, ...],
    folder: Path,
    token: str | None,
    say: Callable[[str], None],
    endpoint: str | None = None,
) -> tuple[Path, ModelFile]:
    """Fetch the first file of several that can be had.

    Args:
        choices: the preferred one first; those without a repository are left out.
        folder: where to put it.
        token: of a Hugging Face account; None: as anybody.
        say: is told what is being done.
        endpoint: of the hub; None: the real one.

    Raises:
        RefusalError: none can be had; says why for the first of them.
    """
    refused: list[RefusalError] = []
    for file in choices:
        if file.repo:
            say(f"fetching {file.name} ({file.about / 1e9:.1f} GB) from {file.repo}")
            try:
                return _verified(_download(file, folder, token, endpoint), file), file
            except RefusalError as refusal:
                say(str(refusal))
                refused.append(refusal)
    raise refused[-1] if refused else _nowhere(choices[0])


def _download(file: ModelFile, folder: Path, token: str | None, endpoint: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    where = folder / file.repo.replace("/", "--")
    try:
        return Path(
            hf_hub_download(
                file.repo,
                file.path,
                revision=file.revision,
                local_dir=where,
                token=token or False,
                endpoint=endpoint,
            )
        )
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise _gated(file, token) from error
    except LocalEntryNotFoundError as error:
        why = "Hugging Face cannot be reached"
        raise _not_had(file, why, _INTERNET) from error
    except (HfHubHTTPError, OSError) as error:
        raise _not_had(file, _line(error), "Run all again; what was fetched is kept") from error


def _verified(path: Path, file: ModelFile) -> Path:
    digest = store.sha256(path)
    if file.sha256 and digest != file.sha256:
        path.unlink()
        why = f"its SHA-256 is {digest[:12]}..., not {file.sha256[:12]}..."
        raise _not_had(file, why, "Mount the file that will render as a data set")
    return path


def _gated(file: ModelFile, token: str | None) -> RefusalError:
    """Whether a repository is closed or is not there, the hub tells only to who may know."""
    if token:
        why = f"the account of {SECRET} may not read {file.repo}"
        fix = f"Accept the licence at https://huggingface.co/{file.repo} with that account"
    else:
        why = f"{file.repo} asks who you are, and no secret {SECRET} is attached"
        fix = (
            f"Accept the licence at https://huggingface.co/{file.repo}, make a token at "
            f"https://huggingface.co/settings/tokens, attach it in Add-ons > Secrets as {SECRET}"
        )
    return _not_had(file, why, f"{fix}, and run all again")


def _nowhere(file: ModelFile) -> RefusalError:
    return _not_had(
        file,
        "it is in no attached data set, and no public repository is known to have the same bytes",
        "Upload it once as a private Kaggle data set (https://www.kaggle.com/datasets, New "
        "Dataset), attach it in Add Input > Datasets, and run all again",
    )


def _not_had(file: ModelFile, why: str, fix: str) -> RefusalError:
    return RefusalError(Code.NO_BASE, f"{file.name} cannot be had", why=why, fix=fix)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
