"""Who may do what: loopback names only, reading for everybody on this machine, the kill switch for who has the token.

A page of another origin can neither read this one (no CORS, foreign ``Host`` refused: a name that is rebound to 127.0.0.1 is another name)
nor post to it (JSON only, same origin). Wrong tokens are counted, told and answered 429 after a few; the right one always works, for who
floods this machine with wrong tokens must not take the kill switch away. 64 random bits stand against guessing.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dolphin.storage.publish import publish

__all__ = ["Guesses", "Token", "is_loopback", "is_same_origin"]

_NAMES: Final = ("127.0.0.1", "localhost")
_BYTES: Final = 8
_GROUP: Final = 4


class Token:
    """The secret of one run, in groups that can be typed on a phone: ``3f9a-...``. The file is gone after ``forget``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        digits = secrets.token_hex(_BYTES)
        self.text = "-".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP))
        with publish(path) as temporary:
            temporary.unlink(missing_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(self.text + "\n")

    def is_right(self, given: str) -> bool:
        """Compared in constant time; case and dashes do not count."""
        return hmac.compare_digest(_plain(given).encode(), _plain(self.text).encode())

    def forget(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


class Guesses:
    """Wrong tokens within ``window_s``; beyond ``most`` they are not worth telling any more."""

    def __init__(self, clock: Callable[[], float], most: int = 5, window_s: float = 60.0) -> None:
        self._clock, self._most, self._window_s = clock, most, window_s
        self._times: deque[float] = deque(maxlen=most)

    def wrong(self) -> bool:
        """Note one; whether there were too many before it."""
        now = self._clock()
        many = len(self._times) == self._most and now - self._times[0] < self._window_s
        if not many:
            self._times.append(now)
        return many


def is_loopback(host: str) -> bool:
    """Whether a ``Host`` header names this machine's loopback; any port, for a tunnel may end on another one."""
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname in _NAMES and not parts.username and not parts.path and (parts.port or 80) > 0
    except ValueError:
        return False


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from this very page, or from no page at all (curl)."""
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site", "none")
    return site in ("none", "same-origin") and origin in (None, f"http://{headers.get('Host', '')}")


def _plain(text: str) -> str:
    return "".join(text.split()).replace("-", "").lower()
