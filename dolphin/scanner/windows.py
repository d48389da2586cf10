"""Log returns by row, and the textbook correlation matrix of one window of them.

A return is the change of one asset over exactly one bar. Where the two closes are not one bar apart (an outage), or one of them is
missing, the return is missing; the window counts rows, so it keeps its place. Source: data.md 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dolphin.errors import QualityError, SchemaError
from dolphin.kernels.comoments import LANES
from dolphin.kernels.moments import Rows
from dolphin.types import WINDOWS, Array, Ints

__all__ = ["HISTORY", "MIN_VARIANCE", "Panel", "Stretch", "aligned", "check_closes", "log_returns", "padded", "window_correlation"]

type Flags = npt.NDArray[np.bool_]

HISTORY: Final = max(WINDOWS)
"""Rows of returns that have to be kept before the next row."""

MIN_VARIANCE: Final = 1e-18

_ROOM = 1024
_APART = 8192
_CHUNK = 4096


def aligned(*shapes: tuple[int, ...]) -> list[Array]:
    """Zeros, float64, each starting on a 64-byte boundary (the kernels' loads are that wide) and far from every other array.

    The compiler guards vector loops by comparing address ranges, generously: arrays that lie close together may run the scalar loop,
    whose sums differ in the last bit. With room around each, the same code runs wherever the allocator puts them. All are cut from one
    slab; the room between them is never touched, hence costs addresses and no memory.
    """
    sizes = [-(-math.prod(shape) // LANES) * LANES for shape in shapes]
    raw = np.zeros(sum(sizes) + (len(shapes) + 1) * _APART + LANES)
    at = _APART + -((raw.ctypes.data // 8) + _APART) % LANES
    out = []
    for shape, size in zip(shapes, sizes, strict=True):
        out.append(raw[at : at + math.prod(shape)].reshape(shape))
        at += size + _APART
    return out


def padded(n_assets: int) -> int:
    """Columns of the kernels' arrays: a multiple of ``LANES``, at least two of them."""
    return max(2 * LANES, -(-n_assets // LANES) * LANES)


def log_returns(closes: Array, before: Array, adjacent: Flags) -> Array:
    """One-bar log returns ``log(c[t] / c[t-1])``, NaN where missing.

    ``closes`` float64[n, n_assets], any value that is not finite and positive meaning "no price"; ``before`` float64[n_assets], the row
    before the first; ``adjacent`` bool[n]: row t is exactly one bar after the row before. Computed as log1p of the relative change, whose
    relative error is that of float64 however small the change. Row t depends on rows t - 1 and t only.
    """
    previous = np.concatenate([before[None], closes[:-1]])
    with np.errstate(all="ignore"):
        out: Array = closes - previous
        out /= previous
        odd = ~(np.abs(out) <= 0.5)
        odd |= closes <= 0.0
        np.log1p(out, out=out)
        if odd.any():
            now, then = closes[odd], previous[odd]
            change = np.log(now) - np.log(then)
            out[odd] = np.where((now > 0.0) & (then > 0.0) & np.isfinite(change), change, np.nan)
    out[~adjacent] = np.nan
    return out


class Stretch(NamedTuple):
    """Rows of a panel as the kernels read them; ``missing`` bool[n_rows, n_assets] of the same rows; ``base``: absolute number of row 0."""

    rows: Rows
    missing: Flags
    base: int

    def window(self, row: int, width: int) -> Array:
        """Returns of the ``width`` rows that end at ``row``, NaN where missing: float64[width, n_assets]."""
        cut = slice(row + 1 - width, row + 1)
        return np.where(self.missing[cut], np.nan, self.rows.returns[cut, : self.missing.shape[1]])


@dataclass(slots=True)
class Panel:
    """Returns of the last rows; what no window can reach any more is forgotten.

    ``returns`` float64[capacity, padded(n_assets)], 0 where missing; ``missing`` bool[capacity, n_assets]; ``base`` is the number of rows
    that were forgotten, ``stop`` the number of rows in use.
    """

    n_assets: int
    returns: Array
    missing: Flags
    last_close: Array
    last_bar: int | None = None
    base: int = 0
    stop: int = 0

    @classmethod
    def empty(cls, n_assets: int) -> Panel:
        """A panel without rows."""
        rows = HISTORY + _ROOM
        (returns,) = aligned((rows, padded(n_assets)))
        return cls(n_assets, returns, np.zeros((rows, n_assets), np.bool_), np.full(n_assets, np.nan))

    def append(self, closes: Array, bars: Ints) -> int:
        """Take rows in and return the place of the first. Raises ``QualityError`` when bar numbers do not increase."""
        steps = np.diff(bars, prepend=bars[0] - 1 if self.last_bar is None else self.last_bar)
        if (steps <= 0).any():
            row = int(np.argmax(steps <= 0))
            raise QualityError(f"bar {bars[row]} does not come after bar {bars[row] - steps[row]}", column="bars", row=row)
        if self.last_bar is None:
            steps[0] = 0
        self._make_room(len(bars))
        first = self.stop
        for at in range(0, len(bars), _CHUNK):
            part = closes[at : at + _CHUNK]
            values = log_returns(part, self.last_close, steps[at : at + _CHUNK] == 1)
            rows = slice(first + at, first + at + len(part))
            np.isnan(values, out=self.missing[rows])
            np.copyto(self.returns[rows, : self.n_assets], values)
            if self.missing[rows].any():
                self.returns[rows, : self.n_assets][self.missing[rows]] = 0.0
            self.last_close = part[-1].copy()
        self.last_bar, self.stop = int(bars[-1]), first + len(bars)
        return first

    def stretch(self, first: int) -> tuple[Stretch, int]:
        """Rows that a scan from row ``first`` on reads, and the place of ``first`` among them."""
        low = max(0, first - HISTORY)
        missing = self.missing[low : self.stop]
        gaps = missing.any(axis=1)
        full = gaps & missing.all(axis=1)
        some = np.flatnonzero(gaps & ~full)
        row, asset = np.nonzero(missing[some])
        starts = np.searchsorted(some[row], np.arange(len(full) + 1))
        rows = Rows(self.returns[low : self.stop], full, starts.astype(np.int64), asset.astype(np.int64))
        return Stretch(rows, missing, self.base + low), first - low

    def _make_room(self, n: int) -> None:
        if self.stop + n <= len(self.returns):
            return
        keep = min(self.stop, HISTORY)
        capacity = HISTORY + max(n, _ROOM)
        kept = self.returns[self.stop - keep : self.stop].copy(), self.missing[self.stop - keep : self.stop].copy()
        if capacity != len(self.returns):
            (self.returns,) = aligned((capacity, self.returns.shape[1]))
            self.missing = np.zeros((capacity, self.n_assets), np.bool_)
        self.returns[:keep], self.missing[:keep] = kept
        self.base, self.stop = self.base + self.stop - keep, keep


def window_correlation(returns: Array) -> tuple[Array, Ints]:
    """Correlation matrix of a window's participants, and who they are: ``(C float64[n, n], columns int64[n])``.

    ``returns`` float64[width, n_assets], NaN where missing. Takes part: >= 90 % finite, at least one return not zero, variance > 1e-18.
    A missing return of a participant counts as its mean. Built afresh: slow, and right to rounding.
    """
    finite = np.isfinite(returns)
    filled = np.where(finite, returns, 0.0)
    count = finite.sum(axis=0)
    part = np.flatnonzero((10 * count >= 9 * len(returns)) & filled.any(axis=0))
    centred = (filled[:, part] - filled[:, part].sum(axis=0) / count[part]) * finite[:, part]
    squares = (centred * centred).sum(axis=0)
    varies = squares > MIN_VARIANCE * count[part]
    unit = centred[:, varies] / np.sqrt(squares[varies])
    return unit.T @ unit, part[varies]


def check_closes(closes: npt.ArrayLike, n_assets: int) -> Array:
    """``closes`` as C-ordered float64[n, n_assets]. Raises ``SchemaError`` for any other shape."""
    block = np.ascontiguousarray(closes, dtype=np.float64)
    if block.ndim != 2 or block.shape[1] != n_assets:
        raise SchemaError(f"closes have shape {block.shape}, expected [n_bars, {n_assets}]")
    return block
