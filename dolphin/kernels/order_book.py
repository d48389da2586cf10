"""The order book (OB) as the loop reads it, and its effects on a decision. NaN = nothing known = neutral.

Source: specification of the order book, OB-1 to OB-5.

``eff`` is the imbalance turned so that positive supports the trade: ``direction * imbalance_ma5``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.types import OB_ASSET, OB_MACRO, Array, Ints

__all__ = [
    "ASK", "CASCADES", "FILL", "IMBALANCE", "MULTIPLIER", "NOTHING", "PERSISTENCE", "QUALITY", "REGIME", "WITHDRAWAL", "Book", "Samples",
    "adjust_confidence_nb", "adjust_exits_nb", "ars_adjustment_nb", "book_macro_nb", "book_value_nb", "factor_or_one_nb",
    "market_multiplier_nb", "no_samples",
]  # fmt: skip


def _places(names: Sequence[str]) -> list[Any]:
    """int64, not int: numba would compile the readers anew for every literal."""
    return [np.int64(k) for k in range(len(names))]


IMBALANCE, PERSISTENCE, WITHDRAWAL, QUALITY, FILL = _places(OB_ASSET)
CASCADES, REGIME, _, _, MULTIPLIER = _places(OB_MACRO)

NOTHING, ASK = -1, -2
"""In place of a sample's number: nothing is known at this moment; the samples do not say, ask the provider."""


class Samples(NamedTuple):
    """A recorded day, read where it lies: ``features`` float64[n_symbols, n_samples, n_features], read-only, NaN where nothing is known;
    ``macro`` float64[n_samples, 5] (``OB_MACRO``); ``columns`` int64[n_assets]: the symbol of each asset, -1 = not recorded; ``fields``
    int64[5]: the features that are ``OB_ASSET``. At least one sample and one symbol.
    """

    features: Array
    macro: Array
    columns: Ints
    fields: Ints


class Book(NamedTuple):
    """What the order book says on each bar. ``rows`` int64[n_bars]: the number of a sample or, negative, of an answer counted from the
    end of ``asset`` float64[n_answers, n_assets, 5] (``OB_ASSET``) and ``macro`` float64[n_answers, 5] (``OB_MACRO``), of which there is
    at least one. No bars = no book attached.
    """

    rows: Ints
    samples: Samples
    asset: Array
    macro: Array


def no_samples(n_assets: int) -> Samples:
    """Samples of a book that has answers only."""
    features = np.full((1, 1, 1), np.nan)
    features.setflags(write=False)
    fields = np.zeros(len(OB_ASSET), dtype=np.int64)
    return Samples(features, np.full((1, len(OB_MACRO)), np.nan), np.full(n_assets, -1), fields)


# Both places are read before one is chosen: numba drops the reference counts of arrays that live in one basic block only, and a branch
# between the reads cost 0.2 us a bar; not inlined, seven arrays are handed over at every call.
@kernel(forceinline=True)
def book_value_nb(book: Book, row: int, asset: int, field: int) -> float:
    """Value ``field`` of ``OB_ASSET`` of column ``asset`` on bar ``row``; NaN = nothing known."""
    at, column = book.rows[row], book.samples.columns[asset]
    answered = book.asset[min(at, -1), asset, field]
    sampled = book.samples.features[max(column, 0), max(at, 0), book.samples.fields[field]]
    return answered if at < 0 else sampled if column >= 0 else np.nan


@kernel(forceinline=True)
def book_macro_nb(book: Book, row: int, field: int) -> float:
    """Value ``field`` of ``OB_MACRO`` on bar ``row``; NaN = nothing known."""
    at = book.rows[row]
    answered, sampled = book.macro[min(at, -1), field], book.samples.macro[max(at, 0), field]
    return answered if at < 0 else sampled


@kernel
def ars_adjustment_nb(depth_quality: float) -> float:
    """OB-1: share of |ARS| that is added, by depth_quality: >= 1.5 +0.10, >= 1.0 +0.05, < 0.30 -0.10, < 0.60 -0.05, else 0."""
    if depth_quality >= 1.5:
        return 0.10
    if depth_quality >= 1.0:
        return 0.05
    if depth_quality < 0.30:
        return -0.10
    return -0.05 if depth_quality < 0.60 else 0.0


@kernel
def adjust_confidence_nb(confidence: float, eff: float, persistence: float) -> float:
    """OB-2: confidence after the book; 0.0 = the book is against the entry."""
    if not -math.inf < persistence < math.inf:  # min(0.15, nan) is 0.15: an unknown would have had the largest effect
        return confidence
    if eff > 0.10:
        return confidence * (1.0 + min(0.15, eff * persistence * 0.5))
    if eff < -0.15 and persistence > 0.60:
        return 0.0
    return confidence * max(0.85, 1.0 - abs(eff) * persistence * 0.4) if eff < -0.10 else confidence


@kernel
def market_multiplier_nb(eff: float, agreement: float) -> float:
    """OB-3: leverage factor from ``eff`` of the market's median imbalance and the share of assets that agree with it."""
    if not -math.inf < agreement < math.inf:
        return 1.0
    if eff > 0.10:
        return 1.0 + min(0.20, eff * agreement)
    return 1.0 - min(0.15, abs(eff) * agreement) if eff < -0.10 else 1.0


@kernel
def factor_or_one_nb(multiplier: float) -> float:
    """A provider's OB-3 factor; 1.0 for one that is unknown, not positive or infinite."""
    return multiplier if multiplier > 0.0 and multiplier < np.inf else 1.0


@kernel
def adjust_exits_nb(
    base: tuple[float, float, int], cascade_count: float, regime_signal: float, eff: float, withdrawal: float, pnl: float
) -> tuple[float, float, int]:
    """OB-5: ``(take profit, stop loss, max hold)`` of this bar from the base values, never from those of the bar before."""
    tp, sl, hold = base[0], base[1], float(base[2])
    if cascade_count > 0:
        tp, hold = tp * 1.40, hold * 0.50
    elif regime_signal == 1:
        sl = 0.10
        tp = tp * 0.60 if pnl > 0 else tp
        hold = hold * 0.40 if eff < -0.10 else hold
    else:
        if regime_signal == -1 and eff > 0.15:
            hold *= 1.50
        if withdrawal < -0.20:
            hold = min(hold, 0.40 * base[2])
            tp = tp * 0.75 if pnl > 0 else tp
    return tp, sl, math.floor(hold)
