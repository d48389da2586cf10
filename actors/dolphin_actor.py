"""``DolphinActor``: a thin wire between Nautilus and the ND engine. It holds no alpha: what it hands over it does not look into."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from nautilus_trader.core.data import Data
from nautilus_trader.model.data import Bar, BarType, DataType, InstrumentStatus, QuoteTick
from nautilus_trader.model.enums import MarketStatusAction
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.trading.strategy import Strategy

from actors.bars import BarAssembler
from actors.config import LANES, DolphinActorConfig
from actors.data_types import DolphinSignal, Snapshot
from actors.delivery import CLIENT
from actors.orders import OrderDesk
from actors.trip import Trip, settle
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import table_rows
from dolphin.errors import ConfigError
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.port import GridPort, pnl_map
from dolphin.report.venue import VenueTrade
from dolphin.storage.day_table import read_day
from dolphin.storage.schema import date_of
from dolphin.types import Posture

__all__ = ["DolphinActor"]

MS = 1_000_000
LONGEST_GAP = 3
"""Bars that may be missing between two ticks without a mark."""


class DolphinActor(Strategy):
    """One lane. Stream mode: a snapshot is one bar of the engine, its entries and exits become orders. Day mode: a table a date."""

    def __init__(self, config: DolphinActorConfig, engine: NDAlphaEngine | None = None, grid: GridPort | None = None) -> None:
        """``engine`` with layers attached already (default: a bare one from the configuration); ``grid``: where results go."""
        super().__init__(config)
        self.direction = LANES[config.lane]
        self.engine = engine if engine is not None else NDAlphaEngine(config.engine)
        self.grid = grid if grid is not None else EmbeddedGrid()
        self.desk = OrderDesk(self, config.orders, self._settled)
        self.trades: list[VenueTrade] = []
        """Both ledgers of every trade that the engine has closed."""
        self.signals: list[DolphinSignal] = []
        self.late = 0
        """Ticks that came twice or out of order, and were dropped."""
        self.gaps: list[tuple[int, int]] = []
        """(ns before, ns after) of every hole of more than 3 bars."""
        self.posture: str = config.posture
        self._assembler = BarAssembler(config.universe, config.bar_seconds) if config.source == "bars" and config.universe else None
        self._pending_acb: tuple[float, float] | None = None
        self._pending_posture: str | None = None
        self._processed_dates: set[str] = set()
        self._assets: tuple[str, ...] = ()
        self._day = -1
        self._last_ts = 0

    def on_start(self) -> None:
        """Listen, and look at what the venue already holds: a position that nobody here opened is safe mode at once."""
        if self.config.source == "bars":
            for symbol in self.config.universe:
                self.subscribe_bars(BarType.from_str(f"{symbol}-PERP.{self.config.orders.name}-{self.config.bar_spec}"))
        else:
            self.subscribe_data(DataType(Snapshot), client_id=CLIENT)
        if self.config.orders.order_style == "maker":
            self.msgbus.subscribe(f"data.quotes.{self.config.orders.name}.*", self.on_quote_tick)
        self.desk.compare()

    def on_stop(self) -> None:
        """Flatten if configured, and close the engine's day."""
        if self.config.orders.flatten_on_stop:
            self.desk.flatten()
        self._end_day()

    def on_save(self) -> dict[str, bytes]:
        """The engine, the order desk's trip and the dates that are done: everything that a restart must not repeat or forget."""
        state = {"day": self._day, "last_ts": self._last_ts, "dates": sorted(self._processed_dates), "safe": self.desk.safe_reason}
        trips = [self.desk.trip, self.desk.refused]
        return {"engine": self.engine.snapshot(), "state": json.dumps(state).encode(), "trips": msgspec.json.encode(trips)}

    def on_load(self, state: dict[str, bytes]) -> None:
        """Go on from ``on_save``."""
        self.engine = NDAlphaEngine.restore(self.config.engine, state["engine"])
        values = json.loads(state["state"])
        self._day, self._last_ts = values["day"], values["last_ts"]
        self._processed_dates = set(values["dates"])
        self.desk.safe_reason = values["safe"]
        self.desk.trip, self.desk.refused = msgspec.json.decode(state["trips"], type=list[Trip | None])
        if self.desk.trip is not None:
            self.desk.active.add(self.desk.trip.symbol)

    def on_data(self, data: Data) -> None:
        if type(data) is Snapshot:
            self._on_snapshot(data)

    def on_bar(self, bar: Bar) -> None:
        if self.config.mode == "day":
            self._on_date(date_of((bar.ts_event // MS) - 1))
        elif self._assembler is not None:
            for snapshot in self._assembler.add(bar):
                self._on_snapshot(snapshot)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.desk.on_quote(tick.instrument_id.symbol.value.removesuffix("-PERP"))

    def on_instrument_status(self, data: InstrumentStatus) -> None:
        symbol = data.instrument_id.symbol.value.removesuffix("-PERP")
        halted = data.action in (MarketStatusAction.HALT, MarketStatusAction.PAUSE, MarketStatusAction.SUSPEND)
        (self.desk.halted.add if halted else self.desk.halted.discard)(symbol)

    def on_order_filled(self, event: OrderFilled) -> None:
        self.desk.on_filled(event)

    def on_order_rejected(self, event: Any) -> None:
        self.desk.on_ended(event.client_order_id, rejected=True, post_only=event.due_post_only)

    def on_order_denied(self, event: Any) -> None:
        self.desk.on_ended(event.client_order_id, rejected=True)

    def on_order_canceled(self, event: Any) -> None:
        self.desk.on_ended(event.client_order_id, rejected=False)

    def on_order_expired(self, event: Any) -> None:
        self.desk.on_ended(event.client_order_id, rejected=False)

    def _on_acb_event(self, payload: str | bytes | Mapping[str, Any]) -> None:
        """From any thread: parse, check, keep the newest pair. The engine is told at the next bar."""
        boost, beta = parse_acb(payload)
        self._pending_acb = (boost, beta)

    def _on_posture_event(self, posture: str) -> None:
        """From any thread: keep the newest posture for the next bar. Raises ``ConfigError`` for an unknown one."""
        if posture not in Posture.__members__:
            raise ConfigError(f"posture = {posture!r}: no such posture; known: {', '.join(Posture)}")
        self._pending_posture = posture

    def _take_pending(self) -> None:
        acb, self._pending_acb = self._pending_acb, None
        if acb is not None:
            self.engine.update_acb_boost(*acb)
        posture, self._pending_posture = self._pending_posture, None
        if posture is not None and posture != self.posture:
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
        day = (ts - 1) // 86_400_000_000_000
        if day != self._day:
            self._begin_day(day)
        self._take_pending()
        if tick.assets is not self._assets:
            self._assets = tick.assets
            self.engine.set_universe(tick.assets)
        desk = self.desk
        if desk.trip is not None or desk.refused is not None:
            desk.on_bar(self._held_closes(tick))
        result = self.engine.process_row(tick.closes, tick.vel_div, tick.v50, tick.v750, ts // MS)
        if result.exit is not None:
            self._signal("EXIT", result.exit, ts)
            desk.leave(result.exit)
        elif result.entry is not None:
            self._signal("ENTRY", result.entry, ts)
            desk.enter(result.entry)

    def _held_closes(self, tick: Snapshot) -> dict[str, float]:
        names = {trip.symbol for trip in (self.desk.trip, self.desk.refused) if trip is not None}
        return {name: float(tick.closes[tick.assets.index(name)]) if name in tick.assets else math.nan for name in names}

    def _begin_day(self, day: int) -> None:
        self._end_day()
        self._take_pending()
        self._day = day
        self.engine.begin_day(date_of(day * 86_400_000), self.direction, self.posture)

    def _end_day(self) -> None:
        if self._day < 0:
            return
        before = len(self.engine.trades)
        result = self.engine.end_day()
        self._day = -1
        self._publish(result)
        for trade in self.engine.trades[before:]:
            self.desk.leave(trade)

    def _on_date(self, date: str) -> None:
        """Day mode: the first bar of a date runs its table, once; in HIBERNATE an empty frame closes what is open."""
        if date in self._processed_dates:
            return
        self._processed_dates.add(date)
        self._take_pending()
        rows = table_rows(read_day(Path(self.config.data_dir) / f"{date}.parquet"))
        if self.posture == Posture.HIBERNATE:
            rows = rows.head(0)
        self._publish(self.engine.process_rows(date, rows, direction=self.direction, posture=self.posture))

    def _publish(self, result: Mapping[str, Any]) -> None:
        record = {"schema": "dolphin.day/1", "ts_ms": self.clock.timestamp_ms(), **result}
        self.grid.put(pnl_map(self.direction), str(result["date"]), record)

    def _signal(self, action: str, record: Mapping[str, Any], ts: int) -> None:
        names = ("notional", "leverage", "fraction", "vel_div")
        values: dict[str, Any] = {name: float(record[name]) for name in names}
        values["price"] = float(record["exit_price"] if action == "EXIT" else record["entry_price"])
        values |= {"symbol": record["asset"], "direction": int(record["direction"]), "reason": str(record.get("reason", ""))}
        signal = DolphinSignal(ts, ts, lane=self.config.lane, action=action, **values)
        self.signals.append(signal)
        self.publish_data(DataType(DolphinSignal), signal)

    def _settled(self, trip: Trip) -> None:
        if trip.model_trade is not None:
            self.trades.append(settle(trip))


def parse_acb(payload: str | bytes | Mapping[str, Any]) -> tuple[float, float]:
    """``(boost, beta)`` of a circuit-breaker record. Raises ``ConfigError`` unless both are finite, 1 <= boost <= 3, 0 <= beta <= 1."""
    try:
        record = payload if isinstance(payload, Mapping) else json.loads(payload)
        boost, beta = float(record["boost"]), float(record["beta"])
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"circuit breaker record {payload!r} cannot be read: {error!r}") from error
    if not (1.0 <= boost <= 3.0 and 0.0 <= beta <= 1.0):
        raise ConfigError(f"circuit breaker record has boost {boost!r}, beta {beta!r}; expected 1 <= boost <= 3 and 0 <= beta <= 1")
    return boost, beta
