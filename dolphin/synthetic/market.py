"""Synthetic market: a whole archive of klines from five numbers, the embedded default of the quick start and of the tests.

One-factor model in simple returns, per bar ``t`` and asset ``i``::

    r[t, i]   = scale[i] * (beta[i] * F[t] * f[t] + G[t] * g[t, i] * e[t, i])            clipped to +-30 %
    latent[t] = latent[t-1] * (1 + r[t]),   close = latent rounded to the tick

``f`` and ``e`` are Student-t shocks of variance 1, independent and symmetric. ``F`` (factor volatility) and ``G`` (volatility
common to all idiosyncratic parts) follow a Markov chain of four regimes: calm, coupling (correlation builds up over an hour or two),
stress (a jump in both) and break (the factor dies and correlation falls within minutes), under a slow mean-reverting noise;
``g`` is each asset's own slow volatility. Together they cluster volatility and move the eigenvalue shares through the range
that real markets show.

Every volatility is independent of the signs of the shocks, so ``E[r[t] | everything before t] = 0``: prices are martingales, no rule
earns anything on them before costs, and a backtest on this market shows what the costs and the luck are. The constants are set
by shares, volatility and signal frequency of a real archive, never by a result.

Sources: R. Cont, "Empirical properties of asset returns", Quantitative Finance 1 (2001), for the facts to meet;
high and low are the exact extremes of a Brownian bridge between open and close (Glasserman 2003, section 6.4).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import numpy as np

from dolphin.errors import ConfigError
from dolphin.types import Array, Ints

__all__ = ["MarketDay", "SyntheticMarket"]

_DAY_SECONDS: Final = 86_400
_KNOT_SECONDS: Final = 300
_HOURS: Final = 24

_CALM, _COUPLING, _STRESS, _BREAK = range(4)
# log factor volatility, log idiosyncratic volatility, minutes to get there, mean length in minutes
_REGIMES: Final = (
    (-0.30, -0.10, 45.0, 300.0),
    (0.30, -0.10, 75.0, 180.0),
    (0.90, 0.70, 5.0, 45.0),
    (-0.70, 0.15, 5.0, 90.0),
)
_NEXT: Final = (
    (0.00, 0.60, 0.10, 0.30),
    (0.25, 0.00, 0.35, 0.40),
    (0.40, 0.35, 0.00, 0.25),
    (0.70, 0.30, 0.00, 0.00),
)
_WANDER_MINUTES: Final = 1_440.0
_WANDER_SD: Final = 0.55
_WANDER_SHARED: Final = 0.90
_OWN_HOURS: Final = 12.0
_OWN_SD: Final = 0.45
_MINUTE_SCALE: Final = 15e-4
_FACTOR_DF: Final = 8.0
_OWN_DF: Final = 4.5
_MAX_RETURN: Final = 0.30

_MISSING_BAR: Final = 2e-4
_MISSING_SPELL: Final = 0.01
_SPELL_MINUTES: Final = 30
_DELISTING_DAY: Final = 1

_ONSETS: Final = (
    "BAL", "COR", "DEL", "FEN", "GAL", "HAL", "KOR", "LUM", "MIR", "NOV",
    "ORB", "PRI", "QUA", "RUN", "SOL", "TER", "UMB", "VEL", "WAV", "XEN",
)  # fmt: skip
_ENDINGS: Final = (
    "A", "AX", "EX", "IA", "IO", "IS", "IUM", "IX", "O", "OM", "ON", "OR", "OS", "RA", "RO", "TA", "TO", "UM", "US", "YN",
)  # fmt: skip
_MAX_ASSETS: Final = 400


@dataclass(frozen=True, slots=True)
class MarketDay:
    """One UTC day of klines as arrays.

    ``ts int64[n_bars]`` is the bar OPEN in ms; ``open high low close volume float64[n_bars, n_assets]`` are USDT and base units.
    A bar without a trade, and every bar after a delisting, is NaN in all five.
    """

    date: str
    symbols: tuple[str, ...]
    ts: Ints
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array


@dataclass(frozen=True, slots=True)
class _Universe:
    """What an asset is for ever: opening price, decimals of its tick, volatility a minute, loading on the factor, usual volume."""

    price: Array
    decimals: Ints
    scale: Array
    beta: Array
    volume: Array
    delisted: int
    delisted_at: float


@dataclass(frozen=True, slots=True)
class _State:
    """What the market carries over midnight."""

    regime: int
    level: tuple[float, float]
    wander: tuple[float, float]
    own: Array
    price: Array


@dataclass(frozen=True, slots=True)
class SyntheticMarket:
    """Klines of ``assets`` symbols over ``days`` UTC days from ``start``, the same for the same numbers on any machine.

    Iterate to get each ``MarketDay`` in turn; nothing is kept. Day ``k`` depends on the other four numbers and on the days before it
    only, so a longer archive begins with the shorter one. One asset is delisted in the middle of the second day.

    Raises ``ConfigError`` naming the field, the value and the range.
    """

    assets: int = 48
    days: int = 3
    bar_seconds: int = 60
    seed: int = 7
    start: str = "2025-01-01"

    def __post_init__(self) -> None:
        """Check every field."""
        for name, low, high in (("assets", 3, _MAX_ASSETS), ("days", 1, 10_000), ("bar_seconds", 1, 3_600), ("seed", 0, 2**63 - 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"{name} = {value!r} is not an integer in [{low}, {high}]")
        if _DAY_SECONDS % self.bar_seconds:
            raise ConfigError(f"bar_seconds = {self.bar_seconds} does not divide a day of {_DAY_SECONDS} s")
        try:
            dt.date.fromisoformat(self.start)
        except (TypeError, ValueError):
            raise ConfigError(f"start = {self.start!r} is not a date YYYY-MM-DD") from None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the assets in column order: BTCUSDT, ETHUSDT, then invented ones."""
        made = (_ONSETS[i % 20] + _ENDINGS[(i // 20 + i) % 20] for i in range(_MAX_ASSETS))
        return tuple(name + "USDT" for name in islice(("BTC", "ETH", *made), self.assets))

    def __len__(self) -> int:
        """Number of days."""
        return self.days

    def __iter__(self) -> Iterator[MarketDay]:
        """Every day in turn, made when asked for."""
        universe = self._universe()
        own = self._rng(0, 1).normal(0.0, _OWN_SD, self.assets)
        state = _State(_CALM, (_REGIMES[_CALM][0], _REGIMES[_CALM][1]), (0.0, 0.0), own, universe.price)
        for k in range(self.days):
            day, state = self._make(k, universe, state)
            yield day

    def day(self, k: int) -> MarketDay:
        """Day ``k`` alone (0-based); the days before it are made and thrown away. Raises ``IndexError`` outside the archive."""
        if not 0 <= k < self.days:
            raise IndexError(f"day {k} is outside an archive of {self.days} days")
        return next(islice(self, k, None))

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=stream)))

    def _universe(self) -> _Universe:
        n, rng = self.assets, self._rng(0, 0)
        price = np.concatenate(([90_000.0, 3_000.0], rng.permutation(np.geomspace(0.01, 900.0, n - 2))))
        decimals = np.maximum(4 - np.floor(np.log10(price) + 1e-9), 1).astype(np.int64)
        scale = np.clip(_MINUTE_SCALE * np.exp(rng.normal(0.0, 0.25, n)), 10e-4, 40e-4)
        scale[:2] = 8e-4, 11e-4
        beta = rng.uniform(0.65, 1.15, n)
        beta[:2] = 1.15, 1.15
        volume = 2e5 * np.exp(rng.normal(0.0, 1.0, n)) / price
        volume[:2] = 4e7 / price[0], 2e7 / price[1]
        delisted = int(rng.integers(min(5, n - 1), n))
        price = np.array([round(float(p), int(d)) for p, d in zip(price, decimals, strict=True)])
        return _Universe(price, decimals, scale, beta, volume, delisted, float(rng.uniform(0.3, 0.7)))

    def _make(self, k: int, universe: _Universe, state: _State) -> tuple[MarketDay, _State]:
        n_bars = _DAY_SECONDS // self.bar_seconds
        rng = self._rng(1, k, 0)
        vols, state = _volatility(rng, n_bars, state)
        factor = vols[0] * _student(rng, _FACTOR_DF, n_bars)
        bars = np.empty((5, n_bars, self.assets))
        own, last = state.own.copy(), state.price.copy()
        per_bar = math.sqrt(self.bar_seconds / 60.0)
        for i in range(self.assets):
            rng = self._rng(1, k, 1 + i)
            own_vol, own[i] = _own_volatility(rng, n_bars, float(own[i]))
            unit = universe.scale[i] * per_bar
            noise = vols[1] * own_vol
            returns = unit * (universe.beta[i] * factor + noise * _student(rng, _OWN_DF, n_bars))
            sigma = unit * np.hypot(universe.beta[i] * vols[0], noise)
            bars[:, :, i], last[i] = _bars(rng, returns, sigma, float(last[i]), int(universe.decimals[i]))
            bars[4, :, i] = _to_lots(bars[4, :, i], float(universe.volume[i]) * self.bar_seconds / 60.0)
            bars[:, _missing(rng, n_bars, self.bar_seconds), i] = np.nan
        if k >= _DELISTING_DAY:
            bars[:, int(universe.delisted_at * n_bars) if k == _DELISTING_DAY else 0 :, universe.delisted] = np.nan
        date = dt.date.fromisoformat(self.start) + dt.timedelta(days=k)
        first_ms = (date.toordinal() - dt.date(1970, 1, 1).toordinal()) * _DAY_SECONDS * 1000
        ts = first_ms + np.arange(n_bars, dtype=np.int64) * (self.bar_seconds * 1000)
        return MarketDay(date.isoformat(), self.symbols, ts, *bars), replace(state, own=own, price=last)


