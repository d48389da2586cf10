"""The two sides of a full-depth order book as sorted arrays. Source: specification of the order book, features.

A side is ``keys`` float64[capacity] and ``sizes`` float64[capacity], of which the first ``n`` count: key = price for bids and -price
for asks, ascending, so that the best level is the last one and most changes move little.
"""

from __future__ import annotations

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.types import Array, BookVerdict, Ints

__all__ = ["apply_changes_nb", "check_changes_nb", "top_levels_nb"]

OK, NOT_FINITE, BAD_SIZE = int(BookVerdict.OK), int(BookVerdict.NOT_FINITE), int(BookVerdict.BAD_SIZE)


@kernel
def check_changes_nb(changes: Array) -> int:
    """``BookVerdict`` of ``changes`` float64[n, 3] = (side, price, size): finite, side +1 or -1, price > 0, size >= 0."""
    for k in range(changes.shape[0]):
        side, price, size = changes[k, 0], changes[k, 1], changes[k, 2]
        if not (-np.inf < price < np.inf and -np.inf < size < np.inf):
            return NOT_FINITE
        if (side != 1.0 and side != -1.0) or price <= 0.0 or size < 0.0:
            return BAD_SIZE
    return OK


@kernel
def _set_level_nb(keys: Array, sizes: Array, n: int, key: float, size: float) -> int:
    low, high = 0, n
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    found = low < n and keys[low] == key
    if size == 0.0:
        if found:
            for k in range(low, n - 1):
                keys[k], sizes[k] = keys[k + 1], sizes[k + 1]
            n -= 1
        return n
    if not found:
        for k in range(n, low, -1):
            keys[k], sizes[k] = keys[k - 1], sizes[k - 1]
        n += 1
    keys[low], sizes[low] = key, size
    return n


@kernel
def apply_changes_nb(keys: Array, sizes: Array, counts: Ints, changes: Array) -> None:
    """Set every (side, price) of checked ``changes`` to its size, in their order; size 0 removes the level.

    ``keys``, ``sizes`` float64[2, capacity] (bids, asks), ``counts`` int64[2], all changed; room for ``len(changes)`` more is there.
    """
    for k in range(changes.shape[0]):
        i = 0 if changes[k, 0] > 0.0 else 1
        counts[i] = _set_level_nb(keys[i], sizes[i], counts[i], changes[k, 0] * changes[k, 1], changes[k, 2])


@kernel
def top_levels_nb(keys: Array, sizes: Array, counts: Ints, out: Array) -> None:
    """The best levels into ``out`` float64[2, depth, 2] = (price, size), best first; only ``counts`` of them are written."""
    for i in range(2):
        for k in range(min(counts[i], out.shape[1])):
            at = counts[i] - 1 - k
            out[i, k, 0], out[i, k, 1] = abs(keys[i, at]), sizes[i, at]
