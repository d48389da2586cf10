"""A day table as parquet bytes: columns to block and back, and the digest that covers both.

Arrow holds columns, the engine wants rows: the block is filled 16 columns at a time, whole cache lines, which measured as fast as
a compiled transpose (both are bound by the page walk of the strided writes) and needs no compiler.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.errors import MalformedFile, SchemaError
from dolphin.storage.day_record import DayMetadata, DayTable, Source, check_times, clean
from dolphin.storage.digest import digest
from dolphin.storage.parquet import Parquet, write_parquet
from dolphin.storage.schema import SHARES, SIGNALS, SYMBOL, checked_bar_seconds
from dolphin.types import Array, Ints

__all__ = ["FORMAT", "read_file", "read_file_times", "write_file"]

FORMAT = "dolphin-day/1"

_TILE = 16


def read_file(path: Path, date: str) -> DayTable:
    """Read and check a day file. Raises ``MalformedFile``, ``SchemaError`` or ``QualityError`` naming file, column and row."""
    with Parquet(path) as file:
        assets = tuple(name for name in file.names if SYMBOL.fullmatch(name))
        signals = (*SIGNALS, *(name for name in SHARES if name in file.names))
        whole = tuple(name for name in ("timestamp", "scan_number") if name in file.names)
        kinds = dict.fromkeys((*signals, *assets), "float") | dict.fromkeys(whole, "int64")
        file.require((*signals, *whole, *assets), kinds)
        if not assets:
            raise SchemaError(
                "there is no asset column", path=path, hint=f"a name like BTCUSDT or BTC-PERP; found {', '.join(file.names[:12])}"
            )
        columns = file.read((*whole, *signals, *assets))
        ints = {name: file.numbers(columns, name) for name in whole}
        table = DayTable(
            date=date,
            bar_seconds=checked_bar_seconds(file.metadata["bar_seconds"], path) if "bar_seconds" in file.metadata else 0,
            ts=ints.get("timestamp"),
            signals={name: file.numbers(columns, name).astype(np.float64) for name in signals},
            assets=assets,
            closes=_block(file, columns, assets),
            scan_number=ints.get("scan_number"),
            metadata=_metadata(file.metadata),
            complete=file.metadata.get("complete") == "true",
            warnings=tuple(f"{path}: column {name}: unknown, ignored" for name in file.names if name not in kinds),
        )
        table = _timed(table, path)
        return table if _verify(table, file.metadata, path) else clean(table, path)


def read_file_times(path: Path) -> tuple[int, Ints | None]:
    """``(row count, timestamps or None)`` of a day file; reads that column only."""
    with Parquet(path) as file:
        if "timestamp" not in file.names:
            return file.rows, None
        file.require(("timestamp",), {"timestamp": "int64"})
        return file.rows, file.numbers(file.read(("timestamp",)), "timestamp")


def write_file(path: Path, table: DayTable) -> None:
    """Write a checked table to ``path``; publish around this call."""
    columns: dict[str, Any] = {"timestamp": table.ts, **table.signals}
    if table.scan_number is not None:
        columns["scan_number"] = table.scan_number
    columns |= dict(zip(table.assets, np.ascontiguousarray(table.closes.T), strict=True))
    facts = _facts(table)
    write_parquet(path, columns, {"format": FORMAT, **facts, "digest": _digest(table, facts)})


def _block(file: Parquet, columns: Any, assets: tuple[str, ...]) -> Array:
    block = np.empty((file.rows, len(assets)))
    for first in range(0, len(assets), _TILE):
        tile = [file.numbers(columns, name) for name in assets[first : first + _TILE]]
        block[:, first : first + _TILE] = np.array(tile, dtype=np.float64).T
    return block


def _timed(table: DayTable, path: Path) -> DayTable:
    if table.ts is not None:
        return replace(table, bar_seconds=check_times(table.ts, table.date, table.bar_seconds, path))
    rows = len(table.closes)
    guess = table.bar_seconds or (86_400 // rows if 86_400 % rows == 0 else 0)
    warning = f"{path}: column timestamp: missing (legacy), the row index stands in; bar_seconds {guess or 'unknown'}"
    return replace(table, bar_seconds=guess, warnings=(*table.warnings, warning))


def _facts(table: DayTable) -> dict[str, str]:
    sources = [asdict(source) for source in table.metadata.sources]
    return {
        "bar_seconds": str(table.bar_seconds),
        "complete": "true" if table.complete else "false",
        "rows": str(len(table.closes)),
        "path": table.metadata.path,
        "settings_hash": table.metadata.settings_hash,
        "sources": json.dumps(sources, sort_keys=True),
    }


def _metadata(raw: Mapping[str, str]) -> DayMetadata:
    try:
        sources = tuple(Source(str(s["file"]), str(s["sha256"])) for s in json.loads(raw.get("sources", "[]")))
    except (ValueError, TypeError, KeyError):
        sources = ()
    return DayMetadata(raw.get("path", ""), raw.get("settings_hash", ""), sources)


def _digest(table: DayTable, facts: Mapping[str, str]) -> str:
    parts = [*table.assets, *(f"{k}={v}" for k, v in sorted(facts.items())), table.date]
    parts += [f"{name}:{digest(values)}" for name, values in sorted(table.signals.items())]
    parts += [digest(values) for values in (table.ts, table.scan_number) if values is not None]
    parts.append(digest(table.closes))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _verify(table: DayTable, raw: Mapping[str, str], path: Path) -> bool:
    if "format" not in raw and "digest" not in raw:
        return False
    if raw.get("format") != FORMAT or raw.get("digest") != _digest(table, {key: raw.get(key, "") for key in _facts(table)}):
        raise MalformedFile("the values are not those that were written", path=path, hint="scan the day again with --force")
    return True
