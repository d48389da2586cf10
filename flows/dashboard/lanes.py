"""A lane from its journal: equity, day, position, trades, and why nothing was entered."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from dolphin.config import EngineConfig, Settings
from dolphin.kernels.exits import price_move_nb
from dolphin.report.decimate import decimate, rounded
from dolphin.report.notes import EXITS
from dolphin.storage.journal import Kind, Record
from dolphin.types import LANES
from flows.dashboard.follow import Clean, JournalFollower
from flows.dashboard.refusals import RefusalCounts
from flows.dashboard.snapshot import Curve, Position, Refused, TradeView, VenueView

__all__ = ["LaneFollower", "start_capital"]

HISTORY: Final = 20_000
"""Records of a journal that are read at the start: two weeks of minutes, a day of 5 s bars."""
POINTS: Final = 20_000
SHOWN: Final = 240
TRADES: Final = 40
REJECTIONS: Final = ("rejected", "denied", "expired")
"""Events of orders that the venue did not carry out."""
_move = price_move_nb.py_func


def start_capital(settings: Settings, lane: str) -> float:
    """What a lane began with, USDT."""
    return settings.paper.capital(lane) or settings.engine.start_capital


class _Told(msgspec.Struct):
    blocks: list[str] = []


class _Entry(msgspec.Struct):
    asset: str
    direction: int
    entry_ts: int
    entry_price: float
    notional: float
    leverage: float


class _Bar(msgspec.Struct):
    date: str
    bar: int
    posture: str
    equity: float
    peak: float
    entry: _Entry | None
    refusals: list[str]
    told: _Told


class _Trade(msgspec.Struct):
    date: str
    asset: str
    direction: int
    entry_ts: int
    exit_ts: int
    entry_price: float
    exit_price: float
    notional: float
    leverage: float
    fraction: float
    bars_held: int
    reason: str
    net_pnl: float
    capital_after: float
    honest_ret: float
    honest_capital_after: float


class _Day(msgspec.Struct):
    capital: float
    honest_capital: float | None = None


class _Settled(msgspec.Struct):
    fills_net: float


class _OrderEvent(msgspec.Struct):
    event: str
    reason: str = ""


class _Safe(msgspec.Struct):
    engaged: bool
    reason: str


class LaneFollower:
    """``look`` once a pass; the rest says what is known then. None: unknown."""

    def __init__(self, path: Path, lane: str, clean: Clean, *, live: bool) -> None:
        self.lane, self.live, self.direction, self._clean = lane, live, LANES[lane], clean
        self._journal = JournalFollower(path, HISTORY)
        self._forget()

    @property
    def problem(self) -> str:
        """Why the journal cannot be read."""
        return self._journal.problem

    @property
    def reading(self) -> bool:
        """There is more to take in."""
        return self._journal.behind

    def look(self) -> None:
        """Take in what the lane has journalled."""
        records = self._journal.take()
        if self._journal.begun:
            self._forget()
            engaged = self._journal.last(Kind.SAFE_MODE)
            records = [*([engaged] if engaged is not None else []), *records]
        for record in records:
            try:
                self._take(record)
            except (msgspec.ValidationError, ZeroDivisionError, OverflowError):
                self.unreadable += 1

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def capital_now(self, start: float) -> tuple[float | None, float | None]:
        """Champion's and honest capital of closed trades; ``start`` where the journal has none yet."""
        begun = start if self._journal.whole and self.bar is not None else None
        return (self._capital if self._capital is not None else begun), (self._honest if self._honest is not None else begun)

    def day_began(self, start: float) -> float | None:
        """Equity when the day of the newest bar began."""
        if self._day_start is None and self._journal.whole and self.bar is not None:
            return start
        return self._day_start

    def position(self, config: EngineConfig, price: tuple[float, int] | None) -> Position | None:
        """The open position against ``price`` (of market ms); limits as in the settings."""
        entry = self._open
        if entry is None:
            return None
        last, at = price or (None, None)
        move = None if last is None else _move(entry.direction, entry.entry_price, last)
        stops = config.stop_loss_pct < 1.0
        return Position(
            asset=self._clean(entry.asset),
            direction=entry.direction,
            entry_market_ms=entry.entry_ts,
            entry_price=entry.entry_price,
            notional=entry.notional,
            leverage=entry.leverage,
            bars=self._age,
            max_bars=config.max_hold_bars,
            price=last,
            price_market_ms=at,
            move=move,
            unrealised=None if move is None else move * entry.notional,
            take_profit_price=entry.entry_price * (1.0 + entry.direction * config.fixed_tp_pct),
            to_take_profit=None if move is None else config.fixed_tp_pct - move,
            stop_price=entry.entry_price * (1.0 - entry.direction * config.stop_loss_pct) if stops else None,
            to_stop=None if move is None or not stops else config.stop_loss_pct + move,
        )

    @property
    def held(self) -> str:
        """Symbol of the open position, empty without one."""
        return "" if self._open is None else self._open.asset

    def refused(self) -> list[Refused]:
        """Counts by reason over the last market hours."""
        return self._refused.rows()

    def curve(self, venue: VenueView | None) -> Curve:
        """Equity of the bars that were read, thinned without losing a peak; the venue's closed balance by its settlements."""
        drawn = self._drawn()
        if venue is None or not drawn.market_ms:
            return drawn
        balance, settled, values = venue.account - venue.unrealised, list(self._settled), list[float | None]()
        for at in reversed(drawn.market_ms):
            while settled and settled[-1][0] > at:
                balance -= settled.pop()[1]
            values.append(round(balance, 2))
        return msgspec.structs.replace(drawn, venue=values[::-1])

    def _drawn(self) -> Curve:
        if self._curve is None:
            times, values = zip(*self._points, strict=True) if self._points else ((), ())
            line = np.array([values], dtype=np.float64)
            kept = decimate(line, SHOWN) if values else np.empty(0, dtype=np.int64)
            shown = rounded(line[0][kept], digits=2) if values else []
            pairs = [(times[k], value) for k, value in zip(kept.tolist(), shown, strict=True) if value is not None]
            self._curve = Curve(market_ms=[at for at, _ in pairs], equity=[value for _, value in pairs], venue=[])
        return self._curve

    @property
    def trades(self) -> list[TradeView]:
        """Trades that closed on the day of the newest bar, newest first."""
        return [trade for date, trade in reversed(self._trades) if date == self.date]

    @property
    def last_trade(self) -> TradeView | None:
        """The newest one of any day."""
        return self._trades[-1][1] if self._trades else None

    def _forget(self) -> None:
        self.date, self.posture, self.unreadable = "", "", 0
        self.rejected, self.rejection = 0, ""
        self.bar: int | None = None
        self.bar_ms: int | None = None
        self.equity: float | None = None
        self.peak: float | None = None
        self.safe_mode: str | None = None
        self.blocks: list[str] = []
        self.refusals: list[str] = []
        self._capital: float | None = None
        self._honest: float | None = None
        self._day_start: float | None = None
        self._open: _Entry | None = None
        self._age: int | None = None
        self._points: deque[tuple[int, float]] = deque(maxlen=POINTS)
        self._curve: Curve | None = None
        self._settled: deque[tuple[int, float]] = deque(maxlen=TRADES * 10)
        self._trades: deque[tuple[str, TradeView]] = deque(maxlen=TRADES)
        self._refused = RefusalCounts(self._clean)

    def _take(self, record: Record) -> None:
        if record.kind == Kind.BAR:
            self._bar(msgspec.convert(record.payload, _Bar), record.ts_ms)
        elif record.kind == Kind.TRADE:
            self._trade(msgspec.convert(record.payload, _Trade))
        elif record.kind == Kind.DAY_RESULT:
            day = msgspec.convert(record.payload, _Day)
            self._capital, self._honest = day.capital, day.honest_capital if day.honest_capital is not None else self._honest
            self._inherit(record.payload.get("open_position"))
        elif record.kind == Kind.SETTLEMENT:
            self._settled.append((record.ts_ms, msgspec.convert(record.payload, _Settled).fills_net))
        elif record.kind == Kind.ORDER_EVENT:
            event = msgspec.convert(record.payload, _OrderEvent)
            if event.event in REJECTIONS:
                self.rejected += 1
                self.rejection = self._clean(f"{event.event} {event.reason}")
        elif record.kind == Kind.SAFE_MODE:
            safe = msgspec.convert(record.payload, _Safe)
            self.safe_mode = self._clean(safe.reason) if safe.engaged else None

    def _bar(self, bar: _Bar, ts_ms: int) -> None:
        if bar.date != self.date:
            self._day_start, self.date = self.equity, bar.date
            self.rejected, self.rejection = 0, ""
        self.bar, self.bar_ms, self.equity, self.peak, self.posture = bar.bar, ts_ms, bar.equity, bar.peak, self._clean(bar.posture)
        self.blocks = [self._clean(word) for word in bar.told.blocks]
        self.refusals = [self._clean(word) for word in bar.refusals]
        if bar.entry is not None:
            self._open, self._age = bar.entry, 0
        elif self._age is not None:
            self._age += 1
        self._points.append((ts_ms, bar.equity))
        self._curve = None
        self._refused.take(ts_ms, bar.refusals, bar.told.blocks)

    def _trade(self, trade: _Trade) -> None:
        before = trade.honest_capital_after / (1.0 + trade.honest_ret * trade.fraction * trade.leverage)
        self._capital, self._honest = trade.capital_after, trade.honest_capital_after
        self._open, self._age = None, None
        self._trades.append((trade.date, self._shown(trade, trade.honest_capital_after - before)))

    def _shown(self, trade: _Trade, honest_pnl: float) -> TradeView:
        return TradeView(
            asset=self._clean(trade.asset),
            direction=trade.direction,
            entry_market_ms=trade.entry_ts,
            exit_market_ms=trade.exit_ts,
            entry_price=trade.entry_price,
            exit_price=trade.exit_price,
            notional=trade.notional,
            bars=trade.bars_held,
            reason=self._clean(trade.reason),
            means=EXITS.get(trade.reason, ""),
            net_pnl=trade.net_pnl,
            honest_pnl=honest_pnl,
            honest_ret=trade.honest_ret,
        )

    def _inherit(self, found: Any) -> None:
        """A position that was entered before the records that were read: the day's result still names it."""
        if found is not None and self._open is None:
            self._open, self._age = msgspec.convert(found, _Entry), None
