"""Books of the synthetic market: a path of the mid inside the bars, levels around it, their features. See ``dolphin.synthetic.book``."""

from __future__ import annotations

from typing import Any

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.kernels.book_features import update_book_nb
from dolphin.types import BOOK_LEVELS, Array, Ints

__all__ = ["CARRY", "autoregress_nb", "book_day_nb", "books_nb"]

CARRY = ("imbalance", "depth", "spread", "pulled", "pulling")
"""What an asset's book carries from snapshot to snapshot: three autoregressive states, the log depth that was pulled, and the
seconds for which it goes on being pulled by a withdrawal of its own."""

STEP = 0.9e-4
PULL_PER_SECOND = 0.020
RECOVERY_SECONDS = 240.0
CASCADE_PER_SECOND = 0.10
CASCADE_MOVE, CASCADE_SHARE, CASCADE_SECONDS, CASCADE_LEAN = 60e-4, 0.5, 15.0, 0.55


@kernel
def autoregress_nb(shocks: Array, keep: float, x: float) -> float:
    """``x <- keep*x + sqrt(1 - keep^2)*shock`` through ``shocks`` float64[n], replaced by the path (variance 1); returns its last value."""
    kick = np.sqrt(1.0 - keep * keep)
    for k in range(shocks.shape[0]):
        x = keep * x + kick * shocks[k]
        shocks[k] = x
    return x


@kernel
def _levels_nb(mid: float, half: float, depth: float, imbalance: float, sides: Array) -> None:
    """20 levels a side, ``sides`` float64[2, 20, 2], whose notional is ``depth*(1 +- imbalance)/2`` spread over a hump behind the touch."""
    total = 0.0
    for k in range(BOOK_LEVELS):
        total += (k + 2.0) * np.exp(-k / 7.0)
    for i in range(2):
        sign = 1.0 - 2.0 * i
        notional = 0.5 * depth * (1.0 + sign * imbalance)
        for k in range(BOOK_LEVELS):
            price = mid * (1.0 - sign * (half + STEP * k))
            sides[i, k, 0] = price
            sides[i, k, 1] = notional * (k + 2.0) * np.exp(-k / 7.0) / total / price


@kernel
def books_nb(mids: Array, shape: Array, out: Array) -> None:
    """One book for each of N assets: ``out`` float64[N, 2, 20, 2] (bids, asks; levels from the touch outwards; price, size in base units).

    ``mids`` float64[N] USDT; ``shape`` float64[N, 3] = (half the spread as a fraction, depth of both sides USDT, imbalance -1 to 1).
    """
    for i in range(mids.shape[0]):
        _levels_nb(mids[i], shape[i, 0], shape[i, 1], shape[i, 2], out[i])


@kernel
def book_day_nb(
    state: Any, i: int, bars: Array, open_ms: int, clock: Ints, usual: Array, lead: Array, market: Array, shocks: Array, dice: Array,
    carry: Array, out_ts: Ints, out: Array,
) -> None:  # fmt: skip
    """A day of snapshots of asset ``i`` through ``update_book_nb``; the features at each sample go to ``out``.

    ``bars`` float64[n_bars, 4] = open, high, low, close (a bar without a price has no book); ``clock`` = (snapshots a bar, ms between
    them, ms between samples); ``usual`` = (depth USDT, spread bps, memory of a snapshot for imbalance, depth, spread); ``lead``
    float64[n_bars]: what the imbalance knows of the next bar; ``market`` float64[n, 2]: the part of the imbalance that all share, and
    1.0 where the whole market withdraws; ``shocks`` float64[n, 4] normal, ``dice`` float64[n_bars, 3] uniform; ``carry`` float64[5]
    (``CARRY``), changed. Written: ``out_ts`` int64[n_samples] ms of the snapshot (0 = none), ``out`` float64[n_samples, 11].
    """
    per_bar, step_ms = clock[0], clock[1]
    seconds = step_ms / 1000.0
    sides = np.empty((2, BOOK_LEVELS, 2))
    keep, kick = usual[2:5], np.sqrt(1.0 - usual[2:5] ** 2)
    for b in range(bars.shape[0]):
        first, high, low, last = bars[b, 0], bars[b, 1], bars[b, 2], bars[b, 3]
        if not last > 0.0:
            continue
        move, noise, mid = last / first - 1.0, (high - low) / (1.7 * np.sqrt(per_bar)), first
        cascade = abs(move) > CASCADE_MOVE and dice[b, 0] < CASCADE_SHARE
        if dice[b, 1] < per_bar * seconds / 2_400.0:
            carry[4] = 20.0 + 70.0 * dice[b, 2]
        for k in range(per_bar):
            n, left = b * per_bar + k, per_bar - k
            ts = open_ms + (n + 1) * step_ms
            for x in range(3):
                carry[x] = keep[x] * carry[x] + kick[x] * shocks[n, x]
            mid += (last - mid) / left + noise * np.sqrt((left - 1.0) / left) * shocks[n, 3]
            mid = last if left == 1 else min(max(mid, low), high)
            ending = cascade and (left - 1) * seconds <= CASCADE_SECONDS
            pulled = ending or carry[4] > 0.0 or market[n, 1] > 0.0
            carry[3] += (CASCADE_PER_SECOND if ending else PULL_PER_SECOND) * seconds if pulled else -carry[3] * seconds / RECOVERY_SECONDS
            carry[3], carry[4] = min(carry[3], 3.0), max(carry[4] - seconds, 0.0)
            lean = np.sign(move) * CASCADE_LEAN if ending else 0.0
            imbalance = min(max(0.17 * carry[0] + 0.12 * market[n, 0] + lead[b] + lean, -0.9), 0.9)
            depth = usual[0] * np.exp(0.20 * carry[1] - carry[3])
            half = 0.5e-4 * usual[1] * np.exp(0.3 * carry[2] + 0.4 * carry[3])
            _levels_nb(mid, half, depth, imbalance, sides)
            update_book_nb(state, i, ts, sides[0], sides[1])
            if ts % clock[2] == 0:
                row = (ts - open_ms) // clock[2] - 1
                out_ts[row] = state[i].ts
                out[row] = state[i].features
