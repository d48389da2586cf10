"""Who asks: the key in X-MBX-APIKEY, HMAC-SHA256 of the request's own text under the secret, and a timestamp that is not old."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from daemons.exchange.params import Params, Refusal

__all__ = ["DEMO_KEY", "DEMO_SECRET", "Credentials", "check_time"]

DEMO_KEY: Final = "demo-key-of-the-exchange-on-this-machine"
DEMO_SECRET: Final = "demo-secret-of-the-exchange-on-this-machine"
_WINDOW_MS: Final = 5_000
_MOST_WINDOW_MS: Final = 60_000
_AHEAD_MS: Final = 1_000


@dataclass(frozen=True)
class Credentials:
    """The one account's. They guard nothing: the exchange is a demo and answers this machine only."""

    key: str = DEMO_KEY
    secret: str = field(default=DEMO_SECRET, repr=False)

    def check_key(self, given: str) -> None:
        """Raises ``Refusal`` -2014 without a key, -2015 for another one."""
        if not given:
            raise Refusal(-2014, "API-key format invalid.", 401)
        if not hmac.compare_digest(given.encode(), self.key.encode()):
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action", 401)

    def check_signature(self, query: str, body: str) -> None:
        """``query`` and ``body`` as they came. Raises ``Refusal`` -1102 without a signature, -1022 for a wrong one."""
        kept = ["&".join(part for part in text.split("&") if not part.startswith("signature=")) for text in (query, body)]
        given = [part[len("signature=") :] for text in (query, body) for part in text.split("&") if part.startswith("signature=")]
        if not given:
            raise Refusal(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
        right = hmac.new(self.secret.encode(), "".join(kept).encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(given[-1].encode(), right.encode()):
            raise Refusal(-1022, "Signature for this request is not valid.")


def check_time(params: Params, clocks: tuple[Callable[[], int], ...]) -> None:
    """The timestamp must be inside recvWindow of one of ``clocks``. Raises ``Refusal`` -1021 when it is not, -1131 for a wide window."""
    stamp, window = params.integer("timestamp"), params.integer("recvWindow", _WINDOW_MS)
    if window > _MOST_WINDOW_MS:
        raise Refusal(-1131, "recvWindow must be less than 60000")
    ages = [clock() - stamp for clock in clocks]
    if not any(-_AHEAD_MS < age <= window for age in ages):
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
