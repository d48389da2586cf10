"""Funding of the demo market: a rate every 8 hours of market time, a fixed number for each symbol and time."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["FUNDING_MS", "funding_rate", "next_funding_ms"]

FUNDING_MS: Final = 28_800_000
_USUAL, _SPREAD = 1e-4, 2e-4


def funding_rate(symbol: str, funding_ms: int) -> float:
    """Fraction that longs pay to shorts at ``funding_ms``: 1 bp plus or minus up to 2, from the hash of both."""
    digest = hashlib.blake2b(f"{symbol}:{funding_ms}".encode(), digest_size=8).digest()
    return round(_USUAL + _SPREAD * (2.0 * int.from_bytes(digest) / 2**64 - 1.0), 8)


def next_funding_ms(market_ms: int) -> int:
    """The next funding after ``market_ms``."""
    return (market_ms // FUNDING_MS + 1) * FUNDING_MS
