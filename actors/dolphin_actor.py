"""``DolphinActor``: a thin wire between Nautilus and the ND engine. It holds no alpha: what it hands over it does not look into."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from nautilus_trader.core.data import Data
from nautilus_trader.model.data import Bar, BarType, DataType, InstrumentStatus, QuoteTick
from nautilus_trader.model.enums import MarketStatusAction
from nautilus_trader.model.events import OrderEvent, OrderFilled
from nautilus_trader.trading.strategy import Strategy

from actors.bars import BarAssembler
from actors.config import DolphinActorConfig
from actors.data_types import DolphinSignal, Snapshot
from actors.delivery import CLIENT
from actors.desk_log import DeskLog
from actors.orders import OrderDesk
from actors.trip import Intent, Trip, settle
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import DayRows, table_rows
from dolphin.errors import ConfigError, DolphinError
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.port import GridPort, pnl_map
from dolphin.report.venue import VenueTrade
from dolphin.storage.day_table import read_day
from dolphin.storage.schema import date_of
from dolphin.types import LANES, BarResult, Posture

__all__ = ["Decider", "DolphinActor", "PostureSource"]

MS = 1_000_000
LONGEST_GAP = 3
"""Bars that may be missing between two ticks without a mark."""
HALTED = (
    MarketStatusAction.HALT,
    MarketStatusAction.PAUSE,
    MarketStatusAction.SUSPEND,
    MarketStatusAction.CLOSE,
    MarketStatusAction.NOT_AVAILABLE_FOR_TRADING,
)
NO_ROWS = DayRows((), np.empty((0, 0)), np.empty(0), np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))


type Decider = Callable[[Snapshot], BarResult]
"""A lane outside: takes a bar in, keeps its own day, posture and engine."""

type PostureSource = Callable[[int], str | None]
"""Posture of the bar that closes at these ms; None = cannot be said."""


class DolphinActor(Strategy):
    """One lane. Stream mode: a snapshot is one bar of the engine, its entries and exits become orders. Day mode: a table a date."""

    def __init__(
        self,
        config: DolphinActorConfig,
        engine: NDAlphaEngine | None = None,
        grid: GridPort | None = None,
        postures: PostureSource | None = None,
        decide: Decider | None = None,
        log: DeskLog | None = None,
    ) -> None:
        """``engine`` with layers attached already (default: a bare one); ``grid``: where results go; ``postures``: asked before every bar
        of a stream (default: told by ``_on_posture_event``); ``decide`` in the stead of ``engine``; ``log`` hears of every order.
        """
        super().__init__(config)
        _check(config)
        self.direction = LANES[config.lane]
        self.engine = engine if engine is not None else NDAlphaEngine(config.engine)
        self.grid = grid if grid is not None else EmbeddedGrid()
        self.log_of_orders = log if log is not None else DeskLog()
        self.desk = OrderDesk(self, config.orders, self._settled, self.log_of_orders)
        self.trades: list[VenueTrade] = []
        """Both ledgers of every trade that the engine has closed."""
        self.signals: list[DolphinSignal] = []
        self.late = 0
        """Ticks that came twice or out of order, and were dropped."""
        self.gaps: list[tuple[int, int]] = []
        """(ns before, ns after) of every hole of more than 3 bars."""
        self.posture: str = config.posture
        self._assembler = BarAssembler(config.universe, config.bar_seconds) if config.source == "bars" else None
        self._pending_acb: tuple[float, float] | None = None
        self._pending_posture: str | None = None
        self._postures, self._outside = postures, decide
        self._processed_dates: set[str] = set()
        self._unpublished: dict[str, dict[str, Any]] = {}
        self._stopped: tuple[bytes, int] | None = None
        self._assets: tuple[str, ...] = ()
        self._day = -1
        self._last_ts = 0

    def on_start(self) -> None:
        """Listen, and look at what the venue already holds: a position that nobody here opened is safe mode at once."""
        if self.config.source == "bars" or self.config.mode == "day":
            for symbol in self.config.universe:
                self.subscribe_bars(_bar_type(self.config, symbol))
        if self.config.source == "snapshots":
            self.subscribe_data(DataType(Snapshot), client_id=CLIENT)
        for topic, handler in self._topics():
            self.msgbus.subscribe(topic, handler)
        self.desk.compare()

    def on_resume(self) -> None:
        """Go on in the day in which ``on_stop`` came."""
        if self._stopped is not None:
            data, self._day = self._stopped
            self.engine, self._stopped = self.engine.restored(data), None
        for topic, handler in self._topics():
            self.msgbus.subscribe(topic, handler)
        self.desk.compare()

    def on_stop(self) -> None:
        """Publish the day so far. What is saved afterwards still has the day open: a restart goes on in it.

        A position stays, unless Nautilus' own ``manage_stop`` of the configuration closed it before.
        """
        for topic, handler in self._topics():
            self.msgbus.unsubscribe(topic, handler)
        if self._outside is None:
            self._stopped = self.engine.snapshot(), self._day
            self._end_day()

    def on_save(self) -> dict[str, bytes]:
        """The engine, the order desk's trips, what other threads have said and the dates that are done."""
        engine, day = self._stopped or (self.engine.snapshot(), self._day)
        state = {
            "lane": self.config.lane,
            "day": day,
            "last_ts": self._last_ts,
            "dates": sorted(self._processed_dates),
            "safe": self.desk.safe_reason,
            "queued": self.desk.queued,
            "acb": self._pending_acb,
            "posture": self._pending_posture or self.posture,
        }
        trips, intents = [self.desk.trip, self.desk.refused, *self.desk.strays], list(self.desk.intents.values())
        saved = {"trips": msgspec.json.encode(trips), "intents": msgspec.json.encode(intents)}
        return {"engine": engine, "state": json.dumps(state).encode(), **saved}

    def on_load(self, state: dict[str, bytes]) -> None:
        """Go on from ``on_save``, in the stricter of the saved posture and the configured one; the rest of an entry is not sent again.

        Raises ``ConfigError`` for the state of another lane or of other engine settings; nothing is changed then.
        """
        values = json.loads(state["state"])
        if values["lane"] != self.config.lane:
            raise ConfigError(f"lane = {self.config.lane!r}: the saved state is of lane {values['lane']!r}")
        trips = msgspec.json.decode(state["trips"], type=list[Trip | None])
        self.engine = self.engine.restored(state["engine"])
        self._day, self._last_ts = values["day"], values["last_ts"]
        self._processed_dates = set(values["dates"])
        self._pending_acb = tuple(values["acb"]) if values["acb"] else None
        self.posture = max(self.posture, values["posture"], key=list(Posture).index)
        self._pending_posture = self.posture
        desk = self.desk
        desk.safe_reason, desk.queued = values["safe"], values["queued"]
        desk.trip, desk.refused = trips[:2]
        desk.strays = [trip for trip in trips[2:] if trip is not None]
        desk.remembered(msgspec.json.decode(state["intents"], type=list[Intent]))

    def on_data(self, data: Data) -> None:
        if type(data) is not Snapshot:
            return
        if self.config.mode == "day":
            self._on_date(date_of(data.ts_event // MS - 1))
            return
        self._on_snapshot(data)

    def on_bar(self, bar: Bar) -> None:
        if self.config.mode == "day":
            self._on_date(date_of(bar.ts_event // MS - 1))
        elif self._assembler is not None:
            for snapshot in self._assembler.add(bar):
                self._on_snapshot(snapshot)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.desk.on_quote(tick.instrument_id.symbol.value.removesuffix("-PERP"))

    def on_instrument_status(self, data: InstrumentStatus) -> None:
        symbol = data.instrument_id.symbol.value.removesuffix("-PERP")
        (self.desk.halted.add if data.action in HALTED else self.desk.halted.discard)(symbol)

    def on_order_accepted(self, event: OrderEvent) -> None:
        self.log_of_orders.heard(event)

    def on_order_filled(self, event: OrderFilled) -> None:
        self.log_of_orders.heard(event)
        self.desk.on_filled(event)

    def on_order_rejected(self, event: Any) -> None:
        self._on_ended(event, rejected=True, post_only=event.due_post_only)

    def on_order_denied(self, event: Any) -> None:
        self._on_ended(event, rejected=True)

    def on_order_canceled(self, event: Any) -> None:
        self._on_ended(event, rejected=False)

    def on_order_expired(self, event: Any) -> None:
        self._on_ended(event, rejected=False)

    def _on_ended(self, event: Any, *, rejected: bool, post_only: bool = False) -> None:
        self.log_of_orders.heard(event)
        self.desk.on_ended(event.client_order_id, rejected=rejected, post_only=post_only)

    def _on_acb_event(self, payload: str | bytes | Mapping[str, Any]) -> None:
        """From any thread: parse, check, keep the newest pair. The engine is told at the next bar."""
        boost, beta = parse_acb(payload)
        self._pending_acb = (boost, beta)

    def _on_posture_event(self, posture: str) -> None:
        """From any thread: keep the newest posture for the next bar. Raises ``ConfigError`` for an unknown one."""
        if not isinstance(posture, str) or posture not in Posture.__members__:
            raise ConfigError(f"posture = {posture!r}: no such posture; known: {', '.join(Posture)}")
        self._pending_posture = posture

    def _ask_posture(self, ts_ms: int) -> None:
        """What cannot be said, or is no posture, counts as TURTLE: the trader never assumes health."""
        if self._postures is None:
            return
        told = self._postures(ts_ms)
        posture = told if isinstance(told, str) and told in Posture.__members__ else Posture.TURTLE
        if posture != self.posture:
            self._pending_posture = posture
            if posture != told:
                self.log.error(f"posture {told!r} at {ts_ms}: taken as {posture}")

    def _take_acb(self) -> None:
        # one load and one store with no call between them: the interpreter changes threads at calls, so nothing is lost in the middle
        acb, self._pending_acb = self._pending_acb, None
        if acb is not None:
            self.engine.update_acb_boost(*acb)

    def _take_posture(self) -> None:
        posture, self._pending_posture = self._pending_posture, None
        if posture is not None:
            self.posture = posture
            if self._day >= 0:
                self.engine.update_posture(posture)

    def _on_snapshot(self, tick: Snapshot) -> None:
        ts = tick.ts_event
        if ts <= self._last_ts:
            self.late += 1
            return
        if self._last_ts and ts - self._last_ts > (LONGEST_GAP + 1) * self.config.bar_seconds * 1_000_000_000:
            self.gaps.append((self._last_ts, ts))
            self.log.warning(f"no bar for {(ts - self._last_ts) / 1e9:g} s before {ts}")
        self._last_ts = ts
        result = self._outside(tick) if self._outside is not None else self._decide(tick)
        desk = self.desk
        if not desk.idle:
            desk.on_bar(self._held_closes(tick))
        if result.exit is not None:
            self._signal("EXIT", result.exit, ts)
            desk.leave(result.exit)
        elif result.entry is not None:
            self._signal("ENTRY", result.entry, ts)
            desk.enter(result.entry)

    def _decide(self, tick: Snapshot) -> BarResult:
        """The engine's own day: posture, boost and universe reach it before the bar does."""
        ts = tick.ts_event
        self._ask_posture(ts // MS)
        day = (ts - 1) // 86_400_000_000_000
        if day != self._day:
            self._begin_day(day)
        self._take_posture()
        self._take_acb()
        if tick.assets is not self._assets:
            self._assets = tick.assets
            self.engine.set_universe(tick.assets)
        return self.engine.process_row(tick.closes, tick.vel_div, tick.v50, tick.v750, ts // MS)

    def _held_closes(self, tick: Snapshot) -> dict[str, float]:
        names = {trip.symbol for trip in (self.desk.trip, self.desk.refused, *self.desk.strays) if trip is not None}
        return {name: tick.close(name) for name in names}

    def _begin_day(self, day: int) -> None:
        self._end_day()
        self._take_posture()
        self.engine.begin_day(date_of(day * 86_400_000), self.direction, self.posture)
        self._day = day

    def _end_day(self) -> None:
        if self._day < 0:
            return
        before = len(self.engine.trades)
        result = self.engine.end_day()
        self._day = -1
        for trade in self.engine.trades[before:]:
            self.desk.leave(trade)
        self._publish(result)

    def _on_date(self, date: str) -> None:
        """Day mode: the first bar of a date runs its table, once in all lives of the lane; in HIBERNATE nothing is read, an empty frame
        closes what is open. A boost told from outside counts until the day begins: then the attached breaker is asked.
        """
        if date in self._processed_dates or self._known_to_grid(date):
            return
        self._take_posture()
        halted = self.posture == Posture.HIBERNATE
        rows = NO_ROWS if halted else table_rows(read_day(Path(self.config.data_dir) / f"{date}.parquet"))
        self._processed_dates.add(date)
        self._take_acb()
        self._publish(self.engine.process_rows(date, rows, direction=self.direction, posture=self.posture))

    def _known_to_grid(self, date: str) -> bool:
        """Whether an earlier life has published ``date``. As long as the grid does not say, the answer is yes: better late than twice."""
        try:
            known = self.grid.get(pnl_map(self.direction), date) is not None
        except DolphinError as error:
            self.log.error(f"{date} waits for the grid: {error}")
            return True
        if known:
            self._processed_dates.add(date)
            self.log.warning(f"{date} has a result in the grid: not run again")
        return known

    def _publish(self, result: Mapping[str, Any]) -> None:
        """Put the day's record into the grid; a grid that refuses gets it again with the next one. JSON knows no NaN: it becomes null."""
        record = {"schema": "dolphin.day/1", "ts_ms": self.clock.timestamp_ms(), **result}
        self._unpublished[str(result["date"])] = msgspec.json.decode(msgspec.json.encode(record))
        for date, waiting in list(self._unpublished.items()):
            try:
                self.grid.put(pnl_map(self.direction), date, waiting)
            except DolphinError as error:
                self.log.error(f"the result of {date} is not in the grid: {error}")
            else:
                del self._unpublished[date]

    def _topics(self) -> list[tuple[str, Callable[[Any], None]]]:
        venue = self.config.orders.name
        quotes = [(f"data.quotes.{venue}.*", self.on_quote_tick)] if self.config.orders.order_style == "maker" else []
        return [*quotes, (f"data.status.{venue}.*", self.on_instrument_status)]

    def _signal(self, action: str, record: Mapping[str, Any], ts: int) -> None:
        names = ("notional", "leverage", "fraction", "vel_div")
        values: dict[str, Any] = {name: float(record[name]) for name in names}
        values["price"] = float(record["exit_price"] if action == "EXIT" else record["entry_price"])
        values |= {"symbol": record["asset"], "direction": int(record["direction"]), "reason": str(record.get("reason", ""))}
        signal = DolphinSignal(ts, ts, lane=self.config.lane, action=action, **values)
        self.signals += [signal] if self._outside is None else []
        self.publish_data(DataType(DolphinSignal), signal)

    def _settled(self, trip: Trip) -> None:
        if trip.model_trade is None:
            return
        trade = settle(trip)
        self.log_of_orders.settled(trade)
        if self._outside is None:
            self.trades.append(trade)


def parse_acb(payload: str | bytes | Mapping[str, Any]) -> tuple[float, float]:
    """``(boost, beta)`` of a circuit-breaker record. Raises ``ConfigError`` unless both are finite, 1 <= boost <= 3, 0 <= beta <= 1."""
    try:
        record = payload if isinstance(payload, Mapping) else json.loads(payload)
        values = record["boost"], record["beta"]
        boost, beta = map(float, values)
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise ConfigError(f"circuit breaker record {str(payload)[:200]!r} cannot be read: {error!r}") from error
    if any(isinstance(value, bool | str | bytes) for value in values):
        raise ConfigError(f"circuit breaker record has boost {values[0]!r}, beta {values[1]!r}; expected two numbers")
    if not (1.0 <= boost <= 3.0 and 0.0 <= beta <= 1.0):
        raise ConfigError(f"circuit breaker record has boost {boost!r}, beta {beta!r}; expected 1 <= boost <= 3 and 0 <= beta <= 1")
    return boost, beta


def _bar_type(config: DolphinActorConfig, symbol: str) -> BarType:
    return BarType.from_str(f"{symbol}-PERP.{config.orders.name}-{config.bar_spec}")


def _check(config: DolphinActorConfig) -> None:
    """Raise ``ConfigError`` for settings that would make the lane listen to nothing, or count its bars wrongly."""
    seconds = config.bar_seconds
    if seconds < 1 or 86_400 % seconds:
        raise ConfigError(f"bar_seconds = {seconds!r}: expected a divisor of 86400")
    if config.source == "bars":
        if not config.universe:
            raise ConfigError("universe = (): source bars needs the names whose bars it listens to")
        spec = _bar_type(config, config.universe[0]).spec.timedelta.total_seconds()
        if spec != seconds:
            raise ConfigError(f"bar_spec = {config.bar_spec!r} is {spec:g} s, bar_seconds = {seconds}")
