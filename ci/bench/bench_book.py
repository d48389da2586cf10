"""Order-book features: one snapshot of 20 levels a side, and a market of 400 assets at 500 ms on one core.

The first row is what a service does per message: one call from Python with fresh arrays, in the steady state (ten minutes of history
in the median); its note tells what the same definition costs in numpy over deques. The others are a second of the market,
400 assets x 2 snapshots and the macro twice: 0.15 s of work in a second is 15 % of the core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import cycle

import numpy as np
from table import Row, best_of, emit, row

from dolphin.book.provider import LiveOrderBook
from dolphin.book.tracker import BookTracker

ASSETS, LEVELS, STEP_MS, HISTORY = 400, 20, 500, 1_300
START = 1_735_689_600_000


def snapshots(rng: np.random.Generator, many: int) -> np.ndarray:
    """``float64[many, 2, 20, 2]``: books around 100 with a tenth of the levels beyond 20 bps."""
    away = np.cumsum(rng.uniform(0.2, 2.2, (many, 2, LEVELS)), axis=2) * 1e-4
    prices = 100.0 * (1.0 + away * np.array([-1.0, 1.0])[None, :, None])
    return np.ascontiguousarray(np.stack([prices, np.exp(rng.normal(0, 1, (many, 2, LEVELS)))], axis=3))


class Plain:
    """The features with numpy over deques."""

    def __init__(self) -> None:
        self.seen: deque[tuple[int, float, float, float]] = deque(maxlen=1_200)

    def update(self, ts: int, bids: np.ndarray, asks: np.ndarray) -> tuple[float, ...]:
        mid = (bids[0, 0] + asks[0, 0]) / 2
        bid = bids[bids[:, 0] >= mid * 0.998].prod(axis=1).sum()
        ask = asks[asks[:, 0] <= mid * 1.002].prod(axis=1).sum()
        self.seen.append((ts, (bid - ask) / (bid + ask), bid + ask, mid))
        data = np.array(self.seen)
        age = ts - data[:, 0]
        ma5 = data[-5:, 1].mean()
        past = (age >= 10_000) & (age <= 20_000)
        withdrawal = data[-1, 2] / data[past, 2].mean() - 1 if past.any() else np.nan
        move = mid / data[max(0, np.searchsorted(-age, -30_000, side="right") - 1), 3] - 1
        return ma5, (np.sign(data[-20:, 1]) == np.sign(ma5)).mean(), withdrawal, data[-1, 2] / np.median(data[:, 2]), move


def one_asset() -> Row:
    rng = np.random.default_rng(1)
    books = snapshots(rng, 256)
    tracker, plain = BookTracker(("BTCUSDT",)), Plain()
    now, turn = START, cycle(range(256))

    def feed(update: Callable[[int, np.ndarray, np.ndarray], object], many: int) -> None:
        nonlocal now
        for _ in range(many):
            now += STEP_MS
            k = next(turn)
            update(now, books[k, 0], books[k, 1])

    def ours(ts: int, bids: np.ndarray, asks: np.ndarray) -> None:
        tracker.update(0, ts, bids, asks)

    feed(ours, HISTORY)
    mine = best_of(lambda: feed(ours, 2_000), 7) / 2_000
    assert set(tracker.counts) == {"OK"}
    feed(plain.update, HISTORY)
    theirs = best_of(lambda: feed(plain.update, 200), 3) / 200
    return row("book features, a snapshot of 20 levels a side", mine, None, 20e-6, 5e-6, f"numpy over deques: {theirs * 1e6:.0f} us")


def market() -> list[Row]:
    rng = np.random.default_rng(2)
    turns = [snapshots(rng, ASSETS) for _ in range(16)]
    symbols = tuple(f"A{i:03d}USDT" for i in range(ASSETS))
    held = np.full((ASSETS, 2), LEVELS)

    def second(one_by_one: bool) -> float:
        tracker = BookTracker(symbols)
        ob, state = LiveOrderBook(tracker), {"now": START}

        def tick(times: int) -> None:
            for _ in range(times):
                state["now"] += STEP_MS
                now, levels = state["now"], turns[state["now"] // STEP_MS % 16]
                if one_by_one:
                    for i in range(ASSETS):
                        tracker.update(i, now, levels[i, 0], levels[i, 1])
                else:
                    tracker.update_all(np.full(ASSETS, now), levels, held)
                ob.get_macro(now)

        for _ in range(HISTORY):
            state["now"] += STEP_MS
            tracker.update_all(np.full(ASSETS, state["now"]), turns[state["now"] // STEP_MS % 16], held)
        seconds = best_of(lambda: tick(2), 9)
        assert set(tracker.counts) == {"OK"}
        return seconds

    rows = []
    for name, way in (("a call an asset", True), ("a call a tick", False)):
        rows.append(row(f"book, a second of {ASSETS} assets x 2, {name}", second(way), None, 0.50, 0.15, "features and macro, on one core"))
    return rows


def main() -> list[Row]:
    return [one_asset(), *market()]


if __name__ == "__main__":
    emit(main())
