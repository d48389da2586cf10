"""What `dolphin up` needs of a live feed: the market's clock where a demo exchange is the feed."""

from __future__ import annotations

import httpx
import msgspec

from dolphin.errors import MissingDependency
from dolphin.storage.market_clock import MarketClock

__all__ = ["market_clock"]

PATIENCE_S = 10.0


class _Told(MarketClock, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """More is told than is needed."""


def market_clock(url: str) -> MarketClock | None:
    """The clock of the demo exchange at ``url``; None without one: then the market's time is the wall's.

    Raises ``MissingDependency`` when nothing answers there, or not as a demo exchange does.
    """
    if not url:
        return None
    hint = "`dolphin demo-exchange` starts one"
    try:
        answer = httpx.get(f"{url}/demo/clock", timeout=PATIENCE_S, trust_env=False)
        told = msgspec.json.decode(answer.raise_for_status().content, type=_Told)
    except (httpx.HTTPError, msgspec.MsgspecError) as error:
        raise MissingDependency(f"no demo exchange at {url} ({type(error).__name__}: {error}); {hint}") from error
    return MarketClock(start_ms=told.start_ms, started_monotonic=told.started_monotonic, speed=told.speed)
