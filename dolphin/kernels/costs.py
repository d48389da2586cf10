"""Both ledgers of a closed trade. Source: specification of the engine, 8 and 8b.

The champion ledger carries credits that no exchange pays; the honest one pays half spread, slippage, taker fees and funding.
"""

from __future__ import annotations

from typing import Any

from dolphin.kernels._jit import kernel
from dolphin.types import Array, ExitReason, Ints

__all__ = ["champion_close_nb", "funding_nb", "honest_return_nb"]

STOP_LOSS = int(ExitReason.STOP_LOSS)
STALE_PRICE = int(ExitReason.STALE_PRICE)
FUNDING_REACH_MS = 8 * 3_600_000


@kernel
def champion_close_nb(
    params: Any, direction: int, prices: tuple[float, float], notional: float, reason: int, book: tuple[bool, float, float], draws: Array
) -> tuple[float, float, float, int]:
    """``(exit price, gross, fees, draws used)`` of closing at ``prices = (entry, bar price)``.

    ``exit = price*(1 - d*slip)``; ``raw = d*(exit - entry)/entry`` plus the credits, drawn in this order from ``draws`` (uniform in
    [0, 1)): maker entry, maker exit (not on STOP_LOSS), edge. ``book`` = (attached, depth_quality, fill_probability): with a book the
    edge is ``fill_probability * edge_credit`` when depth_quality > 0.5, without a draw. STALE_PRICE draws nothing and is credited nothing.
    """
    entry, price = prices
    slip = params.stop_slippage if reason == STOP_LOSS else params.stale_slippage if reason == STALE_PRICE else params.exit_slippage
    exit_price = price * (1 - direction * slip)
    raw = direction * (exit_price - entry) / entry
    used = 0
    if reason != STALE_PRICE:
        raw += params.maker_credit if draws[used] < params.maker_entry_rate else 0.0
        used += 1
        if reason != STOP_LOSS:
            raw += params.maker_credit if draws[used] < params.maker_exit_rate else 0.0
            used += 1
        if book[0]:
            raw += book[2] * params.edge_credit if book[1] > 0.5 and book[2] == book[2] else 0.0
        else:
            raw += params.edge_credit if draws[used] < params.edge_probability else 0.0
            used += 1
    entry_fee = (params.maker_fee * params.maker_entry_rate + params.taker_fee * (1 - params.maker_entry_rate)) * notional
    exit_rate = params.maker_fee * params.maker_exit_rate + params.taker_fee * (1 - params.maker_exit_rate)
    exit_fee = (params.taker_fee if reason == STOP_LOSS else params.taker_fee if reason == STALE_PRICE else exit_rate) * notional
    return exit_price, raw * notional, entry_fee + exit_fee, used


@kernel
def honest_return_nb(params: Any, direction: int, entry: float, price: float, reason: int, funding: float) -> float:
    """``d*(exit*(1-d*hx) - entry*(1+d*h))/(entry*(1+d*h)) - 2*taker - funding`` on raw bar prices.

    ``h`` = half spread + slippage (0.0002), ``hx`` the same, 0.0050 on a STALE_PRICE exit; ``funding`` as in ``funding_nb``.
    """
    h = params.honest_slippage
    hx = params.stale_slippage if reason == STALE_PRICE else h
    paid = entry * (1 + direction * h)
    return direction * (price * (1 - direction * hx) - paid) / paid - 2 * params.honest_taker_fee - funding


@kernel
def funding_nb(times: Ints, rates: Array, asset: int, direction: int, entry_ts: int, exit_ts: int) -> tuple[float, bool]:
    """``(sum of d*rate over funding times in (entry_ts, exit_ts], missing)``.

    ``times`` int64[n] ms ascending, ``rates`` float64[n, n_assets] with NaN = no rate. A positive rate is paid by a LONG and received by
    a SHORT. ``missing`` is true when no rate of the asset lies within 8 h of the exit, or with unknown bar times.
    """
    total, known = 0.0, False
    if rates.shape[1] == 0 or entry_ts <= 0 or exit_ts <= 0:
        return 0.0, True
    for k in range(times.shape[0]):
        rate = rates[k, asset]
        if rate == rate:
            known = known or abs(times[k] - exit_ts) <= FUNDING_REACH_MS
            if entry_ts < times[k] <= exit_ts:
                total += direction * rate
    return total, not known
