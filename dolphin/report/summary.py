"""``summary.json``: every figure of a run, champion and honest side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dolphin.config import settings_rows
from dolphin.report import metrics
from dolphin.report.costs import cost_table
from dolphin.report.equity import Curves, mark_to_market
from dolphin.report.hashing import trades_hash
from dolphin.report.inputs import Bars, Columns, DayQuality, RunContext, trade_columns
from dolphin.report.venue import venue_summary

__all__ = ["SCHEMA", "Run", "build_run", "build_summary", "plain"]

SCHEMA: Final = "dolphin.summary/1"


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run as its folder holds it: summary.json, trades, bars (closes of traded assets only) and curves."""

    summary: dict[str, Any]
    trades: Columns
    bars: Bars
    curves: Curves


def build_run(context: RunContext, trades: Sequence[Mapping[str, Any]], bars: Bars) -> Run:
    """Everything a run folder holds, from what a run gives: context, trade records (``TRADE_FIELDS``) and bars.

    Raises ``SchemaError`` for records or arrays of the wrong shape, ``QualityError`` for trades that overlap or lie outside the bars.
    """
    columns = trade_columns(trades)
    held = {str(asset) for asset in columns["asset"]}
    if context.open_position is not None and "asset" in context.open_position:
        held.add(str(context.open_position["asset"]))
    traded = bars.only(sorted(held))
    curves = mark_to_market(columns, traded, context.engine, context.open_position)
    return Run(build_summary(context, trades, traded, curves), columns, traded, curves)


def build_summary(context: RunContext, trades: Sequence[Mapping[str, Any]], bars: Bars, curves: Curves) -> dict[str, Any]:
    """The summary as JSON values (no NaN, no numpy): the contract's keys first, everything else under ``detail``.

    Top-level figures are the champion's, ``honest`` holds the same figures of the honest ledger; formulas in
    ``dolphin.report.metrics``. ``by_*`` maps a group to its trades and, for each ledger, win_rate, pnl (USDT) and mean_bps.
    """
    columns, start, day = trade_columns(trades), context.engine.start_capital, bars.day
    groups = {
        "by_reason": [str(reason) for reason in columns["reason"]],
        "by_asset": [str(asset) for asset in columns["asset"]],
        "by_bucket": [str(bucket) for bucket in columns["bucket"]],
    }
    summary = {
        "schema": SCHEMA,
        "version": context.version,
        "git": context.git,
        "profile": context.config.settings.profile,
        "config_hash": context.config_hash,
        "data": [{"file": str(item["file"]), "sha256": str(item["sha256"])} for item in context.data],
        "universe": list(context.universe),
        "bar_seconds": context.bar_seconds,
        "days": list(context.days),
        "skipped_days": [{"date": str(item["date"]), "why": str(item["why"])} for item in context.skipped_days],
        "bars": len(bars.ts_ms),
        **metrics.figures(columns, "champion", curves.champion, day, start),
        "honest": metrics.figures(columns, "honest", curves.honest, day, start),
        **{name: metrics.by(columns, keys, start) for name, keys in groups.items()},
        "exposure": metrics.exposure_figures(curves.exposure),
        "acb_mode": context.acb_mode,
        "flags": list(context.flags),
        "trades_hash": trades_hash(trades),
        "seconds": context.seconds,
        "detail": _detail(context, columns, bars, curves),
    }
    return plain(summary)  # type: ignore[no-any-return]


def plain(value: Any) -> Any:
    """The value with only JSON types in it: numpy scalars as Python's, tuples as lists, NaN and infinite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _detail(context: RunContext, columns: Columns, bars: Bars, curves: Curves) -> dict[str, Any]:
    engine, start, day = context.engine, context.engine.start_capital, bars.day
    days = metrics.daily(columns, bars, curves, start)
    hours = bars.ts_ms[columns["entry_bar"]] // 3_600_000 % 24
    return {
        "start_capital": start,
        "direction": context.direction,
        "first_ts": bars.ts_ms[0] if len(day) else None,
        "last_ts": bars.ts_ms[-1] if len(day) else None,
        "thresholds": {
            "SHORT": [engine.short_threshold, engine.short_extreme],
            "LONG": [engine.long_threshold, engine.long_extreme],
        },
        "figures": {
            "champion": metrics.trade_figures(columns, "champion", curves.champion, day, start),
            "honest": metrics.trade_figures(columns, "honest", curves.honest, day, start),
        },
        "by_direction": metrics.by(columns, ["LONG" if d > 0 else "SHORT" for d in columns["direction"]], start),
        "by_hour": metrics.by(columns, [f"{hour:02d}" for hour in hours], start),
        "costs": cost_table(columns, engine, context.flags),
        "daily": days,
        "monthly": metrics.monthly(days),
        "refusals": dict(context.refusals),
        "quality": [_quality(item) for item in context.quality],
        "open_position": dict(context.open_position) if context.open_position is not None else None,
        "config": [
            {"name": name, "value": value, "origin": context.config.origin.get(name, "default"), "note": note}
            for name, value, note in settings_rows(context.config.settings)
        ],
        **({"notes": list(context.notes)} if context.notes else {}),
        **({"layers": dict(context.layers)} if context.layers else {}),
        **({"postures": dict(context.postures)} if context.postures else {}),
        **({} if context.venue is None else {"venue": venue_summary(context.venue, engine)}),
    }


def _quality(item: DayQuality) -> dict[str, Any]:
    return {
        "date": item.date,
        "bars": item.bars,
        "expected": item.expected,
        "missing": [[int(begin), int(end)] for begin, end in item.missing],
        "missing_minutes": sum(end - begin for begin, end in item.missing) / 60_000,
        "counts": {name: int(count) for name, count in item.counts.items() if count},
    }
