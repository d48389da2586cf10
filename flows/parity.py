"""Parity: one market, four ways to the same trades. Day tables at once, bar by bar, a live scanner's stream, and orders in Nautilus."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dolphin.config import Settings
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import DayRows, table_rows
from dolphin.errors import MissingDependency
from dolphin.scanner.scan import Scanner
from dolphin.storage.day_table import DayTable
from dolphin.storage.klines import KlineStore

__all__ = [
    "COMPARED",
    "Parity",
    "Way",
    "bar_way",
    "check_parity",
    "day_way",
    "first_difference",
    "stream_way",
    "venue_of",
    "venue_over",
    "venue_way",
]

COMPARED = ("entry_bar", "exit_bar", "asset", "direction", "reason", "quantity")

type Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Way:
    """Trades of one way, and the first of them that is not the day way's (empty = none)."""

    name: str
    trades: int
    first_difference: str


@dataclass(frozen=True, slots=True)
class Parity:
    """Outcome of a check. ``fill_error``: largest distance of a taker fill from its quote, USDT; ``account_error``: end balance minus
    (start + realised - fees + funding), USDT.
    """

    days: list[str]
    bars: int
    ways: list[Way]
    fill_error: float
    account_error: float

    @property
    def passed(self) -> bool:
        """All ways agree, fills are the quotes (1e-9) and the account adds up (1e-6)."""
        return not any(way.first_difference for way in self.ways) and self.fill_error <= 1e-9 and abs(self.account_error) <= 1e-6

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"passed": self.passed, **asdict(self)}

    def to_text(self) -> str:
        """What a person reads."""
        head = f"{len(self.days)} days, {self.bars} bars, trade by trade ({', '.join(COMPARED)}):"
        rows = [f"  {way.name:<9} {way.trades:>5} trades  {way.first_difference or 'the same'}" for way in self.ways]
        sums = f"fills: at most {self.fill_error:.1e} from their quotes; account: {self.account_error:+.1e} USDT unexplained"
        return "\n".join([head, *rows, sums, f"parity: {'passed' if self.passed else 'FAILED'}"])


def first_difference(expected: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> str:
    """First trade that differs in a compared field, in words; empty when there is none. Quantity = notional / entry price, to 1e-12."""
    for number, (a, b) in enumerate(zip(expected, found, strict=False), start=1):
        for name in COMPARED:
            one, other = (t["notional"] / t["entry_price"] if name == "quantity" else t[name] for t in (a, b))
            if one != other and not (name == "quantity" and math.isclose(one, other, rel_tol=1e-12)):
                return f"trade {number}: {name} is {other!r}, expected {one!r}"
    return "" if len(expected) == len(found) else f"{len(found)} trades, expected {len(expected)}"


def day_way(tables: Sequence[DayTable], settings: Settings, direction: int) -> NDAlphaEngine:
    """``process_rows`` over whole days."""
    engine = NDAlphaEngine(settings.engine)
    for table in tables:
        engine.process_rows(table.date, table_rows(table), direction=direction)
    return engine


def bar_way(tables: Sequence[DayTable], settings: Settings, direction: int) -> NDAlphaEngine:
    """``process_bar`` row by row, prices by name."""
    engine = NDAlphaEngine(settings.engine)
    for table in tables:
        rows = table_rows(table)
        engine.begin_day(table.date, direction)
        for closes, signal, ts in _rows(rows):
            engine.process_bar(signal[0], dict(zip(rows.assets, closes.tolist(), strict=True)), signal[1], signal[2], ts)
        engine.end_day()
    return engine


def stream_way(store: KlineStore, tables: Sequence[DayTable], settings: Settings, direction: int, track: Track) -> NDAlphaEngine:
    """Klines pushed row by row through a live scanner from the archive's start, and on into ``process_row``."""
    engine, symbols = NDAlphaEngine(settings.engine), store.symbols()
    scanner, wanted, before = Scanner(len(symbols)), {table.date for table in tables}, None
    dates = [date for date in store.dates() if date <= tables[-1].date]
    bar_ms = store.bar_seconds * 1000
    for date in track(dates, len(dates), "days streamed"):
        before = store.load(date, symbols, before)
        if date in wanted:
            engine.begin_day(date, direction)
            engine.set_universe(symbols)
        for closes, ts in zip(before.closes, before.ts.tolist(), strict=True):
            scan = scanner.push(closes, ts // bar_ms)
            if date in wanted:
                engine.process_row(closes, scan.vel_div, scan.velocity[0], scan.velocity[-1], ts + bar_ms)
        if date in wanted:
            engine.end_day()
    return engine


def venue_of(
    tables: Sequence[DayTable],
    settings: Settings,
    direction: int,
    funding: Any = None,
    engine: NDAlphaEngine | None = None,
    postures: Callable[[int], str | None] | None = None,
) -> Any:
    """``venue_over`` day tables."""
    rows = [table_rows(table) for table in tables]
    return venue_over(rows, tables[0].bar_seconds or 60, settings, direction, funding=funding, engine=engine, postures=postures)


def venue_over(
    days: Sequence[DayRows],
    bar_seconds: int,
    settings: Settings,
    direction: int,
    *,
    funding: Any = None,
    engine: NDAlphaEngine | None = None,
    postures: Callable[[int], str | None] | None = None,
    state: Mapping[str, Any] | None = None,
) -> Any:
    """A ``VenueBacktest`` that has run; ``engine``: with layers attached already; ``postures``: by the bar's close, ms; ``state``: of a
    paper lane's venue.

    Raises ``MissingDependency`` without NautilusTrader, ``ConfigError`` for odd symbols.
    """
    try:
        from actors.backtest import VenueBacktest
        from actors.config import DolphinActorConfig
        from dolphin.types import LANES
    except ImportError as error:
        raise MissingDependency(f"NautilusTrader is not installed ({error}); install the extra: dolphin-nautilus[nautilus]") from error
    lane = next(name for name, side in LANES.items() if side == direction)
    config = DolphinActorConfig(lane=lane, bar_seconds=bar_seconds, engine=settings.engine, orders=settings.venue)
    return VenueBacktest.build(config, days, funding, engine, postures, state).run()


def venue_way(tables: Sequence[DayTable], settings: Settings, direction: int) -> tuple[list[dict[str, Any]], float, float]:
    """Orders in NautilusTrader: ``(engine's trades, fill error, account error)``."""
    venue = venue_of(tables, settings, direction)
    try:
        return venue.actor.engine.trades, venue.fill_error, venue.account_error
    finally:
        venue.close()


def check_parity(store: KlineStore, tables: Sequence[DayTable], settings: Settings, direction: int, track: Track) -> Parity:
    """Run all ways over ``tables`` (day tables of ``store``) and compare each with the day way."""
    expected = day_way(tables, settings, direction).trades
    bars, stream = bar_way(tables, settings, direction), stream_way(store, tables, settings, direction, track)
    found, fill_error, account_error = venue_way(tables, settings, direction)
    trades = {"day": expected, "bar": bars.trades, "stream": stream.trades, "nautilus": found}
    ways = [Way(name, len(rows), first_difference(expected, rows)) for name, rows in trades.items()]
    return Parity([table.date for table in tables], sum(len(t.closes) for t in tables), ways, fill_error, account_error)


def _rows(rows: DayRows) -> Iterator[tuple[Any, tuple[float, float, float], int]]:
    signals = np.column_stack([rows.vel_div, rows.v50, rows.v750]).tolist()
    yield from zip(rows.closes, map(tuple, signals), rows.ts_ms.tolist(), strict=True)
