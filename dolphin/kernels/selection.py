"""Asset selection by IRP: score every asset in both directions, drop the unclean, prefer the highest score.

Source: specification of the engine, 5, and of the order book, OB-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.kernels.irp import compute_ars_nb, irp_block_nb, irp_latency_nb
from dolphin.kernels.order_book import ars_adjustment_nb
from dolphin.types import Array, Ints

__all__ = ["MAX_LATENCY", "MAX_NOISE", "MIN_ALIGNMENT", "MIN_DEPTH_QUALITY", "rank_assets_irp_nb", "score_assets_nb", "select_asset_nb"]

MAX_NOISE = 500.0
MAX_LATENCY = 20
MIN_ALIGNMENT = 0.20
MIN_DEPTH_QUALITY = 0.20


@kernel
def score_assets_nb(window: Array, direction: int, returns: bool, floor: float, path: Array, features: Array, scores: Array) -> None:
    """Score each asset of ``window`` float64[n_prices, n_assets] for ``direction`` and its opposite; keep the larger (tie: direct).

    Writes ``features`` (see ``irp_block_nb``, direct sign) and ``scores`` float64[3, n_assets]: ARS, action (-1 or +1), alignment of
    that action. ARS is NaN for an asset that is dropped by noise or alignment, that lacks a price, or whose direct alignment lies
    below ``floor`` (the loop passes its gate there: such an asset could not be chosen, so its logarithms are not spent). Where
    efficiency and alignment agree on the winner, the other direction's logarithm is not spent either: one step of alignment
    (1/49) outweighs any rounding.
    """
    n_steps = window.shape[0] - 1
    irp_block_nb(window, float(direction), returns, path, features)
    for j in range(window.shape[1]):
        scores[0, j] = np.nan
        scores[1, j] = direction
        scores[2, j] = features[2, j] / n_steps
        noise = features[4, j]
        if not noise <= MAX_NOISE or scores[2, j] < floor:
            continue
        top, low, alignment, against = features[0, j], features[1, j], scores[2, j], features[3, j] / n_steps
        efficiency, opposite_efficiency = top / (abs(min(low, 0.0)) + 1e-6), -low / (max(top, 0.0) + 1e-6)
        loses = opposite_efficiency >= efficiency and against > alignment
        if loses and floor >= 0.0:
            scores[1, j] = -direction
            continue
        wins = efficiency >= opposite_efficiency and alignment >= against
        ars = -np.inf if loses else compute_ars_nb(efficiency, alignment, noise)
        opposite = -np.inf if wins else compute_ars_nb(opposite_efficiency, against, noise)
        if opposite > ars:
            ars = opposite
            scores[1, j] = -direction
            scores[2, j] = against
        if scores[2, j] >= MIN_ALIGNMENT:
            scores[0, j] = ars


@kernel
def _latency_nb(window: Array, direction: int, returns: bool, features: Array, scores: Array, j: int) -> int:
    mfe = features[0, j] if scores[1, j] == direction else -features[1, j]
    return irp_latency_nb(window, j, scores[1, j], returns, mfe)


@kernel
def select_asset_nb(
    window: Array, direction: int, returns: bool, gate: float, eligible: Any, book: tuple[Array, int], work: tuple[Array, Array, Array]
) -> int:
    """Column of the asset to trade, or -1: the first of the ranking with alignment >= ``gate`` and action == ``direction``.

    ``eligible`` int8[n_assets]: 1 where the bar has a valid price and no ban; ``book`` = (float64[n_bars, n_assets, 5] by ``OB_ASSET``
    or no bars, row). Equal scores keep column order. ``work`` = (path, features, scores) as in ``score_assets_nb``; scores[0] holds
    the ARS after the book's adjustment.
    """
    path, features, scores = work
    levels, row = book
    score_assets_nb(window, direction, returns, gate, path, features, scores)
    for j in range(window.shape[1]):
        if scores[1, j] != direction or scores[2, j] < gate or eligible[j] == 0:
            scores[0, j] = np.nan
        elif levels.shape[0] > 0:
            depth = levels[row, j, 3]
            scores[0, j] = np.nan if depth < MIN_DEPTH_QUALITY else scores[0, j] + abs(scores[0, j]) * ars_adjustment_nb(depth)
    while True:
        best, best_ars = -1, -np.inf
        for j in range(window.shape[1]):
            if scores[0, j] > best_ars:
                best, best_ars = j, scores[0, j]
        if best < 0 or _latency_nb(window, direction, returns, features, scores, best) <= MAX_LATENCY:
            return best
        scores[0, best] = np.nan


@kernel
def rank_assets_irp_nb(window: Array, direction: int) -> tuple[Ints, Array, Ints, Array]:
    """The whole ranking, best first: ``(columns, ars, action, alignment)`` of the assets that pass noise, latency and alignment.

    ``window`` float64[n_prices, n_assets], USDT, time-major. Stable: equal scores keep column order.
    """
    n = window.shape[1]
    features, scores = np.empty((5, n)), np.empty((3, n))
    score_assets_nb(window, direction, False, -1.0, np.empty(n), features, scores)
    keep = np.zeros(n, dtype=np.bool_)
    for j in range(n):
        keep[j] = scores[0, j] == scores[0, j] and _latency_nb(window, direction, False, features, scores, j) <= MAX_LATENCY
    columns = np.nonzero(keep)[0]
    order = columns[np.argsort(-scores[0][columns], kind="mergesort")]
    return order, scores[0][order], scores[1][order].astype(np.int64), scores[2][order]
