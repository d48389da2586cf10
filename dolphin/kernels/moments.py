"""Per-asset moments of a sliding window of log returns: who takes part, with which mean and scale.

Depends on rows up to the current one only. Whether an asset is frozen is decided by an integer (rows since its last return that was
not zero), never by a small variance: what is left of sums after large returns have come and gone would look like one. Sums are taken
afresh when a participant's sum of squares has fallen to 1/64 of its highest value, which bounds that residue. Source: data.md 3.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dolphin.kernels._jit import kernel
from dolphin.kernels.comoments import FAST, ONE, ZERO
from dolphin.types import Array, Ints

__all__ = ["INFO", "TRACKED", "Moments", "Rows", "moments_nb"]


class Rows(NamedTuple):
    """Log returns by row: ``returns`` float64[n_rows, n], 0 where missing or padding; ``full`` bool[n_rows]: every return of the row
    is missing; ``gap_start`` int64[n_rows + 1], ``gap_asset`` int64[n_gaps]: columns missing in row r of the other rows are
    ``gap_asset[gap_start[r]:gap_start[r + 1]]``.
    """

    returns: Array
    full: npt.NDArray[np.bool_]
    gap_start: Ints
    gap_asset: Ints


class Moments(NamedTuple):
    """By bar, after a leading row for the bar before the first: ``scale`` float64[1 + n_bars, n] = 1/sqrt(centred sum of squares),
    0 for those who take no part; ``mean`` float64[1 + n_bars, n], 0 likewise; ``info`` float64[n_bars, 7], columns ``INFO``.
    """

    scale: Array
    mean: Array
    info: Array


INFO: Final = ("participants", "changed", "rebuild", "gaps", "weight", "push", "stretch")
"""Number of participants; how many differ from the bar before; 1 = sums were taken afresh; missing returns of participants outside full
rows; rows that are not full; ``push`` and ``stretch`` bound the second eigenvalue: with ``C'`` the matrix of the bar before and the same
participants, ``lambda_2(C) <= stretch * (lambda_2(C') + push)``, push = ||d'(x - m')||^2, stretch = max (d/d')^2 (Weyl, Ostrowski).
"""

TRACKED: Final = 6
"""Rows of the state ``track``: sum, sum of squares, missing, rows since the last non-zero return, highest sum of squares, full rows."""

PARTICIPANTS, CHANGED, REBUILD, GAPS, WEIGHT, PUSH, STRETCH = (np.uint64(i) for i in range(len(INFO)))
SUM, SQUARES, MISSING, AGE, PEAK, FULL = (np.uint64(i) for i in range(TRACKED))


@kernel(fastmath=FAST)
def moments_nb(rows: Rows, start: int, stop: int, window: int, fresh: bool, track: Array, out: Moments) -> None:
    """Moments of the window that ends at each row ``start <= t < stop``.

    ``fresh``: forget ``track`` and sum the whole first window; otherwise ``track`` and row 0 of ``out`` continue from row start - 1.
    Takes part: >= 90 % of the returns finite, not frozen, variance > 1e-18 (and above the rounding of a constant return).
    """
    returns = rows.returns
    full = rows.full
    gap_start = rows.gap_start
    gap_asset = rows.gap_asset
    scale = out.scale
    mean = out.mean
    info = out.info
    n = np.uint64(track.shape[1])
    width = float(window)
    k = ZERO
    for t in range(np.uint64(start), np.uint64(stop)):
        s = k + ONE
        leaving = t - np.uint64(window)
        worn = 1.0 if fresh and k == ZERO else 0.0
        rebuild = False
        while True:
            first = t
            if worn > 0.0:
                rebuild = True
                first = leaving + ONE
                for j in range(n):
                    track[SUM, j] = track[SQUARES, j] = track[MISSING, j] = track[PEAK, j] = track[FULL, j] = 0.0
                    track[AGE, j] = width
            for r in range(first, t + ONE):
                for j in range(n):
                    x = returns[r, j]
                    track[SUM, j] += x
                    track[SQUARES, j] += x * x
                    track[AGE, j] = track[AGE, j] + 1.0 if x == 0.0 else 0.0
                for e in range(gap_start[r], gap_start[r + ONE]):
                    track[MISSING, gap_asset[e]] += 1.0
                track[FULL, ZERO] += full[r]
            if not rebuild:
                for j in range(n):
                    x = returns[leaving, j]
                    track[SUM, j] -= x
                    track[SQUARES, j] -= x * x
                for e in range(gap_start[leaving], gap_start[leaving + ONE]):
                    track[MISSING, gap_asset[e]] -= 1.0
                track[FULL, ZERO] -= full[leaving]
            weight = width - track[FULL, ZERO]
            worn = 0.0
            for j in range(n):
                count = weight - track[MISSING, j]
                squares = track[SQUARES, j]
                m = track[SUM, j] / count
                x = squares - m * track[SUM, j]
                part = (10.0 * count >= 9.0 * width) & (track[AGE, j] < width) & (x > 1e-18 * count) & (x > 1e-13 * squares)
                scale[s, j] = 1.0 / math.sqrt(x) if part else 0.0
                mean[s, j] = m if part else 0.0
                peak = track[PEAK, j] if track[PEAK, j] > squares else squares
                track[PEAK, j] = peak
                worn += 1.0 if part & (64.0 * squares < peak) else 0.0
            if rebuild or worn == 0.0:
                break
        participants = changed = gaps = push = stretch = 0.0
        for j in range(n):
            old = scale[k, j]
            new = scale[s, j]
            x = old * (returns[t, j] - mean[k, j])
            push += x * x
            participants += 1.0 if new > 0.0 else 0.0
            changed += 1.0 if (new > 0.0) != (old > 0.0) else 0.0
            gaps += track[MISSING, j] if new > 0.0 else 0.0
            ratio = new / old if old > 0.0 else 0.0
            stretch = ratio if ratio > stretch else stretch
        info[k, PARTICIPANTS] = participants
        info[k, CHANGED] = changed
        info[k, REBUILD] = rebuild
        info[k, GAPS] = gaps
        info[k, WEIGHT] = weight
        info[k, PUSH] = push
        info[k, STRETCH] = stretch * stretch
        k = s
