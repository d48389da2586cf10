"""Records as people read them: trades as dicts, the open position as an object, rows of a day as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from dolphin.config import EngineConfig
from dolphin.errors import SchemaError
from dolphin.types import PARAMS, TRADE, TRADE_FIELDS, Array, Confirmation, ExitReason, Ints, McStatus, Posture

__all__ = ["DayRows", "NDPosition", "day_rows", "params_record", "table_rows", "trade_records"]

MC_STATUS = list(McStatus)
POSTURES = list(Posture)
MC_NAMES = [status.value for status in McStatus]
POSTURE_NAMES = [posture.value for posture in Posture]
DC_NAMES = {code.value: code.name for code in Confirmation}
REASON_NAMES = {code.value: code.name for code in ExitReason}
_IN_ORDER = itemgetter(*((*(TRADE.names or ()), "date").index(name) for name in TRADE_FIELDS))
_WORDS = (("dc", DC_NAMES), ("reason", REASON_NAMES), ("mc_status", MC_NAMES), ("posture", POSTURE_NAMES))


@dataclass(frozen=True, slots=True)
class NDPosition:
    """The open position; units as in the trade record. ``entry_bar`` is the engine's ``global_bar_idx`` at entry."""

    asset: str
    direction: int
    entry_bar: int
    entry_ts: int
    entry_price: float
    notional: float
    leverage: float
    fraction: float
    bucket: int
    vel_div: float
    strength: float
    confidence: float
    dc: str
    irp_alignment: float
    ars: float
    boost: float
    beta: float
    last_price: float

    @classmethod
    def read(cls, state: Any, asset: str) -> NDPosition | None:
        """From a ``STATE`` record; None when no position is open."""
        if not state["open"]:
            return None
        values = {name: state["p_" + name].item() for name in cls.__slots__ if name not in ("asset", "dc")}
        return cls(asset=asset, dc=Confirmation(int(state["p_dc"])).name, **values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DayRows:
    """One day as the engine reads it: ``closes`` float64[n_bars, n_assets] (C order, NaN = no price), the rest [n_bars].

    ``ts_ms`` is the bar close, 0 where unknown.
    """

    assets: tuple[str, ...]
    closes: Array
    vel_div: Array
    v50: Array
    v750: Array
    ts_ms: Ints

    def head(self, n: int) -> DayRows:
        """The first ``n`` rows."""
        return DayRows(self.assets, self.closes[:n], self.vel_div[:n], self.v50[:n], self.v750[:n], self.ts_ms[:n])


def table_rows(table: Any) -> DayRows:
    """A day table (``dolphin.storage.day_table.DayTable``) as the engine reads it; nothing is copied."""
    signals = table.signals
    return DayRows(
        assets=table.assets,
        closes=table.closes,
        vel_div=signals["vel_div"],
        v50=signals["v50_lambda_max_velocity"],
        v750=signals["v750_lambda_max_velocity"],
        ts_ms=table.ts if table.ts is not None else np.zeros(len(table.closes), dtype=np.int64),
    )


def day_rows(frame: Any, assets: Sequence[str]) -> DayRows:
    """Rows of a day table given as a DataFrame (any library with ``frame[name]`` and ``frame.columns``).

    A column of ``assets`` that the frame lacks has no prices. Raises ``SchemaError`` without a vel_div column.
    """
    names = {str(c) for c in frame.columns}
    if "vel_div" not in names:
        raise SchemaError("the day has no vel_div", column="vel_div", hint="build day tables with `dolphin data scan`")
    n = len(frame)

    def column(name: str, kind: Any, missing: float) -> Any:
        return np.asarray(frame[name], dtype=kind) if name in names else np.full(n, missing, dtype=kind)

    closes = np.empty((n, len(assets)))
    for j, name in enumerate(assets):
        closes[:, j] = column(name, np.float64, np.nan)
    return DayRows(
        assets=tuple(assets),
        closes=closes,
        vel_div=column("vel_div", np.float64, np.nan),
        v50=column("v50_lambda_max_velocity", np.float64, np.nan),
        v750=column("v750_lambda_max_velocity", np.float64, np.nan),
        ts_ms=column("timestamp", np.int64, 0),
    )


def params_record(config: EngineConfig) -> Any:
    """``PARAMS[1]`` filled from the configuration, field by field."""
    values = (config.irp_units == "return" if name == "irp_returns" else getattr(config, name) for name in PARAMS.names or ())
    return np.array([tuple(values)], dtype=PARAMS)


def trade_records(trades: Any, assets: Sequence[str], date: str, held: str) -> list[dict[str, Any]]:
    """Trade dicts (``TRADE_FIELDS``) of ``TRADE[n]``; ``held`` names the asset of a position whose column is gone (-1)."""
    records = []
    for values in trades.tolist():
        record = dict(zip(TRADE_FIELDS, _IN_ORDER((*values, date)), strict=True))
        asset = record["asset"]
        record["asset"] = assets[asset] if asset >= 0 else held
        for name, words in _WORDS:
            record[name] = words[record[name]]
        records.append(record)
    return records
