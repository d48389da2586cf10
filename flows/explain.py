"""Explain a finished run: the day tables are read again, the engine replayed, and a bar, a trade or a day laid open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from dolphin.config import EngineConfig, Settings, config_hash, load_profile
from dolphin.engine.explain import Explanation, explain_row
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import DayRows, table_rows
from dolphin.engine.signal import AlphaSignalGenerator
from dolphin.errors import CheckFailed, ConfigError, DataError, MalformedFile
from dolphin.kernels.signal import compute_strength_nb
from dolphin.report.files import read_run
from dolphin.report.notes import ASSETS, EXITS, REFUSALS
from dolphin.report.summary import Run, plain
from dolphin.storage.day_table import read_day
from dolphin.storage.publish import sha256_file
from dolphin.types import BarResult, ExitReason, Refusal
from flows.layers import Layers

__all__ = ["DayStory", "Near", "Source", "TradeStory", "explain_bar", "explain_day", "explain_trade", "explanation_dict", "open_run"]

NEAREST = 3
NEAR_MISSES = (Refusal.NO_SIGNAL.name, Refusal.NO_ASSET.name, Refusal.DC_CONTRADICT.name)
SAME = ("asset", "direction", "entry_bar", "exit_bar", "reason")


@dataclass(frozen=True, slots=True)
class Source:
    """A run and what its engine was given: configuration, lane, files, layers; ``first_bar`` of each day and, last, the run's length."""

    folder: Path
    run: Run
    config: EngineConfig
    direction: int
    files: tuple[Mapping[str, str], ...]
    days: tuple[str, ...]
    first_bar: tuple[int, ...]
    layers: Layers


@dataclass(frozen=True, slots=True)
class TradeStory:
    """A trade: the entry's path, the exit's, and between them the best and worst pnl (decimals, before costs) and their bars.

    ``nearest_tp`` = least distance to the take profit of the same bar (0 or below: reached), at bar ``nearest_tp_bar``.
    ``bars_without_price`` tested no exit rule but STALE_PRICE.
    """

    trade: dict[str, Any]
    entry: Explanation
    exit: Explanation
    best_pnl: float | None
    best_bar: int | None
    worst_pnl: float | None
    worst_bar: int | None
    nearest_tp: float | None
    nearest_tp_bar: int | None
    bars_without_price: int


@dataclass(frozen=True, slots=True)
class Near:
    """A refused bar near to an entry: its ``strength`` in [0, 1] and how far vel_div lies ``beyond`` the threshold (< 0: short of it)."""

    bar: int
    ts_ms: int
    code: str
    vel_div: float
    strength: float
    beyond: float


@dataclass(frozen=True, slots=True)
class DayStory:
    """A day: bars by ``Refusal``, entries and exits as the engine made them, and the bars nearest to an entry."""

    date: str
    first_bar: int
    bars: int
    refusals: dict[str, int]
    entries: list[dict[str, Any]]
    exits: list[dict[str, Any]]
    nearest: list[Near]


def open_run(folder: Path, layers: Layers | None = None) -> Source:
    """Read a run's folder. ``layers``: those that the run had; None: made again from the sources that the summary names.

    Raises ``MalformedFile`` for a summary that does not say what was run, ``ConfigError`` when this version reads its settings otherwise.
    """
    run = read_run(folder)
    summary = run.summary
    try:
        values = {row["name"]: row["value"] for row in summary["detail"]["config"]}
        digest, direction = summary["config_hash"], summary["detail"]["direction"]
        files = tuple({"file": item["file"], "sha256": item["sha256"]} for item in summary["data"])
        days, bars = tuple(summary["days"]), [item["bars"] for item in summary["detail"]["quality"]]
    except (KeyError, TypeError) as error:
        raise MalformedFile(f"does not say what was run ({error})", path=folder / "summary.json", hint="run the backtest again") from error
    if not len(files) == len(days) == len(bars):
        raise MalformedFile(f"{len(days)} days, {len(files)} files", path=folder / "summary.json", hint="run the backtest again")
    engine = {name.removeprefix("engine."): value for name, value in values.items() if name.startswith("engine.")}
    config = load_profile(summary["profile"], **engine)
    if config_hash(config) != digest:
        raise ConfigError(
            f"{folder}: its engine configuration is {digest}, this version makes {config_hash(config)}; run the backtest again"
        )
    if layers is None and summary.get("acb_mode", "off") != "off":
        layers = _layers_again(folder, summary, config, files)
    return Source(folder, run, config, direction, files, days, (0, *accumulate(bars)), layers or Layers())


