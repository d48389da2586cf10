"""A run's folder: write it, read it back, rebuild its page."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import numpy as np

from dolphin.errors import MalformedFile, SchemaError
from dolphin.report.equity import Curves
from dolphin.report.html import render_html
from dolphin.report.inputs import Bars, trade_kinds
from dolphin.report.parquet import read_columns, write_columns
from dolphin.report.summary import SCHEMA, Run
from dolphin.types import TRADE_FIELDS, WINDOWS

__all__ = ["Publish", "read_run", "rebuild", "write_run"]

type Publish = Callable[[Path], AbstractContextManager[Path]]
"""``with publish(path) as temporary``: the body writes ``temporary``, which becomes ``path`` only when the body ends well."""

SHARES: Final = tuple(f"share_{window}" for window in WINDOWS)
CLOSE: Final = "close_"


def write_run(folder: Path, run: Run, publish: Publish) -> None:
    """Write trades.parquet, equity.parquet, series.parquet, report.html and, last, summary.json, each through ``publish``.

    A folder with a summary.json is therefore complete. ``series.parquet`` is what the charts need besides: ts_ms, vel_div, exposure,
    ``share_W`` when known, ``close_ASSET`` of the traded assets.
    """
    shares = run.bars.shares
    series = {"ts_ms": run.bars.ts_ms, "vel_div": run.bars.vel_div, "exposure": run.curves.exposure}
    series |= {} if shares is None else {name: shares[:, k] for k, name in enumerate(SHARES)}
    series |= {CLOSE + name: run.bars.closes[:, k] for k, name in enumerate(run.bars.names)}
    equity = {"ts_ms": run.bars.ts_ms, "champion": run.curves.champion, "honest": run.curves.honest}
    for name, columns in (("trades", run.trades), ("equity", equity), ("series", series)):
        with publish(folder / f"{name}.parquet") as temporary:
            write_columns(temporary, columns)
    rebuild(folder, publish, run)
    with publish(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(run.summary, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def rebuild(folder: Path, publish: Publish, run: Run | None = None) -> Path:
    """Write report.html anew, from the folder's files unless ``run`` is given; the bytes are the same either way. Returns its path."""
    page = render_html(run or read_run(folder))
    with publish(folder / "report.html") as temporary:
        temporary.write_bytes(page.encode("utf-8"))
    return folder / "report.html"


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises ``MalformedFile`` for a file that is absent or not what its name promises and ``SchemaError`` for one of another schema.
    """
    summary = _read_summary(folder / "summary.json")
    trades = read_columns(folder / "trades.parquet", trade_kinds())
    equity = read_columns(folder / "equity.parquet", {"ts_ms": "i", "champion": "f", "honest": "f"})
    series = read_columns(folder / "series.parquet", {"ts_ms": "i", "vel_div": "f", "exposure": "f"})
    if not np.array_equal(equity["ts_ms"], series["ts_ms"]):
        raise SchemaError("times disagree with equity.parquet", path=folder / "series.parquet", column="ts_ms")
    closes = {name.removeprefix(CLOSE): column for name, column in series.items() if name.startswith(CLOSE)}
    bars = Bars(
        ts_ms=series["ts_ms"],
        names=tuple(closes),
        closes=np.column_stack(list(closes.values())) if closes else np.empty((len(series["ts_ms"]), 0)),
        vel_div=series["vel_div"],
        shares=np.column_stack([series[name] for name in SHARES]) if SHARES[0] in series else None,
    )
    columns = {name: trades[name] for name in TRADE_FIELDS}
    return Run(summary, columns, bars, Curves(equity["champion"], equity["honest"], series["exposure"]))


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MalformedFile(f"cannot be read ({error.strerror})", path=path, hint="is this the folder of a finished run?") from error
    except ValueError as error:
        raise MalformedFile(f"not valid JSON ({error})", path=path) from error
    if not isinstance(summary, dict) or summary.get("schema") != SCHEMA:
        raise SchemaError(f"expected schema {SCHEMA}", path=path, column="schema", hint="run the backtest again with this version")
    return summary
