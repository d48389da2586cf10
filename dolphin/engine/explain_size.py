"""From the chosen asset to the order's size, step by step: direction confirmation (DC), confidence, factors, fraction, leverage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dolphin.engine.explain_scene import Scene
from dolphin.engine.signal import AlphaSignalGenerator
from dolphin.kernels.direction import change_bps_nb
from dolphin.kernels.loop import confirm_nb, recent_losses_nb, vel_div_trend_nb
from dolphin.kernels.order_book import adjust_confidence_nb, factor_or_one_nb
from dolphin.kernels.signal import compute_confidence_nb, compute_strength_nb, is_extreme_nb
from dolphin.kernels.sizing import (
    get_bucket_boost_nb,
    get_signal_bucket_nb,
    get_streak_mult_nb,
    get_trend_mult_nb,
    regime_size_mult_nb,
    size_parts_nb,
)
from dolphin.kernels.window import history_nb
from dolphin.types import IRP_WINDOW, Confirmation, Posture

__all__ = ["Confirmed", "Conviction", "Size", "confirmed", "conviction", "size"]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Direction confirmation: price ``before``, ``steps`` valid prices ago, and ``now`` (USDT, NaN = history too short).

    ``change_bps`` from one to the other; beyond ``limit_bps`` (on its side of zero) it contradicts, beyond its opposite it confirms.
    """

    asset: str
    dc: str
    steps: int
    before: float
    now: float
    change_bps: float
    limit_bps: float


@dataclass(frozen=True, slots=True)
class Conviction:
    """``strength`` in [0, 1], ``confidence`` of the signal, ``after_book`` = as the order book leaves it (0 = it is against)."""

    strength: float
    confidence: float
    after_book: float
    book_imbalance: float
    book_persistence: float


@dataclass(frozen=True, slots=True)
class Size:
    """Every factor of the size. Fractions of capital as decimals, ``capital`` and ``notional`` USDT, ``trend`` in vel_div.

    fraction = clamp(raw_fraction); leverage = clamp(leverage_before_caps, min_leverage, leverage_cap), where leverage_before_caps =
    leverage_curve * dc_mult * regime_mult * market_mult.
    """

    extreme: bool
    bucket: int
    bucket_wins: int
    bucket_trades: int
    bucket_boost: float
    trend: float
    trend_mult: float
    recent_losses: int
    closed_trades: int
    streak_mult: float
    raw_fraction: float
    fraction: float
    boost: float
    beta: float
    mc_scale: float
    regime_mult: float
    market_mult: float
    dc_mult: float
    leverage_curve: float
    leverage_before_caps: float
    leverage_cap: float
    leverage: float
    capital: float
    notional: float


def confirmed(scene: Scene, j: int) -> Confirmed:
    """Direction confirmation of column ``j``."""
    c, n = scene.config, scene.config.dc_lookback + 1
    dc = Confirmation(confirm_nb(scene.params, scene.state, scene.block, scene.tail, np.empty(IRP_WINDOW), 0, j))
    prices = np.empty(n)
    whole = history_nb(scene.block, scene.tail, 0, j, prices) == n
    change = change_bps_nb(prices, c.dc_lookback) if whole else math.nan
    before, now = (float(prices[0]), float(prices[-1])) if whole else (math.nan, float(prices[-1]))
    limit = -scene.direction * c.dc_min_magnitude_bps
    return Confirmed(scene.assets[j], dc.name, c.dc_lookback, before, now, change, limit)


def conviction(scene: Scene, j: int) -> Conviction:
    """Strength and confidence of the signal, the latter with the order book's word on column ``j``."""
    strength = compute_strength_nb(scene.signal[0], *AlphaSignalGenerator(scene.config).levels(scene.direction))
    confidence = compute_confidence_nb(strength)
    if not scene.has_book:
        return Conviction(strength, confidence, confidence, math.nan, math.nan)
    imbalance, persistence = scene.book_value("imbalance_ma5", j), scene.book_value("imbalance_persistence", j)
    after = adjust_confidence_nb(confidence, scene.direction * imbalance, persistence)
    return Conviction(strength, confidence, after, imbalance, persistence)


def size(scene: Scene, dc: str, belief: Conviction) -> Size:
    """The size of the entry, from the engine's records and the layers' factors."""
    s, c, vel_div, strength = scene.state, scene.config, scene.signal[0], belief.strength
    threshold, extreme = AlphaSignalGenerator(c).levels(scene.direction)
    bucket = get_signal_bucket_nb(vel_div, threshold, extreme)
    wins, trades = int(s["bucket_wins"][bucket]), int(s["bucket_trades"][bucket])
    trend, losses, closed = vel_div_trend_nb(s), recent_losses_nb(s), int(s["n_trades"])
    trend_mult, bucket_boost, streak_mult = get_trend_mult_nb(trend), get_bucket_boost_nb(wins, trades), get_streak_mult_nb(losses, closed)
    boost, beta, mc_scale = float(s["boost"]), float(s["beta"]), float(s["mc_scale"])
    regime_mult = regime_size_mult_nb(boost, beta, strength, mc_scale)
    market_mult = factor_or_one_nb(scene.market_value("market_multiplier"))
    dc_mult = c.dc_leverage_boost if dc == Confirmation.CONFIRM.name else 1.0
    is_extreme, stalker = is_extreme_nb(vel_div, extreme, scene.direction), list(Posture)[int(s["posture"])] is Posture.STALKER
    factors = (trend_mult * bucket_boost * streak_mult, dc_mult, regime_mult * market_mult)
    raw, fraction, curve, wanted, cap, leverage, notional = size_parts_nb(
        scene.params, strength, is_extreme, float(s["capital"]), *factors, stalker
    )
    return Size(
        extreme=is_extreme, bucket=bucket, bucket_wins=wins, bucket_trades=trades, bucket_boost=bucket_boost, trend=trend,
        trend_mult=trend_mult, recent_losses=losses, closed_trades=closed, streak_mult=streak_mult, raw_fraction=raw, fraction=fraction,
        boost=boost, beta=beta, mc_scale=mc_scale, regime_mult=regime_mult, market_mult=market_mult, dc_mult=dc_mult,
        leverage_curve=curve, leverage_before_caps=wanted, leverage_cap=cap, leverage=leverage, capital=float(s["capital"]),
        notional=notional,
    )  # fmt: skip
