"""Exit rules, in their order. Source: specification of the engine, 7."""

from __future__ import annotations

from typing import Any

from dolphin.kernels._jit import kernel
from dolphin.types import ExitReason

__all__ = ["evaluate_exit_nb", "price_move_nb", "velocity_exit_nb"]

NONE = int(ExitReason.NONE)
FIXED_TP = int(ExitReason.FIXED_TP)
STOP_LOSS = int(ExitReason.STOP_LOSS)
VD_ADVERSE = int(ExitReason.VD_ADVERSE)
TF_EXHAUST = int(ExitReason.TF_EXHAUST)
TF_FLIP = int(ExitReason.TF_FLIP)
MAX_HOLD = int(ExitReason.MAX_HOLD)
HIBERNATE_HALT = int(ExitReason.HIBERNATE_HALT)


@kernel
def price_move_nb(direction: int, entry: float, price: float) -> float:
    """``pnl = d*(price - entry)/entry``, a decimal, before costs."""
    return direction * (price - entry) / entry


@kernel
def velocity_exit_nb(params: Any, spread: float, spread0: float, pnl: float) -> int:
    """TF_EXHAUST when ``|spread| <= 0.25*|spread0|`` and pnl > 0; TF_FLIP when the sign differs and ``|spread| >= 0.50*|spread0|``.

    ``spread = v50 - v750`` now, ``spread0`` at entry; a NaN of either tests nothing.
    """
    if abs(spread) <= params.tf_exhaust_ratio * abs(spread0) and pnl > 0:
        return TF_EXHAUST
    return TF_FLIP if spread * spread0 < 0 and abs(spread) >= params.tf_flip_ratio * abs(spread0) else NONE


@kernel
def evaluate_exit_nb(
    params: Any, limits: tuple[float, float, int], pnl: float, held: int, hibernate: bool, adverse_bars: int, spreads: tuple[float, float]
) -> int:
    """First exit rule that holds, as an ``ExitReason`` value; 0 = stay.

    ``limits`` = (take profit, stop loss, max hold) of this bar; ``pnl = d*(price - entry)/entry``; ``held`` in bars;
    ``adverse_bars`` = bars in a row with vel_div against the trade; ``spreads`` = (now, at entry) of v50 - v750.
    """
    if hibernate:
        return HIBERNATE_HALT
    if pnl >= limits[0]:
        return FIXED_TP
    if pnl <= -limits[1]:
        return STOP_LOSS
    if params.vd_enabled != 0 and adverse_bars >= params.vd_adverse_bars:
        return VD_ADVERSE
    if params.tf_enabled != 0:
        reason = velocity_exit_nb(params, spreads[0], spreads[1], pnl)
        if reason != NONE:
            return reason
    return MAX_HOLD if held >= limits[2] else NONE
