"""A small market for simulations: klines, outside series, books, and a table of trials whose verdict on these days is OK."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from daemons.bars import KlineReplay
from daemons.books import BookSample, BookSource
from daemons.day_scan import DayScan
from dolphin.config import EngineConfig, PathsConfig, ScannerConfig, Settings, SurvivalConfig, load_profile
from dolphin.deployment import ServicesConfig
from dolphin.forewarner.condition import CONDITION, day_condition
from dolphin.forewarner.envelope import ENVELOPE, base_of
from dolphin.forewarner.forewarner import Forewarner
from dolphin.forewarner.paths import draw_path
from dolphin.forewarner.table import COLUMNS, CalendarDay, TrialPlan, TrialTable, write_table
from dolphin.storage.journal_records import canonical
from dolphin.storage.klines import KlineBars, KlineStore, write_klines
from dolphin.storage.schema import DAY_MS, date_of, day_start
from dolphin.synthetic.market import SyntheticMarket
from dolphin.types import BOOK_FEATURES

__all__ = ["BAR_S", "Market", "SteadyBooks", "forewarner_of", "market_of"]

BAR_S: Final = 600
WARM_DAYS: Final = 6
ASSETS: Final = 12
FIRST: Final = "2025-01-01"
TRIALS: Final = 1500
_PATH_DAYS: Final = 10


@dataclass(frozen=True)
class Market:
    """``start_ms``: when the simulation begins; ``scans``: the scanner's records of an undisturbed run, (ts_ms, JSON)."""

    folder: Path
    start_ms: int
    first: str
    last: str
    symbols: tuple[str, ...]
    scans: tuple[tuple[int, str], ...]
    settings: Settings
    """Trades one asset from the start: many positions."""
    selecting: Settings
    """Selects among all, once it knows them for 50 bars."""

    def source(self) -> KlineReplay:
        """Bars of the days, for a live scanner, too."""
        return KlineReplay(KlineStore(self.folder / "klines"), self.first, self.last)


def market_of(folder: Path, start_hour: int, hours: int) -> Market:
    """Write it into ``folder``: six days to warm up, then ``hours`` from ``start_hour`` of the seventh on."""
    per_day, start_bar = DAY_MS // (BAR_S * 1000), start_hour * 3600 // BAR_S
    bars, days = hours * 3600 // BAR_S, -(-(start_hour + hours) // 24)
    made = SyntheticMarket(ASSETS, WARM_DAYS + days, BAR_S, 7, FIRST)
    for number, day in enumerate(made):
        low = start_bar if number == WARM_DAYS else 0
        high = min(per_day, max(0, start_bar + bars - (number - WARM_DAYS) * per_day)) if number >= WARM_DAYS else per_day
        blocks = (block[low:high] for block in (day.open, day.high, day.low, day.close, day.volume))
        write_klines(folder / "klines", KlineBars(day.date, BAR_S, day.ts[low:high], made.symbols, *blocks))
    first = date_of(day_start(FIRST) + WARM_DAYS * DAY_MS)
    last = date_of(day_start(first) + (days - 1) * DAY_MS)
    _write_macro(folder / "macro", day_start(first), days)
    scans, conditions = _scanned(KlineReplay(KlineStore(folder / "klines"), first, last))
    single, selecting = (_settings(folder, selection) for selection in (False, True))
    for settings in (single, selecting):
        write_table(Path(settings.paths.forewarner), _trials(settings.engine, first, conditions))
    start_ms = day_start(first) + start_hour * 3_600_000
    return Market(folder, start_ms, first, last, made.symbols, scans, single, selecting)


@cache
def forewarner_of(path: str, config: EngineConfig) -> Forewarner:
    """The models of a table, fitted once."""
    return Forewarner.load(path, config)


