"""A lane's day in a Nautilus backtest: the same actor over the recorded bars, told on each what the lane was told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from dolphin.engine.nd import NDAlphaEngine
from dolphin.grid.port import pnl_map
from dolphin.lane.inputs import Inputs, ToldBook, ToldBreaker, ToldForewarner
from flows.lane_check import Check, Difference, differences, plain
from flows.lane_day import LaneDay, LanePast, Told, rows_of
from flows.lane_fills import fills_check, venue_state
from flows.parity import venue_over

__all__ = ["Retelling", "venue_checks"]

DECISION = ("price", "symbol", "direction", "notional", "leverage", "fraction", "vel_div", "reason")
NOT_OF_THE_ENGINE = ("schema", "ts_ms")


class Retelling:
    """Posture source of an actor: before each bar its engine's layers hear what the lane's journal says that it had."""

    def __init__(self, past: LanePast, day: LaneDay) -> None:
        config = past.settings.engine
        self._breaker, self._forewarner, self._book = ToldBreaker(), ToldForewarner(), ToldBook() if past.with_book else None
        self.engine = NDAlphaEngine.restore(config, day.start)
        self.engine.set_acb(self._breaker)
        self.engine.set_mc_forewarner(self._forewarner, {name: getattr(config, name) for name in config.__struct_fields__})
        self.engine.set_ob_engine(self._book)
        self._told = {told.bar.ts_ms: (told.bar.date, told.inputs) for told in day.since}
        self._date, self._boost = "", (1.0, 0.0)

    def __call__(self, ts_ms: int) -> str:
        """The posture of the bar that closes at ``ts_ms``."""
        date, inputs = self._told[ts_ms]
        if self._book is not None:
            self._book.tell(inputs.book)
        known = _boost_of(inputs)
        if date != self._date:
            self._date, self._boost = date, known or (1.0, 0.0)
            self._breaker.boost, self._breaker.beta = self._boost
            self._forewarner.tell(inputs)
        elif known is not None and known != self._boost:
            self._boost = known
            self.engine.update_acb_boost(*known)
        return inputs.posture


def venue_checks(past: LanePast, day: LaneDay) -> tuple[Check, Check]:
    """A backtest with orders against the journal: entries, exits, trades and the day's result; and its fills."""
    telling = Retelling(past, day)
    rows = [rows_of(list(bars)) for _, bars in groupby(day.since, key=lambda told: (told.bar.date, told.assets))]
    state = venue_state(past, day)
    venue = venue_over(rows, day.bar_seconds, past.settings, past.direction, engine=telling.engine, postures=telling, state=state)
    try:
        decided = Check.of("nautilus", "bars", len(day.bars), _found(past, day, venue.actor))
        return decided, fills_check(past, day, venue.engine.cache.orders())
    finally:
        venue.close()


def _found(past: LanePast, day: LaneDay, actor: Any) -> Iterator[Difference]:
    made = {(signal.ts_event // 1_000_000, signal.action): plain({n: getattr(signal, n) for n in DECISION}) for signal in actor.signals}
    told = {(told.bar.ts_ms, action): record for told in day.bars for action, record in _decisions(told)}
    first, last = day.bars[0].bar.ts_ms, day.bars[-1].bar.ts_ms
    for ts_ms, action in sorted({*told, *(key for key in made if first <= key[0] <= last)}):
        yield from differences(action.lower(), "", ts_ms, told.get((ts_ms, action)), made.get((ts_ms, action)))
    again = {str(trade["trade_id"]): plain(trade) for trade in actor.engine.trades if trade["date"] == day.date}
    known = {str(trade["trade_id"]): trade for trade in day.trades}
    for key in dict.fromkeys([*known, *again]):
        yield from differences("trade", key, (known.get(key) or again[key])["exit_ts"], known.get(key), again.get(key))
    result = actor.grid.get(pnl_map(past.direction), day.date)
    if day.result is not None:
        made_day = {name: value for name, value in (result or {}).items() if name not in NOT_OF_THE_ENGINE}
        yield from differences("day", day.date, 0, day.result, made_day or None)


def _decisions(told: Told) -> Iterator[tuple[str, dict[str, Any]]]:
    """Entry and exit of a bar's record, as the actor signals them: an exit's bar enters nothing."""
    for action, price in (("EXIT", "exit_price"), ("ENTRY", "entry_price")):
        record = told.record.payload[action.lower()]
        if record is not None:
            values = {name: record.get(name, "") for name in DECISION if name not in ("price", "symbol")}
            yield action, {"price": record[price], "symbol": record["asset"], **values}


def _boost_of(inputs: Inputs) -> tuple[float, float] | None:
    return None if inputs.boost is None or inputs.beta is None else (inputs.boost, inputs.beta)
