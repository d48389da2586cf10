"""Recorded sensors of the survival stack: parquet or CSV, a row an evaluation, a column a sensor.

``dt_min`` (minutes since the evaluation before), the sensors by name, and optionally ``ts`` (int64 ms of the evaluation). An empty cell
or a null says that the sensor could not be read; NaN stays NaN: nonsense.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dolphin.errors import MalformedFile, QualityError, SchemaError
from dolphin.storage.bounded import unpack
from dolphin.storage.parquet import Parquet

__all__ = ["SENSOR_COLUMNS", "read_sensors"]

SENSOR_COLUMNS: Final[Mapping[str, str]] = {
    "dt_min": "number",
    "hz_nodes": "number",
    "heartbeat_age_s": "number",
    "mc_status": "text",
    "staleness_hours": "number",
    "ob_stale": "flag",
    "depth_quality": "number",
    "fill_prob": "number",
    "t_since_spike_min": "number",
    "drawdown": "number",
    "kill": "flag",
}
"""Required columns and their kinds."""

_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_MAX_CSV = 64 << 20


def read_sensors(path: Path | str) -> dict[str, list[Any]]:
    """Columns by name as plain values; ``ts`` is among them when the file has it.

    Raises ``MalformedFile`` for what cannot be read, ``SchemaError`` for a missing column, ``QualityError`` for a value of another kind.
    """
    path = Path(path)
    found = _csv(path) if ".csv" in path.suffixes else _parquet(path)
    missing = [name for name in SENSOR_COLUMNS if name not in found]
    if missing:
        raise SchemaError("the column is missing", path=path, column=missing[0], hint=f"needed: {', '.join(SENSOR_COLUMNS)}; optional: ts")
    kinds = {**SENSOR_COLUMNS, "ts": "time"}
    return {name: [_value(cell, kinds[name], path, name, row) for row, cell in enumerate(found[name])] for name in kinds if name in found}


def _parquet(path: Path) -> dict[str, list[Any]]:
    with Parquet(path) as file:
        names = [name for name in file.names if name in SENSOR_COLUMNS or name == "ts"]
        table = file.read(names)
        return {name: table[name].to_pylist() for name in names}


def _csv(path: Path) -> dict[str, list[Any]]:
    try:
        text = "".join(member.data.decode("utf-8") for member in unpack(path, _MAX_CSV))
    except UnicodeDecodeError as error:
        raise MalformedFile(f"is not text ({error})", path=path) from error
    rows = list(csv.reader(io.StringIO(text)))
    head, body = (rows[0], rows[1:]) if rows else ([], [])
    ragged = next((k for k, row in enumerate(body) if len(row) != len(head)), None)
    if ragged is not None or len(set(head)) < len(head) or not body:
        raise MalformedFile("is not a table with one heading", path=path, row=ragged)
    return {name: [row[k].strip() or None for row in body] for k, name in enumerate(head)}


def _value(cell: Any, kind: str, path: Path, name: str, row: int) -> Any:
    if cell is None and kind != "time":
        return None
    try:
        if kind == "text" and isinstance(cell, str):
            return cell
        if kind == "number" and not isinstance(cell, bool):
            return float(cell)
        if kind == "flag":
            return cell if isinstance(cell, bool) else _FLAGS[str(cell).lower()]
        if kind == "time" and not isinstance(cell, float | bool):
            return int(cell)
    except (TypeError, ValueError, KeyError, OverflowError):
        pass
    raise QualityError(f"{cell!r} is no {kind}", path=path, column=name, row=row)
