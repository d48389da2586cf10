"""Direction confirmation (DC): does the chosen asset already move with the trade? Source: specification of the engine, 4.4."""

from __future__ import annotations

from dolphin.kernels._jit import kernel
from dolphin.types import Array

__all__ = ["change_bps_nb", "check_dc_nb"]


@kernel
def change_bps_nb(prices: Array, lookback: int) -> float:
    """``(p[-1] - p[-1-lookback]) / p[-1-lookback] * 1e4``, bps. ``prices`` float64[n > lookback], USDT."""
    n = prices.shape[0]
    before = prices[n - 1 - lookback]
    return (prices[n - 1] - before) / before * 1e4


@kernel
def check_dc_nb(prices: Array, direction: int, lookback: int, min_magnitude_bps: float) -> int:
    """1 CONFIRM, 0 NEUTRAL, -1 CONTRADICT from ``chg = (p[-1] - p[-1-lookback]) / p[-1-lookback] * 1e4`` in bps.

    CONFIRM when the move in trade direction exceeds ``min_magnitude_bps``, CONTRADICT when the opposite one does.
    Fewer than ``lookback + 1`` prices: NEUTRAL. ``prices`` float64[n], USDT.
    """
    if prices.shape[0] < lookback + 1:
        return 0
    change = change_bps_nb(prices, lookback) * direction
    return 1 if change > min_magnitude_bps else -1 if change < -min_magnitude_bps else 0
