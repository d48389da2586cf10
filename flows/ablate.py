"""Ablation: the engine alone, then with one layer more at a time; what each changes, on both ledgers, with an interval.

The interval is a paired bootstrap over days: the difference of two variants' day returns is resampled by day (10,000 times, seeded),
and the 2.5 and 97.5 percentiles of its mean are given in bps a day. An interval that holds 0: the effect is not told from luck.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import dolphin.report
from dolphin.engine.records import table_rows
from dolphin.storage.day_table import DayTable, read_day
from dolphin.storage.publish import publish
from dolphin.types import Array
from flows.backtest import Plan, known_days
from flows.layers import Layers
from flows.workspace import new_run_folder

__all__ = ["STEPS", "Ablation", "Step", "ablate", "ablation_page", "paired_interval"]

STEPS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("engine alone (BTCUSDT)", {"use_asset_selection": False, "use_direction_confirm": False}, ()),
    ("+ direction confirmation", {"use_asset_selection": False}, ()),
    ("+ asset selection (IRP)", {}, ()),
    ("+ order book", {}, ("book",)),
    ("+ circuit breaker (ACB)", {}, ("book", "breaker")),
    ("+ forewarner", {}, ("book", "breaker", "forewarner")),
    ("+ postures", {}, ("book", "breaker", "forewarner", "postures", "survival")),
)
"""Name, changed settings, layers."""

RESAMPLES = 10_000
SEED = 7


@dataclass(frozen=True, slots=True)
class Step:
    """One variant. Returns are decimals; ``low`` and ``high`` bound the mean change of the honest day return, bps, None for the first."""

    name: str
    trades: int
    champion: float
    honest: float
    change: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Ablation:
    """All variants over the same days; ``absent``: layers for which there was no data."""

    days: int
    steps: list[Step]
    absent: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def to_text(self) -> str:
        """A Markdown table."""
        rows = [f"{self.days} days; change of the honest day return with a 95 % interval (paired bootstrap over days)", ""]
        rows += ["| layers | trades | champion | honest | change, bps a day | 95 % interval |", "|---|--:|--:|--:|--:|---|"]
        for s in self.steps:
            change = "" if s.change is None else f"{s.change:+.1f}"
            interval = "" if s.low is None or s.high is None else f"{s.low:+.1f} .. {s.high:+.1f}{' *' if s.low > 0 or s.high < 0 else ''}"
            rows.append(f"| {s.name} | {s.trades} | {100 * s.champion:+.2f} % | {100 * s.honest:+.2f} % | {change} | {interval} |")
        return "\n".join([*rows, *(f"- no data for: {name}" for name in self.absent)])


def ablate(plan: Plan, files: Sequence[Path], track: Callable[..., Iterable[Any]]) -> tuple[Ablation, Path]:
    """Run every variant over ``files`` and write ``ablation.json`` and ``ablation.html`` into a run folder; returns both."""
    tables = [read_day(path) for path in files]
    layers = plan.layers(tables, known_days(plan, files))
    there: dict[str, Any] = {"order book": layers.book, "circuit breaker": layers.breaker, "forewarner": layers.forewarner}
    there["postures"] = layers.postures.changes or layers.survival
    absent = [name for name, layer in there.items() if not layer]
    steps: list[Step] = []
    before: Array | None = None
    for name, changes, parts in track(STEPS, len(STEPS), "variants"):
        step, returns = _variant(plan, tables, name, changes, _only(layers, parts))
        if before is not None:
            change, low, high = paired_interval(returns - before)
            step = replace(step, change=change, low=low, high=high)
        steps.append(step)
        before = returns
    result = Ablation(len(tables), steps, absent)
    folder = new_run_folder(Path(plan.loaded.settings.paths.runs), "ablation")
    with publish(folder / "ablation.json") as temporary:
        temporary.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    page = folder / "ablation.html"
    with publish(page) as temporary:
        temporary.write_text(ablation_page(result), encoding="utf-8")
    return result, page


def paired_interval(differences: Array) -> tuple[float, float, float]:
    """``(mean, low, high)`` of paired day differences, bps: the 2.5 and 97.5 percentiles of the mean over resampled days."""
    rng = np.random.default_rng(SEED)
    means = differences[rng.integers(0, len(differences), (RESAMPLES, len(differences)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return 1e4 * float(differences.mean()), 1e4 * float(low), 1e4 * float(high)


def _only(layers: Layers, parts: Sequence[str]) -> Layers:
    return Layers(**{name: getattr(layers, name) for name in parts})


def _variant(plan: Plan, tables: Sequence[DayTable], name: str, changes: dict[str, Any], layers: Layers) -> tuple[Step, Array]:
    config = msgspec.structs.replace(plan.loaded.settings.engine, **changes)
    engine = layers.engine(config)
    engine.set_funding(plan.funding)
    watch, returns = layers.watch(), []
    for table in tables:
        day = layers.run_day(engine, table.date, table_rows(table), plan.direction, watch)
        returns.append(day["honest_pnl"] / (day["honest_capital"] - day["honest_pnl"]))
    start = config.start_capital
    champion, honest = engine.capital / start - 1.0, engine.honest_capital / start - 1.0
    return Step(name, len(engine.trades), champion, honest, None, None, None), np.array(returns)


def ablation_page(result: Ablation) -> str:
    """One self-contained file: a chart of both ledgers by variant, changes with their intervals, and the table."""
    folder = Path(dolphin.report.__path__[0]) / "assets"
    page, style, charts = ((folder / name).read_text(encoding="utf-8") for name in ("ablation.html", "report.css", "echarts.min.js"))
    data = json.dumps(result.to_dict()).replace("</", "<\\/")
    for mark, text in (("/*CSS*/", style), ("/*DATA*/", data), ("/*ECHARTS*/", charts)):
        page = page.replace(mark, text)
    return page