def _student(rng: np.random.Generator, df: float, n: int) -> Array:
    """Student-t shocks of variance 1, ``float64[n]``."""
    return rng.standard_t(df, n) * math.sqrt((df - 2.0) / df)


def _volatility(rng: np.random.Generator, n_bars: int, state: _State) -> tuple[Array, _State]:
    """Factor and common idiosyncratic volatility of a day, ``float64[2, n_bars]``, and the state at its end."""
    steps = _DAY_SECONDS // _KNOT_SECONDS
    minutes = _KNOT_SECONDS / 60.0
    keep = math.exp(-minutes / _WANDER_MINUTES)
    kick, apart = _WANDER_SD * math.sqrt(1.0 - keep * keep), math.sqrt(1.0 - _WANDER_SHARED**2)
    shocks, dice = rng.standard_normal((steps, 2)).tolist(), rng.random((steps, 2)).tolist()
    regime, (f, g), (u, w) = state.regime, state.level, state.wander
    knots = [(f + u, g + w)]
    for (z1, z2), (d1, d2) in zip(shocks, dice, strict=True):
        if d1 < minutes / _REGIMES[regime][3]:
            regime = int(np.searchsorted(np.cumsum(_NEXT[regime]), d2, side="right"))
        target_f, target_g, reach, _ = _REGIMES[regime]
        pull = 1.0 - math.exp(-minutes / reach)
        f, g = f + pull * (target_f - f), g + pull * (target_g - g)
        u, w = keep * u + kick * z1, keep * w + kick * (_WANDER_SHARED * z1 + apart * z2)
        knots.append((f + u, g + w))
    at = np.arange(n_bars) / n_bars
    where = np.arange(steps + 1) / steps
    logs = np.array(knots)
    vols = np.exp(np.stack([np.interp(at, where, logs[:, 0]), np.interp(at, where, logs[:, 1])]))
    return vols, replace(state, regime=regime, level=(f, g), wander=(u, w))


