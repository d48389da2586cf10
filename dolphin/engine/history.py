"""What the engine remembers of prices: the last 50 valid ones of each asset, and the rows of a day that arrives bar by bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dolphin.kernels.loop import Frame
from dolphin.kernels.order_book import Book, no_samples
from dolphin.kernels.window import fold_tail_nb
from dolphin.types import IRP_WINDOW, OB_ASSET, OB_MACRO, Array, Ints

__all__ = ["LIVE_ROWS", "LiveRows", "PriceHistory", "read_only", "read_only_frame"]

LIVE_ROWS = 512
"""Bars that the live buffer holds before it is folded into the tail; any value gives the same decisions."""


class PriceHistory:
    """``tail`` float64[50, n_assets]: the newest valid prices, right-aligned (NaN above), columns as in ``assets``.

    Assets that leave the universe keep their prices aside and get them back when they return.
    """

    def __init__(self) -> None:
        self.assets: list[str] = []
        self.tail: Array = np.empty((IRP_WINDOW, 0))
        self.away: dict[str, Array] = {}

    def align(self, assets: Sequence[str]) -> None:
        """Make ``assets`` the columns."""
        known = {**self.away, **{name: self.tail[:, j].copy() for j, name in enumerate(self.assets)}}
        nothing = np.full(IRP_WINDOW, np.nan)
        self.assets = list(assets)
        self.tail = np.ascontiguousarray(np.column_stack([known.pop(a, nothing) for a in assets])) if assets else np.empty((IRP_WINDOW, 0))
        self.away = known

    def folded(self, block: Array, rows: int) -> Array:
        """The tail after ``rows`` rows of ``block`` float64[n_bars, n_assets]; nothing is changed."""
        out = np.empty_like(self.tail)
        fold_tail_nb(read_only(block), read_only(self.tail), rows, np.empty(IRP_WINDOW), out)
        return out

    def fold(self, block: Array, rows: int) -> None:
        """Take the first ``rows`` rows of ``block`` into the tail."""
        if rows:
            self.tail = self.folded(block, rows)


class LiveRows:
    """Buffer of the bars that came one at a time; ``frame``: the same as the kernels read a day, after prices ``tail``."""

    def __init__(self, tail: Array, with_book: bool) -> None:
        n_assets, self.used = tail.shape[1], 0
        self.block: Array = np.full((LIVE_ROWS, n_assets), np.nan)
        self.vel_div, self.v50, self.v750 = np.empty((3, LIVE_ROWS))
        self.vol_ok = np.empty(LIVE_ROWS, dtype=np.int8)
        self.ts: Ints = np.zeros(LIVE_ROWS, dtype=np.int64)
        self.codes = np.zeros(LIVE_ROWS, dtype=np.int8)
        rows = LIVE_ROWS if with_book else 0
        self.frame = read_only_frame(self.block, tail, self.vel_div, self.v50, self.v750, self.vol_ok, self.ts)
        answers = np.full((rows, n_assets, len(OB_ASSET)), np.nan), np.full((rows, len(OB_MACRO)), np.nan)
        self.book = Book(np.arange(-rows, 0), no_samples(n_assets), *answers)

    def full(self) -> bool:
        return self.used == LIVE_ROWS

    def append(self, closes: Array, signal: tuple[float, float, float], ts: int, vol_ok: int) -> int:
        """Write one bar; return its row. ``signal`` = (vel_div, v50, v750)."""
        row = self.used
        self.block[row] = closes
        self.vel_div[row], self.v50[row], self.v750[row] = signal
        self.ts[row], self.vol_ok[row] = ts, vol_ok
        self.used += 1
        return row


def read_only(array: Any) -> Any:
    """A read-only view: mapped files and fresh arrays then have one type, and the kernels are compiled once."""
    view = array.view()
    view.setflags(write=False)
    return view


def read_only_frame(*arrays: Any) -> Frame:
    """``Frame`` of read-only views."""
    return Frame(*map(read_only, arrays))
