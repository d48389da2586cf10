"""The watchdog of a backtest once more: bar by bar through the engine, the real stack once a cadence, nothing is run twice. Slow."""

from __future__ import annotations

import math

from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.schedule import day_start
from dolphin.engine.survival import Sensors, SurvivalStack, categories, combine, posture_of, relative_fill


class OracleWatch:
    """``statuses``: the forewarner's word by date, OK where none is attached; ``ob``: the book, or None."""

    def __init__(self, config, survival, ob=None, statuses=None, forewarner=None):
        self.engine, self.config, self.survival, self.ob = NDAlphaEngine(config), config, survival, ob
        self.engine.set_ob_engine(ob)
        if forewarner is not None:
            self.engine.set_mc_forewarner(forewarner, {"max_leverage": config.max_leverage})
        self.statuses = statuses or {}
        self.stack, self.peak = None, config.start_capital
        self.changes, self.results, self.drawdowns = [], [], []
        self.lowest = 1.0
        self.evaluated = None

    def equity(self):
        capital, p, c = self.engine.honest_capital, self.engine.position, self.config
        if p is None:
            return capital
        d, h = p.direction, c.honest_slippage
        bought, sold = p.entry_price * (1 + d * h), p.last_price * (1 - d * h)
        return capital * (1 + (d * (sold - bought) / bought - 2 * c.honest_taker_fee) * p.fraction * p.leverage)

    def sensors(self, date, ts, drawdown):
        stale = quality = fill = None
        if self.ob is not None:
            stale, quality, fill = self.book(ts)
        mc_status, fill_prob = self.statuses.get(date, "OK"), None if fill is None else relative_fill(fill)
        return Sensors(1, 0, mc_status, 0, stale, quality, fill_prob, math.inf, drawdown, kill=False)

    def book(self, ts):
        known = [p for name in sorted(self.ob.symbols) if (p := self.ob.get_placement(name, ts)) is not None]
        return self.ob.ob_stale(ts), _median(p["depth_quality"] for p in known), _median(p["fill_probability"] for p in known)

    def day(self, date, rows, direction=-1):
        cadence, start = round(self.survival.cadence_min * 60_000), day_start(date)
        if self.stack is None:
            first = self.sensors(date, int(rows.ts_ms[0]), 0.0)
            rm = combine(*categories(first, self.survival.order_book))
            self.stack = SurvivalStack(self.survival, rm=rm, posture=posture_of(rm))
            self.changes.append((start, self.stack.posture))
            self.evaluated = start
        self.engine.begin_day(date, direction, self.stack.posture)
        self.engine.set_universe(rows.assets)
        due = start + cadence
        for i, ts in enumerate(rows.ts_ms.tolist()):
            self.engine.process_row(rows.closes[i], float(rows.vel_div[i]), float(rows.v50[i]), float(rows.v750[i]), ts)
            equity = self.equity()
            self.peak = max(self.peak, equity)
            if ts >= min(due, start + 86_400_000):
                while due <= ts:
                    due += cadence
                self.evaluate(date, ts, 1 - max(equity, 0.0) / self.peak)
        self.results.append(self.engine.end_day())

    def evaluate(self, date, ts, drawdown):
        before = self.stack.posture
        record = self.stack.evaluate(self.sensors(date, ts, drawdown), (ts - self.evaluated) / 60_000, ts)
        self.evaluated = ts
        self.drawdowns.append(drawdown)
        self.lowest = min(self.lowest, record.rm)
        if record.posture != before:
            self.changes.append((ts, record.posture))
            self.engine.update_posture(record.posture)


def _median(values):
    values = sorted(v for v in values if math.isfinite(v))
    n = len(values)
    return 0.5 * values[(n - 1) // 2] + 0.5 * values[n // 2] if n else None