def _own_volatility(rng: np.random.Generator, n_bars: int, x: float) -> tuple[Array, float]:
    """One asset's own slow volatility over a day, ``float64[n_bars]``, and its logarithm at the end."""
    keep = math.exp(-1.0 / _OWN_HOURS)
    kick = _OWN_SD * math.sqrt(1.0 - keep * keep)
    knots = [x]
    for z in rng.standard_normal(_HOURS).tolist():
        knots.append(keep * knots[-1] + kick * z)
    return np.exp(np.interp(np.arange(n_bars) / n_bars, np.arange(_HOURS + 1) / _HOURS, knots)), knots[-1]


def _bars(rng: np.random.Generator, returns: Array, sigma: Array, last: float, decimals: int) -> tuple[Array, float]:
    """``open high low close volume`` as ``float64[5, n_bars]`` from returns and their volatility; volume in multiples of the usual."""
    n, tick = len(returns), 10.0**decimals
    latent = last * np.cumprod(1.0 + np.clip(returns, -_MAX_RETURN, _MAX_RETURN))
    path = np.maximum(np.rint(np.concatenate(([last], latent)) * tick), 1.0)
    start, end = path[:-1], path[1:]
    spread = 2.0 * (start * sigma) ** 2
    # 1 - random() lies in (0, 1]: the logarithm stays finite
    reach = np.sqrt((end - start) ** 2 - spread * np.log(1.0 - rng.random((2, n))))
    high = np.maximum(np.rint(0.5 * (start + end + reach[0])), np.maximum(start, end))
    low = np.maximum(np.minimum(np.rint(0.5 * (start + end - reach[1])), np.minimum(start, end)), 1.0)
    volume = np.exp(0.6 * rng.standard_normal(n)) * (0.4 + np.abs(returns) / sigma)
    return np.stack([start / tick, high / tick, low / tick, end / tick, volume]), float(latent[-1])


def _to_lots(multiples: Array, usual: float) -> Array:
    """Volume in base units, a decimal with some five digits at the usual volume."""
    lot = 10.0 ** max(4 - math.floor(math.log10(usual)), 0)
    return np.maximum(np.rint(multiples * usual * lot), 1.0) / lot


def _missing(rng: np.random.Generator, n_bars: int, bar_seconds: int) -> Ints:
    """Rows of the day on which an asset did not trade: single bars, and now and then a spell of up to half an hour."""
    gone = rng.random(n_bars) < _MISSING_BAR
    if rng.random() < _MISSING_SPELL:
        first = int(rng.integers(n_bars))
        gone[first : first + 1 + int(rng.integers(_SPELL_MINUTES * 60)) // bar_seconds] = True
    return np.flatnonzero(gone)