def _layers_again(folder: Path, summary: Mapping[str, Any], config: EngineConfig, files: Sequence[Mapping[str, str]]) -> Layers:
    from flows.stack import layers_again

    detail = summary["detail"]
    if "layers" not in detail:
        raise ConfigError(f"{folder}: does not say where its layers came from; run the backtest again")
    paths = [_same_file(item) for item in files]
    try:
        return layers_again(detail["layers"], Settings(engine=config), paths, detail["direction"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedFile(f"its layers cannot be read ({error})", path=folder / "summary.json", hint="run the backtest again") from error


def explain_bar(source: Source, bar: int) -> Explanation:
    """The decision path of bar ``bar`` of the run (from 0). Raises ``ConfigError`` for a bar that the run has not."""
    last = source.first_bar[-1] - 1
    if not 0 <= bar <= last:
        raise ConfigError(f"--bar {bar}: the run has bars 0 to {last}")
    return _explained(source, range(bar, bar + 1))[0]


def explain_trade(source: Source, trade_id: int) -> TradeStory:
    """A closed trade from its entry to its exit. Raises ``ConfigError`` for an unknown one."""
    columns = source.run.trades
    ids = columns["trade_id"].tolist()
    if trade_id not in ids:
        known = f"has trades {ids[0]} to {ids[-1]}" if ids else "closed no trade"
        raise ConfigError(f"--trade {trade_id}: the run {known}")
    trade = {name: values[ids.index(trade_id)] for name, values in columns.items()}
    path = _explained(source, range(int(trade["entry_bar"]), int(trade["exit_bar"]) + 1))
    limits = [(check, x.bar) for x in path[1:] for check in x.checks if check.code == ExitReason.FIXED_TP.name]
    course = [(float(check.value), float(check.limit) - float(check.value), bar) for check, bar in limits]
    best, worst = max(course, key=lambda c: c[0], default=None), min(course, key=lambda c: c[0], default=None)
    nearest = min(course, key=lambda c: c[1], default=None)
    return TradeStory(
        trade=plain(trade),
        entry=path[0],
        exit=path[-1],
        best_pnl=best[0] if best else None,
        best_bar=best[2] if best else None,
        worst_pnl=worst[0] if worst else None,
        worst_bar=worst[2] if worst else None,
        nearest_tp=nearest[1] if nearest else None,
        nearest_tp_bar=nearest[2] if nearest else None,
        bars_without_price=len(path) - 1 - len(course),
    )


def explain_day(source: Source, date: str) -> DayStory:
    """Counts by reason, entries, exits and the bars nearest to an entry. Raises ``ConfigError`` for a day that the run has not."""
    if date not in source.days:
        known = f"{source.days[0]} to {source.days[-1]}" if source.days else "no day"
        raise ConfigError(f"--day {date}: not a day of the run ({known})")
    first, stop = list(pairwise(source.first_bar))[source.days.index(date)]
    levels = AlphaSignalGenerator(source.config).levels(source.direction)
    codes: Counter[str] = Counter()
    entries, exits, near = [], [], []
    for engine, rows, row, bar in _walk(source, range(first, stop)):
        result, vel_div, ts = _advance(engine, rows, row), float(rows.vel_div[row]), int(rows.ts_ms[row])
        code = (*result.refusals, Refusal.NONE.name)[0]
        codes[code] += 1
        entries += [result.entry] if result.entry else []
        exits += [result.exit] if result.exit else []
        if code in NEAR_MISSES and vel_div == vel_div:
            beyond = source.direction * (vel_div - levels[0])
            near.append(Near(bar, ts, code, vel_div, compute_strength_nb(vel_div, *levels), beyond))
    near.sort(key=lambda x: (-x.strength, -x.beyond))
    refusals = {code.name: codes[code.name] for code in Refusal if code and codes[code.name]}
    return DayStory(date, first, stop - first, refusals, entries, exits, near[:NEAREST])


def explanation_dict(x: Explanation) -> dict[str, Any]:
    """An explanation as JSON values (no NaN), with the meaning of its code, its exit reason and its assets' verdicts."""
    exit_meaning = EXITS.get(x.exit_reason)
    verdicts = {c.verdict: ASSETS[c.verdict] for c in x.candidates}
    values = {**asdict(x), "meaning": REFUSALS[x.code], "exit_meaning": exit_meaning, "verdicts": verdicts}
    return plain(values)  # type: ignore[no-any-return]


def _explained(source: Source, wanted: range) -> list[Explanation]:
    return [explain_row(engine, rows, row, ob=source.layers.book) for engine, rows, row, _ in _walk(source, wanted)]


def _advance(engine: NDAlphaEngine, rows: DayRows, row: int) -> BarResult:
    vel_div, v50, v750 = float(rows.vel_div[row]), float(rows.v50[row]), float(rows.v750[row])
    return engine.process_row(rows.closes[row], vel_div, v50, v750, int(rows.ts_ms[row]))


def _walk(source: Source, wanted: range) -> Iterator[tuple[NDAlphaEngine, DayRows, int, int]]:
    """The engine before each wanted bar, the day's rows, the row and the bar; whoever gets them gives the engine that row.

    Days before go through ``run_day``, days after are not read. Raises ``DataError`` for a day table that is gone or has changed
    since the run and ``CheckFailed`` when the engine does not make the run's trades.
    """
    engine = source.layers.engine(source.config)
    for date, (first, stop), item in zip(source.days, pairwise(source.first_bar), source.files, strict=True):
        if first >= wanted.stop:
            break
        rows = table_rows(read_day(_same_file(item)))
        if stop <= wanted.start:
            source.layers.run_day(engine, date, rows, source.direction)
            continue
        posture, changes = source.layers.postures.of_day(date, rows.ts_ms)
        later = dict(changes)
        engine.begin_day(date, source.direction, posture)
        engine.set_universe(rows.assets)
        for bar in range(first, min(stop, wanted.stop)):
            if bar - first in later:
                engine.update_posture(later[bar - first])
            if bar in wanted:
                yield engine, rows, bar - first, bar
            else:
                _advance(engine, rows, bar - first)
        engine.end_day()
    _same_trades(source, engine.trades)


def _same_file(item: Mapping[str, str]) -> Path:
    path = Path(item["file"])
    if not path.is_file():
        raise DataError("the run's day table is gone", path=path, hint="call from the folder in which the backtest ran")
    if sha256_file(path) != item["sha256"]:
        raise DataError("has changed since the run (another sha256)", path=path, hint="run the backtest again")
    return path


def _same_trades(source: Source, trades: Sequence[Mapping[str, Any]]) -> None:
    columns = source.run.trades
    for k, trade in enumerate(trades):
        for name in SAME:
            its = columns[name][k] if k < len(columns[name]) else None
            if trade[name] != its:
                made = f"trade {k + 1}: {name} {trade[name]!r}, the run has {its!r}"
                raise CheckFailed(f"{source.folder}: replayed, the engine makes another {made}; it was written by another version")
