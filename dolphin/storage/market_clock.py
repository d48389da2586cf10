"""What time it is on the market, one answer for all processes of a machine: real, replayed, or a demo exchange's at its own speed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from dolphin.errors import MalformedFile
from dolphin.storage.publish import publish

__all__ = ["MarketClock", "read_market_clock", "write_market_clock"]


class MarketClock(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At ``started_monotonic`` (seconds of CLOCK_MONOTONIC, one clock for all processes of a machine) the market's time was ``start_ms``;
    since then it runs ``speed`` times as fast as ours.
    """

    start_ms: Annotated[int, Meta(ge=0)]
    started_monotonic: float
    speed: Annotated[float, Meta(gt=0, le=100_000)]

    def market_ms(self, monotonic: float) -> int:
        """``start_ms + (monotonic - started_monotonic) * 1000 * speed``; before the start it stands at ``start_ms``."""
        return self.start_ms + int(max(0.0, monotonic - self.started_monotonic) * 1000.0 * self.speed)


def read_market_clock(path: Path) -> MarketClock | None:
    """The clock of a state folder, None when there is none: then it is the wall's. Raises ``MalformedFile`` for a file that is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=MarketClock)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedFile(f"is no market clock ({error})", path=path, hint="`dolphin up` writes it") from error


def write_market_clock(path: Path, clock: MarketClock) -> None:
    """Publish it at ``path``."""
    with publish(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(clock))
