"""Order-book provider port of the engine, and the rows that the loop reads from it. Source: specification of the order book."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dolphin.kernels.order_book import ASK, Book, no_samples
from dolphin.types import OB_ASSET, OB_MACRO, Ints

__all__ = ["NO_BOOK", "OrderBookProvider", "book_rows", "fill_book_row"]

NO_BOOK = Book(np.empty(0, dtype=np.int64), no_samples(0), np.empty((0, 0, len(OB_ASSET))), np.empty((0, len(OB_MACRO))))
_SIGNAL, _PLACEMENT, _MACRO = OB_ASSET[:3], OB_ASSET[3:], OB_MACRO[:4]


class OrderBookProvider(Protocol):
    """What the engine asks of a book. ``None`` (as a result or as a value) = nothing known = neutral; never an exception."""

    def get_signal(self, asset: str, ts_ms: int) -> Mapping[str, float] | None:
        """imbalance_ma5, imbalance_persistence, withdrawal_velocity."""

    def get_placement(self, asset: str, ts_ms: int) -> Mapping[str, float] | None:
        """depth_quality, fill_probability."""

    def get_macro(self, ts_ms: int) -> Mapping[str, float] | None:
        """cascade_count, regime_signal, market_imbalance, market_agreement."""

    def get_market_multiplier(self, direction: int, ts_ms: int) -> float | None:
        """Leverage factor OB-3."""


def fill_book_row(ob: OrderBookProvider, assets: Sequence[str], direction: int, ts_ms: int, book: Book, answer: int) -> None:
    """Write what ``ob`` knows at ``ts_ms`` into answer ``answer`` of ``book``; unknown values become NaN.

    A provider that has ``fill_row(assets, direction, ts_ms, asset_out, macro_out)`` is asked once for the whole row.
    """
    fill = getattr(ob, "fill_row", None)
    if fill is not None:
        fill(assets, direction, ts_ms, book.asset[answer], book.macro[answer])
        return
    macro = _values(ob.get_macro(ts_ms), _MACRO)
    multiplier = ob.get_market_multiplier(direction, ts_ms)
    book.macro[answer] = [*macro, np.nan if multiplier is None else multiplier]
    for j, asset in enumerate(assets):
        book.asset[answer, j] = _values(ob.get_signal(asset, ts_ms), _SIGNAL) + _values(ob.get_placement(asset, ts_ms), _PLACEMENT)


def book_rows(ob: OrderBookProvider | None, assets: Sequence[str], direction: int, ts: Ints) -> Book:
    """The book of a whole day, ``ts`` int64[n_bars] ms; without a provider the neutral book of no bars.

    A provider that has ``recorded_rows(assets, direction, ts) -> (rows int64[n_bars], Samples)`` hands over its recorded day, which is
    read in place; it is asked about the bars of ``ASK`` only. Every other provider is asked about every bar.
    """
    if ob is None:
        return NO_BOOK
    recorded = getattr(ob, "recorded_rows", None)
    rows, samples = (np.full(len(ts), ASK), no_samples(len(assets))) if recorded is None else recorded(assets, direction, ts)
    asked = np.flatnonzero(rows == ASK)
    answers = len(asked) + 1
    rows[asked] = np.arange(len(asked)) - answers
    book = Book(rows, samples, np.full((answers, len(assets), len(OB_ASSET)), np.nan), np.full((answers, len(OB_MACRO)), np.nan))
    for answer, ts_ms in enumerate(ts[asked].tolist()):
        fill_book_row(ob, assets, direction, ts_ms, book, answer)
    return book


def _values(known: Any, names: Sequence[str]) -> list[float]:
    """``known`` may be a mapping or an object with attributes; what it lacks is NaN."""
    values = [known.get(name) if isinstance(known, Mapping) else getattr(known, name, None) for name in names]
    return [math.nan if value is None else float(value) for value in values]
