"""Which sample of a recorded day of books answers a moment, and what all assets together said at it."""

from __future__ import annotations

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.kernels.book_features import MACRO, macro_nb
from dolphin.kernels.order_book import ASK, NOTHING, market_multiplier_nb
from dolphin.types import BOOK_STALE_MS, Array, Ints

__all__ = ["sample_macro_nb", "sample_rows_nb"]

N_MACRO = len(MACRO)


@kernel
def _row_nb(ts: Ints, snapshot_ts: Ints, at: int, now_ms: int, before_ms: int) -> int:
    """Sample ``at`` (-1: before the first) for ``now_ms``, or ``NOTHING``, or ``ASK``."""
    if at < 0:
        return NOTHING if now_ms > before_ms + BOOK_STALE_MS else ASK
    if now_ms == ts[at]:
        return at
    if now_ms > ts[at] + BOOK_STALE_MS:
        return NOTHING
    known, fresh = 0, 0
    for i in range(snapshot_ts.shape[1]):
        if snapshot_ts[at, i] > 0:
            known += 1
            fresh += 1 if now_ms - snapshot_ts[at, i] <= BOOK_STALE_MS else 0
    return NOTHING if fresh == 0 else at if fresh == known else ASK


@kernel
def sample_rows_nb(ts: Ints, snapshot_ts: Ints, moments: Ints, before_ms: int, rows: Ints) -> None:
    """For every one of ``moments`` int64[n] ms the sample that says what is known then, into ``rows`` int64[n]; in linear time when the
    moments ascend.

    ``ts`` int64[n_samples] ms, ascending; ``snapshot_ts`` int64[n_samples, n_symbols] ms, 0 = none, none older than 5 s at its sample;
    ``before_ms``: the last sample before these. A sample is the last one not later than the moment. ``NOTHING``: every snapshot of it is
    older than 5 s by then. ``ASK``: some are and some are not, or the moment lies within reach of earlier samples.
    """
    n, at = ts.shape[0], -1
    for i in range(moments.shape[0]):
        while at >= 0 and ts[at] > moments[i]:
            at -= 1
        while at + 1 < n and ts[at + 1] <= moments[i]:
            at += 1
        rows[i] = _row_nb(ts, snapshot_ts, at, moments[i], before_ms)


@kernel
def sample_macro_nb(features: Array, snapshot_ts: Ints, ts: Ints, direction: int, rows: Ints, done: Array, out: Array) -> None:
    """Macro values of the samples ``rows`` (negative ones are skipped) as of their own time, into ``out`` float64[n_samples, 5]
    (``OB_MACRO``); NaN = nothing known. ``features`` float64[n_symbols, n_samples, 11]; ``done`` bool[n_samples] marks what is there
    already, and is written.
    """
    macro, scratch = np.empty(N_MACRO), np.empty(snapshot_ts.shape[1])
    for i in range(rows.shape[0]):
        k = rows[i]
        if k < 0 or done[k]:
            continue
        macro_nb(features[:, k], snapshot_ts[k], ts[k], scratch, macro)
        out[k, :4] = macro[:4]
        out[k, 4] = market_multiplier_nb(direction * macro[2], macro[3]) if -np.inf < macro[2] < np.inf else np.nan
        done[k] = True
