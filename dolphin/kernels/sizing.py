"""Bet size: cubic leverage, share of capital, and the factors from bucket, streak and trend. Source: specification of the engine, 6."""

from __future__ import annotations

from typing import Any

from dolphin.kernels._jit import kernel

__all__ = [
    "compute_sizing_nb", "get_bucket_boost_nb", "get_signal_bucket_nb", "get_streak_mult_nb", "get_trend_mult_nb", "regime_size_mult_nb",
    "size_parts_nb",
]  # fmt: skip


@kernel
def get_signal_bucket_nb(vel_div: float, threshold: float, extreme: float) -> int:
    """0 vel_div <= 1.5*extreme, 1 <= extreme, 2 <= (threshold + extreme)/2, 3 otherwise; mirrored when ``extreme > threshold`` (LONG).

    Edges are decimal values, so they are met within 1e-12: in binary 1.5*0.05 lies a hair beyond 0.075.
    """
    sign = 1.0 if extreme < threshold else -1.0
    v = sign * vel_div - 1e-12
    if v <= sign * (1.5 * extreme):
        return 0
    if v <= sign * extreme:
        return 1
    return 2 if v <= sign * ((threshold + extreme) / 2) else 3


@kernel
def get_bucket_boost_nb(wins: int, trades: int) -> float:
    """1.0 below 10 closed trades in the bucket; by win rate > 0.60 1.3, > 0.55 1.1, < 0.40 0.7, < 0.45 0.85, else 1.0."""
    if trades < 10:
        return 1.0
    rate = wins / trades
    if rate > 0.60:
        return 1.3
    if rate > 0.55:
        return 1.1
    if rate < 0.40:
        return 0.7
    return 0.85 if rate < 0.45 else 1.0


@kernel
def get_streak_mult_nb(losses_in_last_5: int, n_trades: int) -> float:
    """1.0 below 5 closed trades; by losses in the last 5: >= 4 0.5, >= 3 0.7, <= 1 1.1, else 1.0."""
    if n_trades < 5:
        return 1.0
    if losses_in_last_5 >= 4:
        return 0.5
    if losses_in_last_5 >= 3:
        return 0.7
    return 1.1 if losses_in_last_5 <= 1 else 1.0


@kernel
def get_trend_mult_nb(vd_trend: float) -> float:
    """``vd_trend = vel_div[-1] - vel_div[-10]`` (sign flipped for LONG): < -0.01 1.3, > 0.01 0.7, else 1.0."""
    return 1.3 if vd_trend < -0.01 else 0.7 if vd_trend > 0.01 else 1.0


@kernel
def regime_size_mult_nb(boost: float, beta: float, strength: float, mc_scale: float) -> float:
    """``boost * (1 + beta*strength**3) * mc_scale``; without the bracket when ``beta <= 0``."""
    return boost * (1 + beta * (strength * strength * strength)) * mc_scale if beta > 0 else boost * mc_scale


@kernel
def compute_sizing_nb(
    params: Any,
    strength: float,
    extreme: bool,
    capital: float,
    fraction_mult: float,
    leverage_mult: float,
    boost_mult: float,
    stalker: bool,
) -> tuple[float, float, float]:
    """``(fraction, leverage, notional)`` of an entry.

    ``fraction = clamp((0.02 + s*0.18) * ((0.70 if extreme else 0.55)/0.95) * (2 if extreme else 1) * fraction_mult, 0.02, 0.20)``,
    ``leverage = min(max((0.5 + s**3*4.5) * leverage_mult * boost_mult, 0.5), min(5*boost_mult, 6))``, in STALKER at most 2.0;
    ``notional = capital * fraction * leverage`` (USDT). ``fraction_mult`` = trend * bucket * streak, ``leverage_mult`` = direction
    confirmation, ``boost_mult`` = regime_size_mult * market_ob_mult. ``params`` is a ``PARAMS`` record.
    """
    parts = size_parts_nb(params, strength, extreme, capital, fraction_mult, leverage_mult, boost_mult, stalker)
    return parts[1], parts[5], parts[6]


@kernel
def size_parts_nb(
    params: Any,
    strength: float,
    extreme: bool,
    capital: float,
    fraction_mult: float,
    leverage_mult: float,
    boost_mult: float,
    stalker: bool,
) -> tuple[float, float, float, float, float, float, float]:
    """``(fraction before the clamp, fraction, leverage of the curve, leverage before the caps, cap, leverage, notional)``.

    Formulas and arguments as in ``compute_sizing_nb``.
    """
    curve = params.min_leverage + strength**params.convexity * (params.max_leverage - params.min_leverage)
    fraction = params.min_fraction + strength * (params.max_fraction - params.min_fraction)
    fraction *= (0.70 if extreme else 0.55) / 0.95
    fraction *= (2.0 if extreme else 1.0) * fraction_mult
    raw_fraction = fraction
    fraction = min(max(raw_fraction, params.min_fraction), params.max_fraction)
    cap = min(params.max_leverage * boost_mult, params.hard_leverage_cap)
    if stalker:
        cap = min(cap, params.stalker_leverage_cap)
    wanted = curve * leverage_mult * boost_mult
    leverage = min(max(wanted, params.min_leverage), cap)
    return raw_fraction, fraction, curve, wanted, cap, leverage, capital * fraction * leverage
