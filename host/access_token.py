"""The secret that a client has to know where the host can be reached from other machines. Pure.

Sent as ``Authorization: Bearer TOKEN``; a WebSocket may have it as ``?token=TOKEN`` instead, since
a browser's cannot send headers. It is compared in constant time and never logged or shown.
"""

import hmac
from dataclasses import dataclass, field
from urllib.parse import parse_qs

LEAST_LENGTH = 16


class TokenError(ValueError):
    """No token that could be used; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """A secret; its ``repr`` does not tell it."""

    _secret: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what nobody could send or anybody could guess.

        Raises:
            TokenError: the secret is too short, or does not fit into a header.
        """
        secret = self._secret
        if len(secret) < LEAST_LENGTH:
            raise TokenError(f"The token must have at least {LEAST_LENGTH} characters")
        if not secret.isascii() or not secret.isprintable() or " " in secret:
            raise TokenError("The token may only have printable ASCII characters and no spaces")

    def opens(self, authorization: str | None, query: bytes = b"") -> bool:
        """Return whether a request may pass: by its header, or by ``query``, if it has one."""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and self._is(given.strip()):
            return True
        values = parse_qs(query.decode("latin-1")).get("token", [])
        return any(self._is(value) for value in values)

    def _is(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._secret.encode())
