"""Effects of the order book (OB) on a decision. NaN = nothing known = neutral. Source: specification of the order book, OB-1 to OB-5.

``eff`` is the imbalance turned so that positive supports the trade: ``direction * imbalance_ma5``.
"""

from __future__ import annotations

import math

import numpy as np

from dolphin.kernels._jit import kernel

__all__ = ["adjust_confidence_nb", "adjust_exits_nb", "ars_adjustment_nb", "factor_or_one_nb", "market_multiplier_nb"]


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
