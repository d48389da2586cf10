"""Asset selection by IRP: score every asset in both directions, drop the unclean, prefer the highest score.

Source: specification of the engine, 5, and of the order book, OB-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.kernels.irp import compute_ars_nb, irp_block_nb, irp_latency_nb
from dolphin.kernels.order_book import QUALITY, ars_adjustment_nb, book_value_nb
from dolphin.types import Array, Ints

__all__ = [
    "ACTION", "ALIGNMENT", "ARS", "BANNED", "ELIGIBLE", "MAX_LATENCY", "MAX_NOISE", "MIN_ALIGNMENT", "MIN_DEPTH_QUALITY", "NOISE", "NOTES",
    "book_ars_nb", "latency_nb", "rank_assets_irp_nb", "score_assets_nb", "select_asset_nb",
]  # fmt: skip

MAX_NOISE = 500.0
MAX_LATENCY = 20
MIN_ALIGNMENT = 0.20
MIN_DEPTH_QUALITY = 0.20

NOTES = ("path", "top", "low", "up", "down", "noise", "ars", "action", "alignment", "eligible", "banned")
"""Rows of ``notes`` float64[11, n_assets], the work space of a ranking: scratch of ``irp_block_nb``, its five features, the score, the
action (-1 or +1) and its alignment, whether the bar has a valid price and no ban, and the bans of the day."""

TOP, LOW, UP, DOWN, NOISE, ARS, ACTION, ALIGNMENT, ELIGIBLE, BANNED = range(1, len(NOTES))


@kernel
def score_assets_nb(window: Array, direction: int, returns: bool, floor: float, notes: Array) -> None:
    """Score each asset of ``window`` float64[n_prices, n_assets] for ``direction`` and its opposite; keep the larger (tie: direct).

    Writes rows 0 to 8 of ``notes`` (``NOTES``). ARS is NaN for an asset that is dropped by noise or alignment, that lacks a price, or
    whose direct alignment lies below ``floor`` (the loop passes its gate there: such an asset could not be chosen, so its logarithms
    are not spent). Where efficiency and alignment agree on the winner, the other direction's logarithm is not spent either: one step
    of alignment (1/49) outweighs any rounding.
    """
    n_steps = window.shape[0] - 1
    irp_block_nb(window, float(direction), returns, notes[0], notes[TOP:ARS])
    for j in range(window.shape[1]):
        alignment, against, noise = notes[UP, j] / n_steps, notes[DOWN, j] / n_steps, notes[NOISE, j]
        notes[ARS, j] = np.nan
        notes[ACTION, j] = direction
        notes[ALIGNMENT, j] = alignment
        if not noise <= MAX_NOISE or alignment < floor:
            continue
        top, low = notes[TOP, j], notes[LOW, j]
        efficiency, opposite_efficiency = top / (abs(min(low, 0.0)) + 1e-6), -low / (max(top, 0.0) + 1e-6)
        loses = opposite_efficiency >= efficiency and against > alignment
        if loses and floor >= 0.0:
            notes[ACTION, j] = -direction
            continue
        wins = efficiency >= opposite_efficiency and alignment >= against
        ars = -np.inf if loses else compute_ars_nb(efficiency, alignment, noise)
        opposite = -np.inf if wins else compute_ars_nb(opposite_efficiency, against, noise)
        if opposite > ars:
            ars = opposite
            notes[ACTION, j] = -direction
            notes[ALIGNMENT, j] = against
        if notes[ALIGNMENT, j] >= MIN_ALIGNMENT:
            notes[ARS, j] = ars


@kernel
def latency_nb(window: Array, direction: int, returns: bool, notes: Array, j: int) -> int:
    """Latency of asset ``j`` in its action's direction, after ``score_assets_nb``."""
    mfe = notes[TOP, j] if notes[ACTION, j] == direction else -notes[LOW, j]
    return irp_latency_nb(window, j, notes[ACTION, j], returns, mfe)


@kernel
def book_ars_nb(ars: float, depth_quality: float) -> float:
    """OB-1: the score after the book, NaN = too thin to trade; ``depth_quality`` NaN changes nothing."""
    return np.nan if depth_quality < MIN_DEPTH_QUALITY else ars + abs(ars) * ars_adjustment_nb(depth_quality)


@kernel
def select_asset_nb(window: Array, direction: int, returns: bool, gate: float, book: Any, row: int, notes: Array) -> int:
    """Column of the asset to trade, or -1: the first of the ranking with alignment >= ``gate`` and action == ``direction``.

    Row ELIGIBLE of ``notes`` says which assets may be chosen; ``book`` (``Book``) is read at ``row``. Equal scores keep column order.
    Row ARS holds the score after the book's adjustment.
    """
    score_assets_nb(window, direction, returns, gate, notes)
    for j in range(window.shape[1]):
        if notes[ACTION, j] != direction or notes[ALIGNMENT, j] < gate or notes[ELIGIBLE, j] == 0.0:
            notes[ARS, j] = np.nan
        elif book.rows.shape[0] > 0:
            notes[ARS, j] = book_ars_nb(notes[ARS, j], book_value_nb(book, row, j, QUALITY))
    nothing = window.shape[1]
    while True:
        best, best_ars = nothing, -np.inf
        for j in range(window.shape[1]):
            if notes[ARS, j] > best_ars:
                best, best_ars = j, notes[ARS, j]
        if best == nothing:
            return -1
        if latency_nb(window, direction, returns, notes, best) <= MAX_LATENCY:
            return best
        notes[ARS, best] = np.nan


@kernel
def rank_assets_irp_nb(window: Array, direction: int) -> tuple[Ints, Array, Ints, Array]:
    """The whole ranking, best first: ``(columns, ars, action, alignment)`` of the assets that pass noise, latency and alignment.

    ``window`` float64[n_prices, n_assets], USDT, time-major. Stable: equal scores keep column order.
    """
    n = window.shape[1]
    notes = np.empty((len(NOTES), n))
    score_assets_nb(window, direction, False, -1.0, notes)
    keep = np.zeros(n, dtype=np.bool_)
    for j in range(n):
        keep[j] = notes[ARS, j] == notes[ARS, j] and latency_nb(window, direction, False, notes, j) <= MAX_LATENCY
    columns = np.nonzero(keep)[0]
    order = columns[np.argsort(-notes[ARS][columns], kind="mergesort")]
    return order, notes[ARS][order], notes[ACTION][order].astype(np.int64), notes[ALIGNMENT][order]