class SteadyBooks(BookSource):
    """Healthy books every ``every_ms`` of the market; features are a function of time and asset."""

    def __init__(self, symbols: tuple[str, ...], every_ms: int) -> None:
        self._symbols, self._every, self._given = symbols, every_ms, 0

    def take(self, market_ms: int, most: int) -> list[BookSample]:
        newest = market_ms - market_ms % self._every
        first = max(self._given + self._every, newest - (most - 1) * self._every)
        self._given = newest
        return [self._sample(ts) for ts in range(first, newest + 1, self._every)]

    def _sample(self, ts_ms: int) -> BookSample:
        phase = ts_ms / 3.6e6 + np.arange(len(self._symbols))
        features = np.full((len(self._symbols), len(BOOK_FEATURES)), 0.62)
        features[:, :3] = 0.2 * np.sin(phase)[:, None]
        features[:, BOOK_FEATURES.index("depth_quality")] = 1.0
        times = np.full(len(self._symbols), ts_ms, dtype=np.int64)
        return BookSample(ts_ms, ts_ms + self._every, self._symbols, features, times)


def _settings(folder: Path, selection: bool) -> Settings:
    busy: dict[str, Any] = {
        "short_threshold": -0.003,
        "long_threshold": 0.003,
        "lookback": 5,
        "min_irp_alignment": 0.3,
        "max_hold_bars": 20,
    }
    engine = load_profile("champion", **busy, dc_skip_contradicts=False, use_asset_selection=selection)
    paths = PathsConfig(macro=str(folder / "macro"), days=str(folder / "none"), forewarner=str(folder / f"trials-{selection}.parquet"))
    return Settings(engine=engine, paths=paths, survival=SurvivalConfig(cadence_min=10.0), services=ServicesConfig())


def _write_macro(folder: Path, first_ms: int, days: int) -> None:
    folder.mkdir()
    for name, value in {"funding_btc": 0.0001, "dvol_btc": 50.0, "fng": 50.0, "taker": 1.0}.items():
        rows = [f"{first_ms + k * DAY_MS},{value}" for k in range(-9, days)]
        (folder / f"{name}.csv").write_text("ts,value\n" + "\n".join(rows) + "\n", encoding="utf-8")


def _scanned(source: KlineReplay) -> tuple[tuple[tuple[int, str], ...], list[list[float]]]:
    """Records and conditions of every day, by the scanner's own code."""
    scan, texts, conditions = DayScan(source, ScannerConfig()), [], []
    while scan.day is not None:
        texts += [(entry.ts_ms, canonical(entry)) for entry in scan.scan(len(scan.day.ts))]
        table = scan.table()
        assert table is not None
        conditions.append([float(value) for value in day_condition(table.signals)])
        scan.follow()
    return tuple(texts), conditions


def _trials(engine: EngineConfig, first: str, conditions: list[list[float]]) -> TrialTable:
    """Trials in the condition of these days that nearly all went well."""
    rng = np.random.default_rng(5)
    near = [np.array(conditions[k % len(conditions)]) * (1.0 + 0.2 * rng.standard_normal(len(CONDITION))) for k in range(20)]
    start = day_start(first)
    days = [CalendarDay(date=date_of(start + (k - 19) * DAY_MS), sha256="", condition=row.tolist()) for k, row in enumerate(near)]
    bounds = {name: (float(low), float(high)) for name, (low, high) in ENVELOPE.items()}
    plan = TrialPlan(
        config=base_of(engine), seed=7, path_days=_PATH_DAYS, block_days=5.0, direction=-1, days=days, code="made up", envelope=bounds
    )
    columns: dict[str, Any] = {name: rng.uniform(low, high, TRIALS) for name, (low, high) in bounds.items()}
    paths = [draw_path(7, k, len(days), _PATH_DAYS, 5.0) for k in range(TRIALS)]
    columns |= {"trial": np.arange(TRIALS), "pool": np.array([p.pool for p in paths]), "start": np.array([p.days[0] for p in paths])}
    condition = np.array([plan.condition(int(p.days[0]) - 1) for p in paths])
    columns |= {name: condition[:, k] for k, name in enumerate(CONDITION)}
    event = rng.random(TRIALS) < 0.05
    for ledger in ("honest", "champion"):
        outcome = {"roi": (-0.5, 0.1), "max_drawdown": (0.6, 0.1), "profit_factor": (0.5, 1.5)}
        columns |= {f"{ledger}_{name}": np.where(event, *pair) for name, pair in outcome.items()}
    columns |= {"engine_seed": np.zeros(TRIALS), "trades": np.full(TRIALS, 50)}
    assert not math.isnan(float(condition.sum()))
    return TrialTable(plan, np.column_stack([columns[name].astype(np.float64) for name in COLUMNS]))
