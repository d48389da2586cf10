"""What the tests of the actor's days are made of: calm markets, day mode over bars, references, fills."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from builders import START_MS, names
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money

from actors.config import DolphinActorConfig
from actors.dolphin_actor import DolphinActor
from actors.instruments import perpetuals
from dolphin.config import EngineConfig
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import DayRows
from dolphin.storage.day_table import DayTable, write_day
from dolphin.storage.schema import SIGNALS

__all__ = [
    "ACTIVE",
    "BLUE",
    "DATES",
    "DAY_MS",
    "HELD",
    "MINUTE_MS",
    "MS",
    "Counted",
    "calm",
    "day_actor",
    "fills",
    "part",
    "reference",
    "tables",
    "tell",
    "without_frame",
]

DAY_MS, MINUTE_MS, MS = 86_400_000, 60_000, 1_000_000
DATES = ("2025-01-01", "2025-01-02", "2025-01-03")
BLUE = "DOLPHIN_PNL_BLUE"
HELD = EngineConfig(use_asset_selection=False, use_direction_confirm=False, lookback=0, max_hold_bars=2000)
"""Bitcoin only, entered on the bar of a signal, held for long."""
ACTIVE = EngineConfig(lookback=20, max_hold_bars=30)


class Counted(NDAlphaEngine):
    """An engine that counts its days."""

    def __init__(self, config):
        super().__init__(config)
        self.calls = []

    def process_rows(self, date_str, rows, *args, **kwargs):
        self.calls.append(("rows", date_str, len(rows.vel_div)))
        return super().process_rows(date_str, rows, *args, **kwargs)

    def begin_day(self, date_str, *args, **kwargs):
        self.calls.append(("begin", date_str))
        super().begin_day(date_str, *args, **kwargs)

    def end_day(self):
        result = super().end_day()
        self.calls.append(("end", result["date"]))
        return result


def calm(signals, bars=1440, day_index=0, assets=("BTCUSDT", "ETHUSDT")):
    """A day at one price; ``signals``: bars (1 = the first) on which a short signal comes."""
    vel_div = np.zeros(bars)
    vel_div[np.array(signals, dtype=int) - 1] = -0.03
    ts = START_MS + day_index * DAY_MS + np.arange(1, bars + 1, dtype=np.int64) * MINUTE_MS
    return DayRows(assets, np.full((bars, len(assets)), 50_000.0), vel_div, vel_div, np.zeros(bars), ts)


def part(rows, start, end):
    """Rows ``start .. end-1`` of a day."""
    return DayRows(rows.assets, *(a[start:end] for a in (rows.closes, rows.vel_div, rows.v50, rows.v750, rows.ts_ms)))


def day_actor(tmp_path, minutes, state=None, grid=None, at=(), **config):
    """An actor in day mode after a run over bars that close ``minutes`` after the start, of two names."""
    universe = names(2)
    actor = DolphinActor(
        DolphinActorConfig(mode="day", data_dir=str(tmp_path), universe=universe, **config),
        engine=Counted(config.get("engine", EngineConfig())),
        grid=grid,
    )
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, [Money(25_000, USDT)], default_leverage=Decimal(5), bar_execution=True
    )
    for name, instrument in perpetuals(dict.fromkeys(universe, 100.0), "BINANCE").items():
        engine.add_instrument(instrument)
        kind, price, size = (
            BarType.from_str(f"{name}-PERP.BINANCE-1-MINUTE-LAST-EXTERNAL"),
            instrument.make_price(100),
            instrument.make_qty(1),
        )
        stamps = [(START_MS + minute * MINUTE_MS) * MS for minute in minutes]
        engine.add_data([Bar(kind, price, price, price, price, size, ts, ts) for ts in stamps])
    engine.add_strategy(actor)
    if state is not None:
        actor.load(state)
    handle = actor.on_bar

    def on_bar(bar):
        for minute, act in dict(at).items():
            if bar.ts_event == (START_MS + minute * MINUTE_MS) * MS and str(bar.bar_type).startswith("BTC"):
                act(actor)
        handle(bar)

    actor.on_bar = on_bar
    engine.run()
    engine.dispose()
    return actor


def tables(folder, days):
    """Write days as tables; the velocities that the engine reads, the rest of the signals NaN."""
    for date, rows in zip(DATES, days, strict=False):
        signals = {name: np.full(len(rows.vel_div), np.nan) for name in SIGNALS}
        signals |= {"vel_div": rows.vel_div, "v50_lambda_max_velocity": rows.v50, "v750_lambda_max_velocity": rows.v750}
        write_day(folder, DayTable(date, 60, rows.ts_ms, signals, rows.assets, rows.closes), sidecar=False)


def reference(days, config=ACTIVE, **kwargs):
    """Engine and day results of whole days."""
    engine = NDAlphaEngine(config)
    return engine, [engine.process_rows(date, rows, **kwargs) for date, rows in zip(DATES, days, strict=False)]


def without_frame(record):
    return {name: value for name, value in record.items() if name not in ("schema", "ts_ms")}


def fills(built):
    """(minute of the fill, side) of every fill, in order."""
    cache = built.engine.cache
    events = sorted((e for o in cache.orders() for e in o.events if type(e).__name__ == "OrderFilled"), key=lambda e: e.ts_event)
    return [(round((e.ts_event / MS - START_MS) / MINUTE_MS, 2), "SELL" if e.is_sell else "BUY") for e in events]


def tell(posture):
    return lambda actor: actor._on_posture_event(posture)
