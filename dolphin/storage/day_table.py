"""Day table: what the scanner writes and the engine reads, ``YYYY-MM-DD.parquet``.

Columns: ``timestamp`` (int64 ms, bar CLOSE), the seven signals, optional lambda shares and ``scan_number``, then one float64 close
column a symbol. A day in progress is ``YYYY-MM-DD.partial.parquet``. The first read leaves a working copy (``sidecar``) from which
later reads map the block without importing pyarrow.

Refused with file, column and row named: not parquet, damage, a missing, repeated or mistyped column, no asset column, no rows,
repeated or decreasing timestamps, a spacing that disagrees with ``bar_seconds``, a date that is not the file's.
Quarantined, with a warning that counts and names the first: a price outside (1e-12, 1e12) becomes NaN = "no price"; a signal that
is infinite or beyond 1e4 becomes NaN = "no signal"; an unknown column is ignored. Warnings are returned and logged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolphin.storage.day_file import read_file, write_file
from dolphin.storage.day_record import DayMetadata, DayTable, Source, refuse_bad
from dolphin.storage.neighbours import incomplete_warning, neighbour_paths
from dolphin.storage.parquet import release_memory
from dolphin.storage.publish import publish
from dolphin.storage.schema import file_date, is_date
from dolphin.storage.sidecar import fingerprint, read_sidecar, sidecar_path, write_sidecar

__all__ = ["PARTIAL", "DayMetadata", "DayTable", "Source", "list_days", "read_day", "write_day"]

PARTIAL = ".partial.parquet"
"""Ending of the file of a day in progress."""

_log = logging.getLogger(__name__)


def list_days(folder: Path | str, *, partial: bool = False) -> tuple[Path, ...]:
    """Day files of a folder, ascending by date; ``partial=True`` lists the days in progress instead."""
    suffix = PARTIAL if partial else ".parquet"
    found = (p for p in Path(folder).glob(f"*{suffix}") if is_date(p.name.removesuffix(suffix)))
    return tuple(sorted(found))


def read_day(path: Path | str, columns: Sequence[str] | None = None, *, cache: Path | None = None, sidecar: bool = True) -> DayTable:
    """Read a day table; its arrays are read-only.

    ``columns``: assets wanted, in this order; one that the day lacks is NaN ("absent" is "no price"). Default: all.
    ``cache``: folder of the working copies; default: hidden files beside the tables. ``sidecar=False``: neither use nor leave one.
    Raises ``MalformedFile``, ``SchemaError`` or ``QualityError`` naming file, column and row.
    """
    path = Path(path)
    date = file_date(path, PARTIAL if path.name.endswith(PARTIAL) else ".parquet")
    stamp, copy = fingerprint(path), sidecar_path(path, cache)
    table = _from_copy(copy, stamp, path) if sidecar and stamp else None
    if table is None:
        table = _from_parquet(path, date)
        if sidecar:
            _to_copy(copy, stamp, path, table)
    for warning in table.warnings:
        _log.warning("%s", warning)
    return _read_only(table if columns is None else _select(table, columns))


def write_day(folder: Path | str, table: DayTable, partial: bool = False, *, cache: Path | None = None, sidecar: bool = True) -> Path:
    """Publish a table and its working copy in ``folder``; returns the path. A whole day removes its partial file.

    An existing file is replaced: keep it with ``publish.stale_aside`` first. Raises ``SchemaError`` or ``QualityError`` on a
    table that ``read_day`` would refuse or have to mend.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table.date}{PARTIAL if partial else '.parquet'}"
    table = replace(table, complete=not partial, closes=np.ascontiguousarray(table.closes))
    refuse_bad(table, path)
    with publish(path) as temporary:
        write_file(temporary, table)
    if sidecar and not partial:
        _to_copy(sidecar_path(path, cache), fingerprint(path), path, replace(table, warnings=()))
    if not partial:
        for old in (folder / f"{table.date}{PARTIAL}", sidecar_path(folder / f"{table.date}{PARTIAL}", cache)):
            old.unlink(missing_ok=True)
    return path


def _from_parquet(path: Path, date: str) -> DayTable:
    table = read_file(path, date)
    release_memory()
    if path.name.endswith(PARTIAL):
        table = replace(table, complete=False)
    return table if table.complete else replace(table, warnings=(*table.warnings, incomplete_warning(path, table)))


def _neighbour_stamps(path: Path, date: str) -> list[list[int]]:
    return [fingerprint(neighbour) for neighbour in neighbour_paths(path, date)]


def _to_copy(copy: Path, stamp: list[int], path: Path, table: DayTable) -> None:
    info = {
        "date": table.date,
        "bar_seconds": table.bar_seconds,
        "signals": list(table.signals),
        "assets": table.assets,
        "metadata": asdict(table.metadata),
        "complete": table.complete,
        "warnings": table.warnings,
        "neighbours": None if table.complete else _neighbour_stamps(path, table.date),
    }
    arrays: dict[str, npt.NDArray[Any]] = {"signals": np.array(list(table.signals.values())), "closes": table.closes}
    arrays |= {name: values for name, values in (("ts", table.ts), ("scan_number", table.scan_number)) if values is not None}
    write_sidecar(copy, stamp, info, arrays)


def _from_copy(copy: Path, stamp: list[int], path: Path) -> DayTable | None:
    found = read_sidecar(copy, stamp)
    if found is None:
        return None
    info, arrays = found
    if info["neighbours"] is not None and info["neighbours"] != _neighbour_stamps(path, info["date"]):
        return None
    facts = info["metadata"]
    return DayTable(
        date=info["date"],
        bar_seconds=info["bar_seconds"],
        ts=arrays.get("ts"),
        signals=dict(zip(info["signals"], arrays["signals"], strict=True)),
        assets=tuple(info["assets"]),
        closes=arrays["closes"],
        scan_number=arrays.get("scan_number"),
        metadata=DayMetadata(facts["path"], facts["settings_hash"], tuple(Source(**s) for s in facts["sources"])),
        complete=info["complete"],
        warnings=tuple(info["warnings"]),
    )


def _select(table: DayTable, columns: Sequence[str]) -> DayTable:
    place = {name: i for i, name in enumerate(table.assets)}
    closes = np.full((len(table.closes), len(columns)), np.nan)
    have = [(i, place[name]) for i, name in enumerate(columns) if name in place]
    closes[:, [i for i, _ in have]] = table.closes[:, [j for _, j in have]]
    return replace(table, assets=tuple(columns), closes=closes)


def _read_only(table: DayTable) -> DayTable:
    for values in (table.ts, table.scan_number, table.closes, *table.signals.values()):
        if values is not None:
            values.setflags(write=False)
    return table
