"""Adaptive circuit breaker (ACB): outside stress raises the day's boost, a fast correlation spectrum its beta.

In stress it raises leverage: that is the thesis. Source: specification of safety, section ACB v6, and OB-4 of the order book.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from datetime import date as Date
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np

from dolphin.engine.order_book import OrderBookProvider
from dolphin.errors import ConfigError, QualityError
from dolphin.types import Array

__all__ = [
    "FIRST_SCANS",
    "AdaptiveCircuitBreaker",
    "Factors",
    "base_boost",
    "book_beta_factor",
    "checked_boost",
    "count_signals",
    "day_factors",
    "score",
]

FIRST_SCANS: Final = 10
"""Indicator scans of a day whose medians are its factors."""

HIGH_BETA: Final = 0.8
LOW_BETA: Final = 0.2
MIN_DAYS: Final = 5
PERCENTILE: Final = 60.0

type Mode = Literal["as_of", "full_sample"]

_DAY_MS = 86_400_000
_WITHDRAWING = -0.20


class Factors(NamedTuple):
    """Outside factors of a day; NaN = unknown, gives no signal. Also used for their scores, each 0, 0.5 or 1.

    ``funding_btc``: fraction per 8 h; ``dvol_btc``: implied volatility, points; ``fng``: fear and greed index, 0..100;
    ``taker``: taker buys over taker sells.
    """

    funding_btc: float = math.nan
    dvol_btc: float = math.nan
    fng: float = math.nan
    taker: float = math.nan


def score(factors: Factors) -> Factors:
    """Score of each factor; comparisons are strict. Fear counts only when another factor scores >= 0.5."""
    funding = _step(-factors.funding_btc, 0.0001, 0.0)
    dvol = _step(factors.dvol_btc, 80.0, 55.0)
    taker = _step(-factors.taker, -0.80, -0.90)
    confirmed = max(funding, dvol, taker) >= 0.5
    return Factors(funding, dvol, _step(-factors.fng, -25.0, -40.0) if confirmed else 0.0, taker)


def count_signals(funding_btc: float, dvol_btc: float, fng: float, taker: float) -> float:
    """Sum of the scores, 0..4. A value that is not finite gives no signal."""
    return sum(score(Factors(funding_btc, dvol_btc, fng, taker)))


def base_boost(signals: float) -> float:
    """``1 + 0.5*log1p(signals)`` when signals >= 1, else 1 (also when it is not finite)."""
    return 1.0 + 0.5 * math.log1p(signals) if 1.0 <= signals < math.inf else 1.0


def day_factors(indicators: Array) -> Factors:
    """Medians of the finite values of the day's first 10 scans; ``indicators`` float64[n_scans, 4] in the order of ``Factors``.

    Depends on the first 10 rows only.
    """
    if indicators.ndim != 2 or indicators.shape[1] != len(Factors._fields):
        raise QualityError(f"indicators have shape {list(indicators.shape)}, wanted [n_scans, {len(Factors._fields)}]")
    columns = indicators[:FIRST_SCANS].T
    return Factors(*(float(np.median(known)) if len(known := c[np.isfinite(c)]) else math.nan for c in columns))


def book_beta_factor(ob: OrderBookProvider | None, assets: Sequence[str], ts_ms: int) -> float:
    """OB-4: ``1 + 0.25*share`` while regime_signal is 1, else 1; share = assets with withdrawal_velocity < -0.20 over all ``assets``.

    An asset of which nothing is known does not withdraw.
    """
    if ob is None or not assets or _value(ob.get_macro(ts_ms), "regime_signal") != 1:
        return 1.0
    thin = sum(_value(ob.get_signal(asset, ts_ms), "withdrawal_velocity") < _WITHDRAWING for asset in assets)
    return 1.0 + 0.25 * min(1.0, thin / len(assets))


class AdaptiveCircuitBreaker:
    """Boost and beta by UTC day.

    ``factors``: the day's four factors (``day_factors``, in the order of ``Factors``); ``w750``: daily medians of lambda_vel_w750.
    ``mode``: ``as_of``: a day's threshold reads earlier days only; ``full_sample`` reads all, looks ahead, and exists for comparison.
    ``assets``: universe of OB-4, one for all days or by date (an asset listed later must not dilute an earlier day's share); without
    it the book changes nothing.
    """

    def __init__(
        self,
        factors: Mapping[str, Sequence[float]],
        w750: Mapping[str, float],
        *,
        mode: Mode = "as_of",
        assets: Sequence[str] | Mapping[str, Sequence[str]] = (),
    ) -> None:
        if mode not in get_args(Mode.__value__):
            raise ConfigError(f"mode = {mode!r}: expected {' or '.join(get_args(Mode.__value__))}")
        self.mode, self.assets = mode, assets
        self.warnings: list[str] = []
        """What was missing when it was asked for, each thing once."""
        self._factors: dict[str, Factors] = {}
        self._w750: dict[str, float] = {}
        self._days: list[str] = []
        for date in sorted({*factors, *w750}):
            self.set_day(date, factors.get(date), w750.get(date))

    @property
    def flags(self) -> tuple[str, ...]:
        """What every report has to name."""
        return ("acb_full_sample",) if self.mode == "full_sample" else ()

    def set_day(self, date: str, factors: Sequence[float] | None = None, w750_vel: float | None = None) -> None:
        """What is known of a day so far: what is given replaces what was there; no finite value = not given.

        Raises ``QualityError`` for what is no date.
        """
        _checked_date(date)
        if factors is not None and np.isfinite(list(factors)).any():
            self._factors[date] = Factors(*map(float, factors))
        if w750_vel is not None and math.isfinite(w750_vel):
            if date not in self._w750:
                insort(self._days, date)
            self._w750[date] = float(w750_vel)

    def threshold(self, date: str) -> float:
        """60th percentile (linear) of the daily medians of the days before ``date`` (``full_sample``: of all days); NaN when too few."""
        full = self.mode == "full_sample"
        days = self._days if full else self._days[: bisect_left(self._days, date)]
        if len(days) < (1 if full else MIN_DAYS):
            return math.nan
        return float(np.percentile([self._w750[day] for day in days], PERCENTILE))

    def get_dynamic_boost_for_date(self, date: str, ob_engine: OrderBookProvider | None = None, ts_ms: int | None = None) -> dict[str, Any]:
        """``{boost, beta, signals, factors, w750_vel, w750_threshold, mode}``; NaN = unknown.

        beta: 0.8 when the day's median w750 velocity is at or above the threshold, else 0.2, then OB-4 with the book as of ``ts_ms``
        (default: the start of the day). A day of which nothing is known: boost 1, beta 0.2 and a warning in ``warnings``.
        """
        _checked_date(date)
        known, level = self._factors.get(date), self._w750.get(date, math.nan)
        if known is None and math.isnan(level):
            self._warn(f"{date}: no indicators and no eigenvalue velocities: boost 1, beta {LOW_BETA}")
            return self._answer((1.0, LOW_BETA, 0.0), Factors(), (math.nan, math.nan))
        if known is None:
            self._warn(f"{date}: no indicators: boost 1")
        if math.isnan(level):
            self._warn(f"{date}: no eigenvalue velocities: beta {LOW_BETA}")
        factors, limit = known or Factors(), self.threshold(date)
        signals = count_signals(*factors)
        beta = HIGH_BETA if level >= limit else LOW_BETA
        moment = (Date.fromisoformat(date) - Date(1970, 1, 1)).days * _DAY_MS if ts_ms is None else ts_ms
        assets = self.assets.get(date, ()) if isinstance(self.assets, Mapping) else self.assets
        beta *= book_beta_factor(ob_engine, assets, moment)
        return self._answer((base_boost(signals), beta, signals), factors, (level, limit))

    def _answer(self, result: tuple[float, float, float], factors: Factors, w750: tuple[float, float]) -> dict[str, Any]:
        boost, beta, signals = result
        return {
            "boost": boost, "beta": beta, "signals": signals, "factors": factors._asdict(), "w750_vel": w750[0],
            "w750_threshold": w750[1], "mode": self.mode,
        }  # fmt: skip

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def checked_boost(boost: float, beta: float) -> tuple[float, float]:
    """Boost and beta as the engine takes them. Raises ``QualityError`` for a boost outside (0, 10] or a beta outside [0, 10]."""
    if not (0.0 < boost <= 10.0 and 0.0 <= beta <= 10.0):
        raise QualityError(f"circuit breaker gave boost {boost!r}, beta {beta!r}", hint="boost in (0, 10], beta in [0, 10], both finite")
    return float(boost), float(beta)


def _step(value: float, full: float, half: float) -> float:
    """1 above ``full``, 0.5 above ``half``, else 0; ``value`` that is not finite: 0."""
    if not math.isfinite(value):
        return 0.0
    return 1.0 if value > full else 0.5 if value > half else 0.0


def _value(known: Any, name: str) -> float:
    value = known.get(name) if isinstance(known, Mapping) else getattr(known, name, None)
    return math.nan if value is None else float(value)


def _checked_date(date: str) -> None:
    try:
        if Date.fromisoformat(date).isoformat() == date:
            return
    except (TypeError, ValueError):
        pass
    raise QualityError(f"{date!r} is not a date", hint="YYYY-MM-DD")
