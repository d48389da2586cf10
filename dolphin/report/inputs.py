"""What a report is made of, as values: the run's context, its bars, its trades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dolphin.config import EngineConfig, LoadedConfig
from dolphin.errors import QualityError, SchemaError
from dolphin.report.venue import VenueRun
from dolphin.types import TRADE, TRADE_FIELDS, WINDOWS, Array, Ints

__all__ = ["DAY_MS", "TEXT_FIELDS", "Bars", "Columns", "DayQuality", "RunContext", "trade_columns", "trade_kinds"]

DAY_MS: Final = 86_400_000

TEXT_FIELDS: Final = frozenset({"date", "asset", "dc", "reason", "mc_status", "posture"})
"""Trade fields that are strings in records; every other one is int64 or float64 as in ``dolphin.types.TRADE``."""

type Columns = dict[str, npt.NDArray[Any]]
"""Trades by column, in ``TRADE_FIELDS`` order: int64, float64 or object (strings), each of length n_trades."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayQuality:
    """What the data of one UTC day lacked.

    ``missing``: half-open ranges of milliseconds UTC, from the open of the first absent bar to the open of the next present one.
    ``counts``: named findings, such as quarantined rows; zero counts may be left out.
    """

    date: str
    bars: int
    expected: int
    missing: tuple[tuple[int, int], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Everything about a run that is neither a bar nor a trade.

    ``data`` holds ``{"file", "sha256"}`` and ``skipped_days`` ``{"date", "why"}``; ``refusals`` counts bars by the first reason for
    which nothing was entered (``dolphin.types.Refusal`` names); ``open_position`` is the position left at the end, with at least
    asset, direction, entry_bar, entry_price, notional, leverage and fraction; ``seconds`` is the time that the run took;
    ``notes`` say what the layers lacked; ``postures``: JSON values, ``source`` (run or file), ``changes`` as [ts_ms, posture], ``minutes``
    by posture and ``lowest_rm`` (None with a file);
    ``venue`` is the ledger of its orders and fills, None when the run sent no orders.
    """

    config: LoadedConfig
    config_hash: str
    version: str
    git: str
    data: Sequence[Mapping[str, str]]
    universe: Sequence[str]
    bar_seconds: int
    days: Sequence[str]
    skipped_days: Sequence[Mapping[str, str]] = ()
    quality: Sequence[DayQuality] = ()
    refusals: Mapping[str, int] = field(default_factory=dict)
    flags: Sequence[str] = ()
    acb_mode: str = "off"
    direction: int = -1
    open_position: Mapping[str, Any] | None = None
    seconds: float = 0.0
    notes: Sequence[str] = ()
    layers: Mapping[str, Any] | None = None
    postures: Mapping[str, Any] | None = None
    venue: VenueRun | None = None

    @property
    def engine(self) -> EngineConfig:
        """The effective engine configuration."""
        return self.config.settings.engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """The run's bars; row t is global bar index t.

    ``ts_ms`` int64[T] bar close, rising; ``closes`` float64[T, N] of ``names``, at least every traded asset, NaN = no price;
    ``vel_div`` float64[T]; ``shares`` float64[T, 4], largest eigenvalue over participants for each window, or None when unknown.
    Raises ``SchemaError`` for shapes that disagree and ``QualityError`` for times that do not rise.
    """

    ts_ms: Ints
    names: tuple[str, ...]
    closes: Array
    vel_div: Array
    shares: Array | None = None

    def __post_init__(self) -> None:
        n = len(self.ts_ms)
        shapes = {"closes": (n, len(self.names)), "vel_div": (n,), "shares": (n, len(WINDOWS))}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise SchemaError(f"shape {value.shape}, expected {shape}", column=name)
        if n and self.ts_ms[0] <= 0:
            raise QualityError("time is unknown", column="ts_ms", row=0, hint="derive it from the date and bar_seconds")
        late = np.flatnonzero(np.diff(self.ts_ms) <= 0)
        if len(late):
            raise QualityError("time does not rise", column="ts_ms", row=int(late[0]) + 1)

    @property
    def day(self) -> Ints:
        """int64[T] days since 1970 UTC; a bar that closes at 00:00 belongs to the day on which it opened."""
        return (self.ts_ms - 1) // DAY_MS

    def only(self, names: Sequence[str]) -> Bars:
        """The same bars with the closes of ``names`` alone. Raises ``SchemaError`` for a name without closes."""
        column = {name: i for i, name in enumerate(self.names)}
        for name in names:
            if name not in column:
                raise SchemaError("a traded asset without closes", column=name)
        closes = np.ascontiguousarray(self.closes[:, [column[name] for name in names]], dtype=np.float64)
        return Bars(ts_ms=self.ts_ms, names=tuple(names), closes=closes, vel_div=self.vel_div, shares=self.shares)


def trade_kinds() -> dict[str, str]:
    """Kind of each trade field, in ``TRADE_FIELDS`` order: ``"i"`` int64, ``"f"`` float64, ``"O"`` string."""
    return {name: "O" if name in TEXT_FIELDS else TRADE[name].kind for name in TRADE_FIELDS}


def trade_columns(trades: Sequence[Mapping[str, Any]]) -> Columns:
    """Turn trade records into typed columns.

    Raises ``SchemaError`` for a record whose keys are not exactly ``TRADE_FIELDS`` and ``QualityError`` for trades that overlap or
    are out of order (at most one position is open at a time).
    """
    expected = set(TRADE_FIELDS)
    for row, trade in enumerate(trades):
        if trade.keys() != expected:
            odd = sorted(trade.keys() ^ expected)
            raise SchemaError("trade record without this field, or with it and should not", column=", ".join(odd), row=row)
    dtypes: Mapping[str, Any] = {"i": np.int64, "f": np.float64, "O": object}
    columns = {name: np.array([trade[name] for trade in trades], dtype=dtypes[kind]) for name, kind in trade_kinds().items()}
    early = np.flatnonzero(columns["entry_bar"][1:] < columns["exit_bar"][:-1])
    if len(early):
        raise QualityError("trade enters before the one before it has left", column="entry_bar", row=int(early[0]) + 1)
    back = np.flatnonzero(columns["exit_bar"] < columns["entry_bar"])
    if len(back):
        raise QualityError("trade leaves before it enters", column="exit_bar", row=int(back[0]))
    return columns
