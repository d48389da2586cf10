"""Survival stack and circuit breaker once more, written from the specification page: plain, slow, for readings in range."""

from __future__ import annotations

import math

import numpy as np


def cats(s, order_book=True):
    c1 = 0.0 if s.hz_nodes < 1 or s.heartbeat_age_s > 30 else 1.0
    c2 = {"OK": 1.0, "ORANGE": 0.5, "RED": 0.1}[s.mc_status] * math.exp(-max(0, s.staleness_hours - 6) / 3)
    c3 = 0.5 if s.ob_stale else min(max(0.3 + 0.7 * min(s.depth_quality, s.fill_prob), 0.3), 1.0)
    c4 = 1.0 if math.isinf(s.t_since_spike_min) else 0.3 + 0.7 * (1 - math.exp(-s.t_since_spike_min / 60))
    c5 = 1 / (1 + math.exp(30 * (s.drawdown - 0.12)))
    return c1, c2, c3 if order_book else 1.0, c4, c5


def target(s, order_book=True):
    c1, c2, c3, c4, c5 = cats(s, order_book)
    r = c1 * c5 * min(c2, c4) * c3
    if sum(c < 0.8 for c in (c2, c3, c4)) >= 2:
        r *= 0.5
    return r


def level(rm):
    return "APEX" if rm >= 0.9 else "STALKER" if rm >= 0.75 else "TURTLE" if rm >= 0.5 else "HIBERNATE"


ORDER = ["HIBERNATE", "TURTLE", "STALKER", "APEX"]


def postures(start, readings):
    """``readings``: (rm, halt). The rule read off a list of all levels since the last change."""
    now, since, out = start, [], []
    for rm, halt in readings:
        if halt:
            now, since = "HIBERNATE", []
        else:
            since.append(level(rm))
            rank = ORDER.index
            if len(since) >= 2 and all(rank(x) < rank(now) for x in since[-2:]):
                now, since = since[-1], []
            elif len(since) >= 5 and all(rank(x) > rank(now) for x in since[-5:]):
                now, since = min(since[-5:], key=rank), []
        out.append(now)
    return out


def signals(funding, dvol, fng, taker):
    a = 1.0 if funding < -0.0001 else 0.5 if funding < 0.0 else 0.0
    b = 1.0 if dvol > 80 else 0.5 if dvol > 55 else 0.0
    c = 1.0 if taker < 0.80 else 0.5 if taker < 0.90 else 0.0
    d = 0.0
    if a >= 0.5 or b >= 0.5 or c >= 0.5:
        d = 1.0 if fng < 25 else 0.5 if fng < 40 else 0.0
    return a + b + c + d


def threshold(w750, date, mode):
    """Percentile by hand: position 0.6*(n-1) in the sorted list, linear in between."""
    values = sorted(v for d, v in w750.items() if (mode == "full_sample" or d < date) and not math.isnan(v))
    if len(values) < (5 if mode == "as_of" else 1):
        return math.nan
    place = 0.6 * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def factors(rows):
    """Column medians of the finite values of the first ten rows."""
    columns = np.asarray(rows)[:10].T.tolist()
    return [float(np.median([v for v in c if math.isfinite(v)])) if any(map(math.isfinite, c)) else math.nan for c in columns]
