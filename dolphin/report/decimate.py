"""Fewer points for a chart without losing a peak."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dolphin.types import Array, Ints

__all__ = ["decimate", "rounded"]


def decimate(lines: Array, limit: int) -> Ints:
    """Indices, rising and at most ``limit``, that keep the shape of ``lines`` float64[k, T].

    The bars are cut into equal buckets; of each the lowest and the highest value of every line stay, besides the first and the last
    bar and the begin of each run of NaN at least 1/500 of the bars long (so that a gap stays a gap). All bars stay when T <= limit.
    """
    k, n = lines.shape
    if n <= limit:
        return np.arange(n, dtype=np.int64)
    holes = _holes(np.isnan(lines), n // 500)[: limit // 4]
    buckets = max((limit - 2 - len(holes)) // (2 * k), 1)
    width = -(-n // buckets)
    padded = np.full((k, width * buckets), np.nan)
    padded[:, :n] = lines
    cells = padded.reshape(k, buckets, width)
    empty = np.isnan(cells)
    low = np.where(empty, np.inf, cells).argmin(axis=2)
    high = np.where(empty, -np.inf, cells).argmax(axis=2)
    base = np.arange(buckets) * width
    kept = np.unique(np.concatenate([(low + base).ravel(), (high + base).ravel(), holes, [0, n - 1]]))
    return np.asarray(kept[kept < n], dtype=np.int64)


def _holes(missing: npt.NDArray[np.bool_], length: int) -> Ints:
    """First bars of the runs of True, in any line, that are at least so long."""
    edges = np.diff(missing.astype(np.int8), axis=1, prepend=0, append=0)
    begin, end = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return np.unique(begin[end[:, 1] - begin[:, 1] >= length, 1])


def rounded(values: Array, *, digits: int | None = None, significant: int | None = None) -> list[float | None]:
    """The values with so many decimals or significant digits, as JSON values: NaN and infinite become None."""
    good = np.isfinite(values)
    clean = np.where(good, values, 0.0)
    if significant is not None:
        size = np.abs(clean)
        power = np.floor(np.log10(np.where(size > 0, size, 1.0)))
        scale = 10.0 ** np.clip(significant - 1 - power, 0, 300)
        clean = np.rint(clean * scale) / scale
    elif digits is not None:
        clean = np.round(clean, digits)
    clean = clean + 0.0
    result: list[float | None] = clean.tolist()
    for i in np.flatnonzero(~good):
        result[i] = None
    return result
