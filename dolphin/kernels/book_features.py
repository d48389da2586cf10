"""Features of an order book, one update a snapshot. Source: specification of the order book, features.

Depth = notional (price*size, USDT) within 20 bps of the mid, at most 20 levels a side. A snapshot is ``bids``, ``asks``: float64[n, 2]
of (price, size), best first. Every sum is taken anew over its few snapshots, so nothing drifts; the median of ten minutes stands in a
sorted array, where the value that leaves and the one that comes move only what lies between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.types import BOOK_FEATURES, BOOK_LEVELS, BOOK_STALE_MS, Array, BookVerdict, Ints

__all__ = [
    "BOOK_STATE", "MACRO", "RING", "check_snapshot_nb", "is_stale_nb", "macro_nb", "update_book_nb", "update_books_nb", "watch_books_nb",
]  # fmt: skip

RING = 1280
"""Snapshots kept of an asset: ten minutes at 500 ms, and some. A faster feed keeps the newest ones."""

MACRO = (
    "cascade_count", "regime_signal", "market_imbalance", "market_agreement", "withdrawal_share", "n_assets", "n_stale",
)  # fmt: skip
"""What all assets together say; ``withdrawal_share`` makes regime_signal 1 from 0.40 on; ``n_stale`` of ``n_assets`` are not fresh."""

BOOK_STATE = np.dtype(
    [
        ("n", "i8"), ("first", "i8"), ("low", "i8"), ("high", "i8"), ("ago", "i8"), ("ts", "i8"), ("features", "f8", (len(BOOK_FEATURES),)),
        ("recent", "f8", (20,)), ("times", "i8", (RING,)), ("mids", "f8", (RING,)), ("depths", "f8", (RING,)), ("ordered", "f8", (RING,)),
    ],
    align=True,
)  # fmt: skip
"""What one asset carries from snapshot to snapshot: ``n`` taken so far, ``ts`` of the last, the rings, and the indices of the oldest
snapshot of ten minutes (``first``), of those 20 s to 10 s ago (``low .. high-1``) and of the one 30 s ago (``ago``)."""

REACH = 20e-4
MEDIAN_MS, FAR_MS, NEAR_MS, MOVE_MS = 600_000, 20_000, 10_000, 30_000
ENOUGH = 60
OK, EMPTY, NOT_FINITE = int(BookVerdict.OK), int(BookVerdict.EMPTY), int(BookVerdict.NOT_FINITE)
BAD_SIZE, UNORDERED, DUPLICATE = int(BookVerdict.BAD_SIZE), int(BookVerdict.UNORDERED), int(BookVerdict.DUPLICATE)
CROSSED, OUT_OF_ORDER = int(BookVerdict.CROSSED), int(BookVerdict.OUT_OF_ORDER)
MA5, WITHDRAWAL, QUALITY, MOVE = (BOOK_FEATURES.index(n) for n in ("imbalance_ma5", "withdrawal_velocity", "depth_quality", "mid_move_bps"))


@kernel
def _check_side_nb(levels: Array, sign: float) -> int:
    for k in range(levels.shape[0]):
        price, size = levels[k, 0], levels[k, 1]
        if not (-np.inf < price < np.inf and -np.inf < size < np.inf):
            return NOT_FINITE
        if price <= 0.0 or size <= 0.0:
            return BAD_SIZE
        if k > 0:
            step = sign * (price - levels[k - 1, 0])
            if step >= 0.0:
                return DUPLICATE if step == 0.0 else UNORDERED
    return OK


@kernel
def check_snapshot_nb(bids: Array, asks: Array) -> int:
    """``BookVerdict`` of a snapshot: both sides there, finite, positive, best first, no price twice, best bid below best ask."""
    if bids.shape[0] == 0 or asks.shape[0] == 0:
        return EMPTY
    verdict = _check_side_nb(bids, 1.0)
    if verdict == OK:
        verdict = _check_side_nb(asks, -1.0)
    return CROSSED if verdict == OK and bids[0, 0] >= asks[0, 0] else verdict


@kernel
def _depth_nb(levels: Array, sign: float, worst: float) -> float:
    """Notional of the first levels up to the price ``worst``."""
    depth = 0.0
    for k in range(min(levels.shape[0], BOOK_LEVELS)):
        if sign * (levels[k, 0] - worst) < 0.0:
            break
        depth += levels[k, 0] * levels[k, 1]
    return depth


@kernel
def _place_nb(ordered: Array, n: int, value: float) -> int:
    """First of ``ordered[:n]`` (ascending) that is not below ``value``."""
    low = 0
    while n > 0:
        half = n >> 1
        right = ordered[low + half] < value
        low += half + 1 if right else 0
        n = n - half - 1 if right else half
    return low


@kernel
def _swap_nb(ordered: Array, n: int, old: float, new: float) -> None:
    """Take ``old`` out of ``ordered[:n]`` and put ``new`` in."""
    i, j = _place_nb(ordered, n, old), _place_nb(ordered, n, new)
    if j > i:
        for k in range(i, j - 1):
            ordered[k] = ordered[k + 1]
        ordered[j - 1] = new
    else:
        for k in range(i, j, -1):
            ordered[k] = ordered[k - 1]
        ordered[j] = new


@kernel
def _median_depth_nb(s: Any, ts_ms: int, depth: float) -> tuple[float, int]:
    """``(median of the depths of ten minutes with this one, how many they are)``; ``ordered`` and ``first`` move on."""
    depths, times, ordered = s.depths, s.times, s.ordered
    held, gone, leaving = s.n - s.first, False, 0.0
    while s.first < s.n and (times[s.first % RING] <= ts_ms - MEDIAN_MS or s.n - s.first >= RING):
        if gone:
            i = _place_nb(ordered, held, leaving)
            held -= 1
            for k in range(i, held):
                ordered[k] = ordered[k + 1]
        leaving, gone = depths[s.first % RING], True
        s.first += 1
    if gone:
        _swap_nb(ordered, held, leaving, depth)
    else:
        i = _place_nb(ordered, held, depth)
        for k in range(held, i, -1):
            ordered[k] = ordered[k - 1]
        ordered[i] = depth
        held += 1
    return 0.5 * ordered[(held - 1) >> 1] + 0.5 * ordered[held >> 1], held


@kernel
def _imbalances_nb(s: Any, imbalance: float) -> tuple[float, float]:
    """``(imbalance_ma5, imbalance_persistence)`` with this snapshot, number ``s.n``."""
    recent, n = s.recent, s.n
    recent[n % 20] = imbalance
    total, few = 0.0, min(n + 1, 5)
    for k in range(n + 1 - few, n + 1):
        total += recent[k % 20]
    mean = total / few
    sign, same, many = np.sign(mean), 0, min(n + 1, 20)
    for k in range(many):
        same += 1 if np.sign(recent[k]) == sign else 0
    return mean, same / many


@kernel
def _past_nb(s: Any, ts_ms: int, depth: float, mid: float) -> tuple[float, float]:
    """``(withdrawal_velocity, mid_move_bps)`` after this snapshot, number ``s.n``, went into the rings; NaN = no snapshot then."""
    times, n = s.times, s.n
    oldest = max(0, n + 1 - RING)
    s.low, s.high, s.ago = max(s.low, oldest), max(s.high, oldest), max(s.ago, oldest)
    while times[s.low % RING] < ts_ms - FAR_MS:
        s.low += 1
    while times[s.high % RING] <= ts_ms - NEAR_MS:
        s.high += 1
    total = 0.0
    for k in range(s.low, s.high):
        total += s.depths[k % RING]
    withdrawal = depth * (s.high - s.low) / total - 1.0 if total > 0.0 else np.nan
    while s.ago < n and times[(s.ago + 1) % RING] <= ts_ms - MOVE_MS:
        s.ago += 1
    age = ts_ms - times[s.ago % RING]
    move = (mid / s.mids[s.ago % RING] - 1.0) * 1e4 if MOVE_MS <= age <= MOVE_MS + BOOK_STALE_MS else np.nan
    return withdrawal, move


@kernel
def _fill_nb(imb_side: float, spread_bps: float) -> float:
    """``clamp(0.62 - 0.30*imb_side - 0.02*(spread_bps - 1), 0.05, 0.95)``."""
    return min(max(0.62 - 0.30 * imb_side - 0.02 * (spread_bps - 1.0), 0.05), 0.95)


@kernel
def update_book_nb(state: Any, i: int, ts_ms: int, bids: Array, asks: Array) -> int:
    """Take one snapshot of asset ``i`` into ``state`` BOOK_STATE[n_assets]; return its ``BookVerdict``. A bad one changes nothing.

    ``bids``, ``asks`` float64[n, 2], best first. Writes ``features`` (``BOOK_FEATURES``) of snapshots up to this one only; not later than
    the last one is OUT_OF_ORDER. depth_quality: against the snapshots younger than ten minutes, 1.0 below 60 of them, NaN when both
    depths are 0; withdrawal_velocity: against snapshots 10 s to 20 s ago inclusive; mid_move_bps: against the last one at least 30 s
    ago, NaN when that one is older than 35 s.
    """
    s = state[i]
    verdict = check_snapshot_nb(bids, asks)
    if verdict != OK:
        return verdict
    if ts_ms <= s.ts:
        return OUT_OF_ORDER
    bid, ask = bids[0, 0], asks[0, 0]
    mid = 0.5 * bid + 0.5 * ask
    bid_depth, ask_depth = _depth_nb(bids, 1.0, mid * (1.0 - REACH)), _depth_nb(asks, -1.0, mid * (1.0 + REACH))
    depth = bid_depth + ask_depth
    if not depth < np.inf:
        return NOT_FINITE
    imbalance = (bid_depth - ask_depth) / depth if depth > 0.0 else 0.0
    mean, persistence = _imbalances_nb(s, imbalance)
    median, held = _median_depth_nb(s, ts_ms, depth)
    slot = s.n % RING
    s.times[slot], s.mids[slot], s.depths[slot] = ts_ms, mid, depth
    withdrawal, move = _past_nb(s, ts_ms, depth, mid)
    quality = depth / median if held >= ENOUGH else 1.0
    spread = (ask - bid) / mid * 1e4
    f = s.features
    f[0], f[1], f[2], f[3] = imbalance, mean, persistence, withdrawal
    f[4] = 3.0 if quality > 3.0 else quality
    f[5], f[6], f[7] = spread, _fill_nb(mean, spread), _fill_nb(-mean, spread)
    f[8], f[9], f[10] = move, mid, depth
    s.n += 1
    s.ts = ts_ms
    return OK


@kernel
def update_books_nb(state: Any, ts: Ints, levels: Array, counts: Ints, verdicts: Any) -> None:
    """A snapshot of every asset at once: ``ts`` int64[n] ms (0 = none of this asset), ``levels`` float64[n, 2, 20, 2] (bids, asks),
    ``counts`` int64[n, 2] levels a side, ``verdicts`` int8[n], written: ``update_book_nb``, 0 where there was no snapshot."""
    for i in range(ts.shape[0]):
        verdicts[i] = 0
        if ts[i] > 0:
            verdicts[i] = update_book_nb(state, i, ts[i], levels[i, 0, : counts[i, 0]], levels[i, 1, : counts[i, 1]])


@kernel
def _median_nb(values: Array, n: int) -> float:
    """Median of ``values[:n]``, which it reorders (Hoare's selection); NaN of none."""
    if n == 0:
        return np.nan
    k, low, high = n >> 1, 0, n - 1
    while low < high:
        pivot, i, j = values[k], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        low, high = i if j < k else low, j if k < i else high
    if n & 1:
        return values[k]
    below = values[0]
    for i in range(1, k):
        below = max(below, values[i])
    return 0.5 * below + 0.5 * values[k]


@kernel
def _known_nb(features: Array, ts: Ints, now_ms: int, column: int, scratch: Array) -> int:
    """Gather the finite values of one feature of the fresh assets into ``scratch``; how many they are."""
    n = 0
    for i in range(ts.shape[0]):
        if 0 < ts[i] <= now_ms and now_ms - ts[i] <= BOOK_STALE_MS and -np.inf < features[i, column] < np.inf:
            scratch[n] = features[i, column]
            n += 1
    return n


@kernel
def macro_nb(features: Array, ts: Ints, now_ms: int, scratch: Array, out: Array) -> None:
    """What the assets with a snapshot of the last 5 s say together, into ``out`` float64[7] (``MACRO``).

    ``features`` float64[n, 11] (``BOOK_FEATURES``), ``ts`` int64[n] ms of the snapshots (0 = none; later than ``now_ms`` = none),
    ``scratch`` float64[n]. Shares and medians run over the assets whose value is known; without one the result is NaN = neutral.
    """
    fresh, cascades = 0, 0
    for i in range(ts.shape[0]):
        if 0 < ts[i] <= now_ms and now_ms - ts[i] <= BOOK_STALE_MS:
            fresh += 1
            mean = features[i, MA5]
            if features[i, WITHDRAWAL] < -0.40 and abs(mean) > 0.30 and np.sign(mean) * features[i, MOVE] > 25.0:
                cascades += 1
    out[:] = np.nan
    out[5], out[6] = ts.shape[0], ts.shape[0] - fresh
    n = _known_nb(features, ts, now_ms, MA5, scratch)
    out[2] = _median_nb(scratch, n)
    same = 0
    for k in range(n):
        same += 1 if np.sign(scratch[k]) == np.sign(out[2]) else 0
    out[3] = same / n if n > 0 else np.nan
    n = _known_nb(features, ts, now_ms, WITHDRAWAL, scratch)
    if n == 0:
        return
    leaving = 0
    for k in range(n):
        leaving += 1 if scratch[k] < -0.20 else 0
    out[0], out[4] = cascades, leaving / n
    calm = _median_nb(scratch, n) > -0.02 and _median_nb(scratch, _known_nb(features, ts, now_ms, QUALITY, scratch)) >= 1.0
    out[1] = 1.0 if out[4] >= 0.40 else -1.0 if calm else 0.0


@kernel
def is_stale_nb(assets: float, stale: float) -> bool:
    """Whether the book as a whole is stale: no asset, or fewer than half of them, has a snapshot of the last 5 s."""
    return stale == assets or 2 * stale > assets


@kernel
def watch_books_nb(features: Array, ts: Ints, samples: Ints, moments: Ints, fill: int, out: Array) -> None:
    """What the watchdog asks at each of ``moments`` int64[m] ms, into ``out`` float64[m, 3]: 1 for a stale book (else 0), and over the
    fresh assets the medians of depth quality and of feature ``fill``; NaN = not known.

    ``features`` float64[n_samples, n, 11], ``ts`` int64[n_samples, n] ms of the snapshots (0 = none), ``samples`` int64[m]: the sample
    to read, -1 = there is none.
    """
    n = ts.shape[1]
    scratch = np.empty(n)
    for i in range(moments.shape[0]):
        out[i, 0], out[i, 1], out[i, 2] = 1.0, np.nan, np.nan
        if samples[i] < 0:
            continue
        values, taken, stale = features[samples[i]], ts[samples[i]], n
        for j in range(n):
            stale -= 1 if 0 < taken[j] <= moments[i] and moments[i] - taken[j] <= BOOK_STALE_MS else 0
        out[i, 0] = 1.0 if is_stale_nb(n, stale) else 0.0
        out[i, 1] = _median_nb(scratch, _known_nb(values, taken, moments[i], QUALITY, scratch))
        out[i, 2] = _median_nb(scratch, _known_nb(values, taken, moments[i], fill, scratch))
