"""Book features once more, slow and plain, written from the specification page: whole histories, lists, numpy, no incremental state."""

from __future__ import annotations

import math

import numpy as np


def verdict(bids, asks):
    """Name of the BookVerdict of a snapshot, the time aside."""
    if not len(bids) or not len(asks):
        return "EMPTY"
    for levels, sign in ((bids, 1), (asks, -1)):
        for k, (price, size) in enumerate(levels):
            if not (math.isfinite(price) and math.isfinite(size)):
                return "NOT_FINITE"
            if price <= 0 or size <= 0:
                return "BAD_SIZE"
            if k and price == levels[k - 1][0]:
                return "DUPLICATE"
            if k and sign * price > sign * levels[k - 1][0]:
                return "UNORDERED"
    return "CROSSED" if bids[0][0] >= asks[0][0] else "OK"


def clamp(x, low, high):
    return low if x < low else high if x > high else x


class OracleBook:
    """Keeps every accepted snapshot as (ts, bid depth, ask depth, mid, bid, ask) and answers from the whole list."""

    def __init__(self, ring=1280):
        self.seen, self.ring = [], ring

    def update(self, ts, bids, asks):
        name = verdict(bids, asks)
        if name == "OK" and self.seen and ts <= self.seen[-1][0]:
            name = "OUT_OF_ORDER"
        if name == "OK":
            mid = (bids[0][0] + asks[0][0]) / 2
            b = sum(p * s for p, s in bids[:20] if p >= mid * (1 - 20e-4))
            a = sum(p * s for p, s in asks[:20] if p <= mid * (1 + 20e-4))
            self.seen.append((ts, b, a, mid, bids[0][0], asks[0][0]))
        return name

    def features(self):
        now, b, a, mid, bid, ask = self.seen[-1]
        imbalance = [(x[1] - x[2]) / (x[1] + x[2]) if x[1] + x[2] > 0 else 0.0 for x in self.seen]
        few = imbalance[-5:]
        ma5 = sum(few) / len(few)
        many = imbalance[-20:]
        persistence = sum(np.sign(x) == np.sign(ma5) for x in many) / len(many)
        kept = self.seen[-self.ring :]
        before = [x[1] + x[2] for x in kept if 10_000 <= now - x[0] <= 20_000]
        withdrawal = (b + a) / np.mean(before) - 1 if before and sum(before) > 0 else math.nan
        window = [x[1] + x[2] for x in kept if now - x[0] < 600_000]
        median = float(np.median(window))
        if len(window) < 60:
            quality = 1.0
        elif median > 0:
            quality = clamp((b + a) / median, 0.0, 3.0)
        else:
            quality = 3.0 if b + a > 0 else math.nan
        spread = (ask - bid) / mid * 1e4
        old = [x for x in kept if now - x[0] >= 30_000]
        move = (mid / old[-1][3] - 1) * 1e4 if old and now - old[-1][0] <= 35_000 else math.nan
        buy, sell = (clamp(0.62 - 0.30 * side - 0.02 * (spread - 1), 0.05, 0.95) for side in (ma5, -ma5))
        return np.array([imbalance[-1], ma5, persistence, withdrawal, quality, spread, buy, sell, move, mid, b + a])


def macro(features, ts, now):
    """cascade_count, regime_signal, market_imbalance, market_agreement, withdrawal_share, n_assets, n_stale."""
    fresh = [f for f, t in zip(features, ts, strict=True) if 0 < t <= now and now - t <= 5_000]
    out = [math.nan] * 5 + [len(ts), len(ts) - len(fresh)]
    ma5 = [f[1] for f in fresh if math.isfinite(f[1])]
    if ma5:
        out[2] = float(np.median(ma5))
        out[3] = sum(np.sign(x) == np.sign(out[2]) for x in ma5) / len(ma5)
    leaving = [f[3] for f in fresh if math.isfinite(f[3])]
    if leaving:
        out[0] = sum(f[3] < -0.40 and abs(f[1]) > 0.30 and np.sign(f[1]) * f[8] > 25 for f in fresh)
        out[4] = sum(x < -0.20 for x in leaving) / len(leaving)
        quality = [f[4] for f in fresh if math.isfinite(f[4])]
        calm = np.median(leaving) > -0.02 and bool(quality) and np.median(quality) >= 1.0
        out[1] = 1 if out[4] >= 0.40 else -1 if calm else 0
    return np.array(out, dtype=float)
