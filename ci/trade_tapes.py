"""Tapes of trades for tests of live bars: seeded, ids without holes, prices and sizes as an exchange prints them; and a slow oracle."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from dolphin.storage.trade_bars import Bar, Trade

__all__ = ["oracle_bars", "tape"]


def tape(seed: int, start_ms: int, length_ms: int, mean_ms: float, *, first_id: int = 1000) -> list[Trade]:
    """Trades of one symbol in ``[start_ms, start_ms + length_ms)``, on average ``mean_ms`` apart; several may share a stamp."""
    rng = random.Random(seed)
    at, number, cents, found = start_ms, first_id, rng.randint(1_000, 9_000_000), []
    while True:
        at += int(rng.expovariate(1.0 / mean_ms)) if rng.random() > 0.1 else 0
        if at >= start_ms + length_ms:
            return found
        cents = max(100, cents + rng.randint(-cents // 500 - 1, cents // 500 + 1))
        found.append(Trade(at, number, cents / 100, rng.randint(1, 50_000) / 1000, rng.random() < 0.5, rng.randint(1, 4)))
        number += 1


def oracle_bars(trades: Sequence[Trade], bar_ms: int, first_bar: int, bars: int, stale_bars: int) -> list[Bar | None]:
    """Bars of one symbol by rational arithmetic over sorted lists; what comes before the first trade has no price."""
    made: list[Bar | None] = []
    last, age = None, 0
    by_bar: dict[int, list[Trade]] = {}
    for trade in trades:
        by_bar.setdefault(trade.ts_ms // bar_ms, []).append(trade)
    for bar in range(first_bar, first_bar + bars):
        inside = sorted(by_bar.get(bar, []))
        age = 0 if inside else age + 1
        if inside:
            last, prices = inside[-1].price, [t.price for t in inside]
            sizes = [Fraction(Decimal(repr(t.size))) for t in inside]
            worth = sum(Fraction(Decimal(repr(t.price))) * size for t, size in zip(inside, sizes, strict=True))
            taker = sum((size for t, size in zip(inside, sizes, strict=True) if t.taker_buys), Fraction(0))
            count = float(sum(t.trades for t in inside))
            made.append(Bar(prices[0], max(prices), min(prices), last, float(sum(sizes)), float(worth), count, float(taker)))
        elif last is None or age > stale_bars:
            made.append(None)
        else:
            made.append(Bar(last, last, last, last, 0.0, 0.0, 0.0, 0.0))
    return made
