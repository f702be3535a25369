"""What goes wrong with Kaggle, as a sentence and a word; calls nobody.

The sentence is for a person, the word (:class:`Trouble`) for the program that decides whether to
wait, to ask anew or to give up. Kaggle's own words are kept where it has some. Which status Kaggle
gives for what is partly known from its package and its issues only (docs/kaggle.md says what).
"""

from enum import StrEnum

from training.errors import TrainingError

SETTINGS = "https://www.kaggle.com/settings"
TOKEN = f"Make a token at {SETTINGS}/api and save it to ~/.kaggle/access_token (docs/kaggle.md)"
PHONE = f"Verify your phone number at {SETTINGS}, then call this again"
AGAIN = "Call this again: it goes on where it stopped"


class Trouble(StrEnum):
    """Why Kaggle does not do what it was asked."""

    CREDENTIALS = "credentials"  # none, or refused
    FORBIDDEN = "forbidden"  # this account may not (yet)
    QUOTA = "quota"  # the week's GPU hours are used up
    BUSY = "busy"  # too many runs at once, or too many requests
    CLASH = "clash"  # the name is taken
    PROCESSING = "processing"  # the data set is not ready yet
    GONE = "gone"  # deleted, or another account's
    NETWORK = "network"  # no connection, or Kaggle is down
    REFUSED = "refused"  # the notebook would not begin (wrong GPU, no base, no room)
    CANCELLED = "cancelled"  # by the user, on the site
    STOPPED = "stopped"  # at the time limit, or its machine was taken away; goes on
    FAILED = "failed"  # the run, or something else


class CloudError(TrainingError):
    """Kaggle does not do what it was asked.

    Attributes:
        trouble: why, as a word.
    """

    def __init__(self, trouble: Trouble, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what, why=why, fix=fix)
        self.trouble = trouble


def no_credentials() -> CloudError:
    """There is nothing that Kaggle's package could sign in with."""
    return CloudError(
        Trouble.CREDENTIALS, "there are no credentials for Kaggle that it accepts", fix=TOKEN
    )


def unreachable(doing: str, reason: str) -> CloudError:
    """Kaggle could not be reached for a long time."""
    return CloudError(
        Trouble.NETWORK,
        f"Kaggle cannot be reached while {doing}",
        why=f"{reason}; nothing is lost",
        fix=AGAIN,
    )


def asked_to_wait(doing: str, seconds: float) -> CloudError:
    """Kaggle names a time to wait that is too long to sit through."""
    minutes = max(1, round(seconds / 60))
    return CloudError(
        Trouble.BUSY,
        f"Kaggle takes no more requests for now (429), while {doing}",
        why=f"it asks to wait {minutes} min; nothing is lost",
        fix="Call this again then",
    )


def answered(doing: str, status: int, words: str) -> CloudError:
    """Kaggle answered with an HTTP status that says no.

    Args:
        doing: what was asked, as in "while ...".
        status: HTTP status, 400 or more.
        words: Kaggle's own, or empty.
    """
    if status == 401:
        return CloudError(
            Trouble.CREDENTIALS, "Kaggle refuses the credentials (401)", why=words, fix=TOKEN
        )
    if status == 403:
        return CloudError(
            Trouble.FORBIDDEN, f"Kaggle forbids {doing} (403)", why=words, fix=_forbidden(words)
        )
    if status == 404:
        return gone(doing, words)
    if status == 409:
        return clash(words)
    if status == 429 or status >= 500:
        return unreachable(doing, f"it answers {status}{f' ({words})' if words else ''}")
    return CloudError(Trouble.FAILED, f"Kaggle refuses {doing} ({status})", why=words)


def gone(doing: str, words: str = "") -> CloudError:
    """What was asked for is not there, or not this account's."""
    return CloudError(
        Trouble.GONE,
        f"Kaggle does not have it any more, while {doing}",
        why=words or "it was deleted, or belongs to another account",
        fix="Train under another name, or push it again",
    )


def clash(words: str) -> CloudError:
    """A title or slug is taken by something else."""
    return CloudError(
        Trouble.CLASH,
        "the name is taken on Kaggle",
        why=words,
        fix="Train under another name, or delete the old one on the site",
    )


def push_refused(words: str, url: str) -> CloudError:
    """A push came back with an error in Kaggle's words.

    "Maximum batch GPU session count of 2 reached." is recorded in Kaggle/kaggle-cli#185; the
    words for a used-up week and a missing phone number vary, so they are known by what they speak
    of.
    """
    said = words.lower()
    if "session count" in said:
        fix = f"Wait until another GPU run ends, or stop one at {url.rsplit('/', 1)[0]}"
        return CloudError(Trouble.BUSY, "Kaggle runs no more notebooks at once", why=words, fix=fix)
    if "quota" in said or "hours" in said:
        return quota_out(words)
    if "phone" in said or "verif" in said:
        what = "Kaggle gives this account no GPU yet"
        return CloudError(Trouble.FORBIDDEN, what, why=words, fix=PHONE)
    if "title" in said or "slug" in said or "already" in said:
        return clash(words)
    return CloudError(Trouble.FAILED, "Kaggle refuses the notebook", why=words)


def quota_out(words: str) -> CloudError:
    """The week's GPU hours are used up."""
    return CloudError(
        Trouble.QUOTA,
        "this week's GPU hours on Kaggle are used up",
        why=words,
        fix=f"Nothing is lost: call this again when they are back ({SETTINGS} says when)",
    )


def still_processing(dataset: str, minutes: float) -> CloudError:
    """Kaggle has not made the uploaded data set usable in time."""
    return CloudError(
        Trouble.PROCESSING,
        f"Kaggle is still processing the data set {dataset} after {minutes:.0f} min",
        fix="Call this again later: nothing is uploaded twice",
    )


def not_mounted(sources: list[str]) -> CloudError:
    """Kaggle took the notebook but not what it trains on."""
    return CloudError(
        Trouble.PROCESSING,
        f"Kaggle would not attach {', '.join(sources)} to the run",
        why="it is not ready, or not this account's; the run that began stops by itself",
        fix=AGAIN,
    )


def _forbidden(words: str) -> str:
    if "phone" in words.lower() or "verif" in words.lower():
        return PHONE
    return f"See whether your phone number is verified at {SETTINGS}, and whose token is used"
