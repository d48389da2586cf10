"""ND engine ("N-dimensional": it watches the whole correlation matrix): one bar in, at most one decision out. THE ONE LOOP.

``process_bar`` manages the open position or tries to enter one; ``process_day`` runs the same compiled step
(``dolphin.kernels.loop.advance_nb``) over the rows of a day. Source: specification of the engine.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from dolphin.config import EngineConfig, config_hash
from dolphin.engine import snapshot as codec
from dolphin.engine.breaker import checked_boost
from dolphin.engine.costs import NO_FUNDING, FundingSeries, UniformDraws
from dolphin.engine.forewarner import DayVerdict, judge_day
from dolphin.engine.history import LiveRows, PriceHistory, read_only_frame
from dolphin.engine.order_book import OrderBookProvider, book_rows, fill_book_row
from dolphin.engine.records import MC_STATUS, POSTURE_NAMES, POSTURES, DayRows, NDPosition, day_rows, params_record, trade_records
from dolphin.errors import ConfigError, DolphinError, QualityError, SchemaError
from dolphin.kernels.loop import Frame, Output, Work, advance_nb, close_position_nb
from dolphin.kernels.order_book import Book
from dolphin.kernels.selection import BANNED, NOTES
from dolphin.types import IRP_WINDOW, STATE, TRADE, Array, BarResult, ExitReason, McStatus, Posture, Refusal

__all__ = ["NDAlphaEngine"]

TRADES_AT_ONCE = 64
_HALTS_FROM, _RED = POSTURES.index(Posture.TURTLE), MC_STATUS.index(McStatus.RED)
BTC = "BTCUSDT"
_REFUSED = tuple(BarResult(refusals=(code.name,) if code else ()) for code in Refusal)
_NO_DAY = "a bar outside a day: call begin_day first"


class NDAlphaEngine:
    """The engine of one lane. Give it days (``process_day``) or bars (``begin_day``, ``process_bar``, ``end_day``); both decide alike.

    It reads no clock, no file and no environment. Times are int64 ms UTC, prices and capital USDT.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.trades: list[dict[str, Any]] = []
        """Every closed trade so far (``TRADE_FIELDS``)."""
        self.funding_missing = False
        """True when a closed trade met no funding series."""
        self._params = params_record(config)
        self._state = np.zeros(1, dtype=STATE)
        self._state["capital"] = self._state["honest_capital"] = config.start_capital
        self._state["last_exit_bar"] = -1
        self._state["boost"] = self._state["mc_scale"] = 1.0
        self._draws = UniformDraws(config.seed)
        self._history = PriceHistory()
        self._held, self._date = "", ""
        self._banned: set[str] = set()
        self._day_trades: list[dict[str, Any]] = []
        self._refusals = np.zeros(len(Refusal), dtype=np.int64)
        self._ob: OrderBookProvider | None = None
        self._acb: Any = None
        self._forewarner: Any = None
        self._base_cfg: dict[str, Any] = {}
        self._funding: FundingSeries | None = None
        self._out_trades = np.zeros(TRADES_AT_ONCE, dtype=TRADE)
        self._live: LiveRows | None = None
        self._work: Work
        self._lay_out()

    @property
    def capital(self) -> float:
        """Champion capital, USDT."""
        return float(self._state["capital"][0])

    @property
    def honest_capital(self) -> float:
        """Capital of the honest ledger (real costs, no credits), USDT."""
        return float(self._state["honest_capital"][0])

    @property
    def bar_count(self) -> int:
        """Bars processed since the start."""
        return int(self._state["bar_count"][0])

    @property
    def position(self) -> NDPosition | None:
        """The open position, or None."""
        return NDPosition.read(self._state[0], self._held)

    def set_ob_engine(self, ob: OrderBookProvider | None) -> None:
        """Attach an order-book provider (None detaches): selection, confidence, size, exits and costs read it."""
        self._ob = ob
        self._fold_live()

    def set_acb(self, acb: Any) -> None:
        """Attach the adaptive circuit breaker (ACB): asked once a day for ``{boost, beta}``; None detaches."""
        self._acb = acb

    def set_mc_forewarner(self, forewarner: Any, base_cfg: Mapping[str, Any]) -> None:
        """Attach the MC-forewarner: it judges ``base_cfg`` with ``max_leverage`` times the day's boost; None detaches."""
        self._forewarner, self._base_cfg = forewarner, dict(base_cfg)

    def set_funding(self, series: FundingSeries | None) -> None:
        """Give the honest ledger its funding series (None: funding counts as 0 and is flagged missing)."""
        self._funding = series
        self._funding_rows = series.columns(self._history.assets) if series else NO_FUNDING

    def update_acb_boost(self, boost: float, beta: float) -> None:
        """Set both at once in mid-day. A fall from >= 1.25 to < 1.10 closes an open position on the next bar.

        Raises ``QualityError`` for a value that is not finite, a boost outside (0, 10] or a negative beta.
        """
        boost, beta = checked_boost(boost, beta)
        state = self._state[0]
        if state["open"] and state["boost"] >= 1.25 and boost < 1.10:
            state["acb_exit_due"] = 1
        state["boost"], state["beta"] = boost, beta

    def update_posture(self, posture: str) -> None:
        """Change the survival posture in mid-day; it holds from the next bar on. Raises ``ConfigError`` for an unknown one."""
        if posture not in POSTURE_NAMES:
            raise ConfigError(f"posture = {posture!r}: no such posture; known: {', '.join(POSTURE_NAMES)}")
        state, rank = self._state[0], POSTURE_NAMES.index(posture)
        state["posture"] = rank
        state["halted"] = int(rank >= _HALTS_FROM or state["mc_status"] == _RED)

    def begin_day(self, date_str: str, direction: int = -1, posture: str = "APEX") -> None:
        """Open a UTC day: direction, circuit breaker, forewarner, posture. Histories, statistics and capital go on."""
        try:
            dt.date.fromisoformat(date_str)
        except (TypeError, ValueError) as error:
            raise QualityError(f"{date_str!r} is not a date", hint="YYYY-MM-DD") from error
        if direction not in (-1, 1):
            raise ConfigError(f"direction = {direction!r}: expected -1 (SHORT) or 1 (LONG)")
        state = self._state[0]
        boost, beta = 1.0, 0.0
        if self._acb is not None:
            day = self._acb.get_dynamic_boost_for_date(date_str, self._ob)
            boost, beta = checked_boost(day["boost"], day["beta"])
        verdict = DayVerdict(McStatus.OFF, 1.0)
        if self._forewarner is not None:
            verdict = judge_day(self._forewarner, self._base_cfg, date_str, self.config.max_leverage, boost)
        state["direction"], state["boost"], state["beta"] = direction, boost, beta
        state["mc_status"], state["mc_scale"] = MC_STATUS.index(verdict.status), verdict.scale
        self.update_posture(posture)
        state["row_in_day"] = 0
        state["day_start_capital"], state["day_start_honest"] = state["capital"], state["honest_capital"]
        self._date, self._day_trades, self._banned = date_str, [], set()
        self._refusals[:] = 0
        self._work.notes[BANNED] = 0.0

    def process_bar(
        self,
        vel_div: float,
        prices: Mapping[str, float],
        v50: float = math.nan,
        v750: float = math.nan,
        ts_ms: int | None = None,
        vol_ok: bool | None = None,
    ) -> BarResult:
        """One bar of the open day: manage the position, or try to enter.

        ``prices``: close by symbol; NaN, zero, negative, infinite or absent = no price. A NaN ``vel_div`` enters nothing.
        ``vol_ok`` None = by the bar's place in the day. Raises ``DolphinError`` when no day is open.
        """
        if not self._date:
            raise DolphinError(_NO_DAY)
        new = [name for name in prices if name not in self._columns]
        if new:
            self._align([*self._history.assets, *new])
        closes = np.full(len(self._columns), np.nan)
        for name, price in prices.items():
            closes[self._columns[name]] = price
        return self.process_row(closes, vel_div, v50, v750, ts_ms, vol_ok)

    def set_universe(self, assets: Sequence[str]) -> None:
        """Columns of the rows that follow (``process_row``). Assets that leave keep their prices for a return; a held one stays held."""
        self._align(assets)

    def process_row(
        self,
        closes: Array,
        vel_div: float,
        v50: float = math.nan,
        v750: float = math.nan,
        ts_ms: int | None = None,
        vol_ok: bool | None = None,
    ) -> BarResult:
        """``process_bar`` with closes float64[n_assets] in the order of ``set_universe``; its cost hardly depends on n_assets.

        Raises ``SchemaError`` for another number of closes.
        """
        if not self._date:
            raise DolphinError(_NO_DAY)
        if closes.shape != (len(self._columns),):
            raise SchemaError(f"closes have shape {closes.shape}, the universe has {len(self._columns)} assets", column="closes")
        if self._live is None:
            self._live = LiveRows(self._history.tail, self._ob is not None)
        live, ts = self._live, 0 if ts_ms is None else int(ts_ms)
        row = live.append(closes, (vel_div, v50, v750), ts, -1 if vol_ok is None else int(vol_ok))
        if self._ob is not None:
            fill_book_row(self._ob, self._history.assets, int(self._state["direction"][0]), ts, live.book, row)
        closed = self._advance(live.frame, live.book, live.codes, (row, row + 1))
        code = live.codes.item(row)
        self._refusals[code] += 1
        if live.full():
            self._fold_live()
        if code and not closed:
            return _REFUSED[code]
        entry = self.position.to_dict() if not code and self.position else None
        return BarResult(entry, closed[0] if closed else None, _REFUSED[code].refusals)

    def end_day(self) -> dict[str, Any]:
        """Close the UTC day (not the position) and return its result."""
        state = self._state[0]
        if state["open"] and state["row_in_day"] == 0 and POSTURES[int(state["posture"])] is Posture.HIBERNATE:
            self._close_between_bars(ExitReason.HIBERNATE_HALT)
        self._fold_live()
        position = self.position
        result = {
            "date": self._date,
            "pnl": self.capital - float(state["day_start_capital"]),
            "capital": self.capital,
            "honest_pnl": self.honest_capital - float(state["day_start_honest"]),
            "honest_capital": self.honest_capital,
            "boost": float(state["boost"]),
            "beta": float(state["beta"]),
            "mc_status": MC_STATUS[int(state["mc_status"])].value,
            "posture": POSTURES[int(state["posture"])].value,
            "bars": int(state["row_in_day"]),
            "trades": self._day_trades,
            "refusals": {code.name: int(self._refusals[code]) for code in Refusal if code and self._refusals[code]},
            "open_position": position.to_dict() if position else None,
        }
        self._date, self._day_trades = "", []
        return result

    def process_day(
        self,
        date_str: str,
        df: Any,
        asset_columns: Sequence[str],
        vol_regime_ok: Sequence[bool] | None = None,
        direction: int = -1,
        posture: str = "APEX",
    ) -> dict[str, Any]:
        """A whole day given as a DataFrame with vel_div, optional velocities and ``timestamp``, and close columns.

        An empty frame is legal: in posture HIBERNATE it closes the open position at its last known price. Returns the day's result.
        """
        return self.process_rows(date_str, day_rows(df, asset_columns), vol_regime_ok, direction, posture)

    def process_rows(
        self,
        date_str: str,
        rows: DayRows,
        vol_regime_ok: Sequence[bool] | None = None,
        direction: int = -1,
        posture: str = "APEX",
        changes: Sequence[tuple[int, str]] = (),
    ) -> dict[str, Any]:
        """``process_day`` on arrays, nothing is copied. ``changes``: (row, posture), ascending, each from that row on."""
        n = len(rows.vel_div)
        if vol_regime_ok is not None and len(vol_regime_ok) != n:
            raise QualityError(f"vol_regime_ok has {len(vol_regime_ok)} values for {n} rows", column="vol_regime_ok")
        self.begin_day(date_str, direction, posture)
        if n:
            self._align(rows.assets)
            vol_ok = np.full(n, -1, dtype=np.int8) if vol_regime_ok is None else np.asarray(vol_regime_ok, dtype=np.bool_).astype(np.int8)
            frame = read_only_frame(rows.closes, self._history.tail, rows.vel_div, rows.v50, rows.v750, vol_ok, rows.ts_ms)
            codes = np.empty(n, dtype=np.int8)
            book, first = book_rows(self._ob, rows.assets, direction, rows.ts_ms), 0
            for row, later in changes:
                self._advance(frame, book, codes, (first, row))
                self.update_posture(later)
                first = row
            self._advance(frame, book, codes, (first, n))
            self._refusals += np.bincount(codes, minlength=len(Refusal))
            self._history.fold(rows.closes, n)
        return self.end_day()

    def snapshot(self) -> bytes:
        """Everything the engine knows, random stream and open position included; attached layers are not part of it."""
        tail = self._history.folded(self._live.block, self._live.used) if self._live else self._history.tail
        return codec.encode(
            codec.Snapshot(
                config_hash=config_hash(self.config),
                state=self._state.tobytes(),
                assets=self._history.assets,
                tail=tail.tobytes(),
                away={name: prices.tobytes() for name, prices in self._history.away.items()},
                held=self._held,
                date=self._date,
                banned=sorted(self._banned_now()),
                refusals=self._refusals.tolist(),
                day_trades=len(self._day_trades),
                trades=self.trades,
                funding_missing=self.funding_missing,
            )
        )

    @classmethod
    def restore(cls, config: EngineConfig, data: bytes) -> NDAlphaEngine:
        """An engine that goes on from ``snapshot`` bit for bit. Attach the layers again.

        Raises ``MalformedFile`` for damaged bytes, ``ConfigError`` when the snapshot was taken under another configuration.
        """
        saved = codec.decode(data, config_hash(config))
        engine = cls(config)
        engine.trades, engine._date = list(saved.trades), saved.date
        engine.rewind(saved.checkpoint())
        engine._day_trades = engine.trades[len(engine.trades) - saved.day_trades :] if saved.day_trades else []
        return engine

    def restored(self, data: bytes) -> NDAlphaEngine:
        """``restore`` under this engine's configuration and with its layers: book, breaker, forewarner, funding."""
        engine = NDAlphaEngine.restore(self.config, data)
        engine._ob, engine._acb, engine._forewarner, engine._base_cfg = self._ob, self._acb, self._forewarner, self._base_cfg
        engine.set_funding(self._funding)
        return engine

    def checkpoint(self) -> codec.Checkpoint:
        """Where the engine stands between two days, for ``rewind``: in memory, and its cost does not grow with the trades."""
        if self._date:
            raise DolphinError(f"{self._date} is open: a checkpoint lies between days")
        counts = self._refusals.copy(), len(self.trades), self.funding_missing
        return codec.Checkpoint(self._state.copy(), copy(self._history), self._held, self._banned_now(), *counts)

    def rewind(self, to: codec.Checkpoint) -> None:
        """Stand at ``to`` again, as if the days since had not been: they can be run once more, and otherwise."""
        self._state, self._history, self._refusals = to.state.copy(), copy(to.history), to.refusals.copy()
        self._held, self._banned, self.funding_missing = to.held, set(to.banned), to.funding_missing
        del self.trades[to.trades :]
        self._draws = self._draws.at(int(self._state["draws_used"][0]))
        self._lay_out()

    def _advance(self, frame: Frame, book: Book, codes: Any, span: tuple[int, int]) -> list[dict[str, Any]]:
        row, end = span
        closed: list[dict[str, Any]] = []
        held, used, draws = self._held, self._state["draws_used"], self._draws
        while row < end:
            row, n = advance_nb(
                self._params, self._state, frame, book, self._funding_rows, self._work, Output(self._out_trades, codes), (row, end)
            )
            if n:
                closed += self._record(self._out_trades[:n], held)
            if draws.base + len(draws.values) - used[0] < 3:
                draws.refill(int(used[0]))
                self._work = self._work._replace(draws=draws.values, draws_base=draws.base)
        place = self._state["p_asset"][0] if self._state["open"][0] else -1
        self._held = self._history.assets[place] if place >= 0 else held if self._state["open"][0] else ""
        return closed

    def _record(self, trades: Any, held: str) -> list[dict[str, Any]]:
        records = trade_records(trades, self._history.assets, self._date, held)
        self.trades += records
        self._day_trades += records
        self.funding_missing = self.funding_missing or bool(trades["funding_missing"].any())
        return records

    def _close_between_bars(self, reason: ExitReason) -> None:
        draws = self._draws.values[int(self._state["draws_used"][0]) - self._draws.base :]
        trade = self._out_trades[:1]
        close_position_nb(self._params, self._state, int(reason), self._ob is not None, draws, self._funding_rows, trade)
        self._record(trade, self._held)

    def _banned_now(self) -> set[str]:
        return self._banned | {name for name, banned in zip(self._history.assets, self._work.notes[BANNED], strict=True) if banned}

    def _align(self, assets: Sequence[str]) -> None:
        """Make ``assets`` the universe: histories, bans, funding, work space and the held asset's column follow."""
        if list(assets) == self._history.assets:
            return
        self._banned = self._banned_now()
        self._fold_live()
        self._history.align(assets)
        self._lay_out()

    def _lay_out(self) -> None:
        """Arrays with one column an asset, made new for the universe as it stands."""
        assets = self._history.assets
        n = len(assets)
        self._columns = {name: j for j, name in enumerate(assets)}
        if self._state["open"][0]:
            self._state["p_asset"] = self._columns.get(self._held, -1)
        self._funding_rows = self._funding.columns(assets) if self._funding else NO_FUNDING
        only = -1 if self.config.use_asset_selection else self._columns.get(BTC, -2)
        notes = np.zeros((len(NOTES), n))
        notes[BANNED] = [name in self._banned for name in assets]
        window, column = np.empty((IRP_WINDOW, n)), np.empty(IRP_WINDOW)
        self._work = Work(window, column, notes, self._draws.values, self._draws.base, only)
        self._live = None

    def _fold_live(self) -> None:
        if self._live is not None:
            self._history.fold(self._live.block, self._live.used)
            self._live = None
