"""Looking into the journals of a folder: newest records, verdicts, export."""

from __future__ import annotations

import heapq
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.errors import ConfigError, DataError
from dolphin.storage.journal import JournalReader, Kind, Record, Verdict, journal_files, journal_path
from dolphin.storage.journal_records import FIELDS
from dolphin.storage.journal_verify import verify_files
from dolphin.storage.parquet import write_parquet
from dolphin.storage.publish import publish

__all__ = ["export_records", "newest", "record_facts", "record_line", "verdicts"]

_WIDTH = 140


def newest(folder: Path, lane: str, kind: str, count: int) -> list[Record]:
    """The ``count`` newest records of the chosen journals, by time."""
    wanted, found = _kind(kind), []
    for path in _journals(folder, lane):
        with JournalReader(path) as journal:
            found += journal.tail(count, wanted)
    return heapq.nlargest(count, found, key=_moment)[::-1]


def verdicts(folder: Path, lane: str) -> list[Verdict]:
    """A verdict on each chosen journal; a journal is that of the writer whose name the file has."""
    return [verify_files(path, path.stem) for path in _journals(folder, lane)]


def export_records(folder: Path, lane: str, kind: str, out: Path) -> int:
    """Write the records of the chosen journals to ``out``; how many. Raises ``DataError`` when there are none."""
    wanted, records = _kind(kind), []
    for path in _journals(folder, lane):
        with JournalReader(path) as journal:
            records += list(journal.records(wanted))
    if not records:
        raise DataError("there is no such record", path=folder, hint="`dolphin journal show` lists what there is")
    each = np.arange(len(records), dtype=np.int32)
    columns: dict[str, Any] = {name: np.array([getattr(r, name) for r in records], dtype=np.int64) for name in ("seq", "ts_ms")}
    for name in ("writer", "kind"):
        names, codes = np.unique([getattr(r, name) for r in records], return_inverse=True)
        columns[name] = (codes.astype(np.int32), names.tolist())
    columns["payload"] = (each, [_json(r.payload) for r in records])
    columns |= {name: (each, [getattr(r, name) for r in records]) for name in ("prev_hash", "hash")}
    with publish(out) as temporary:
        write_parquet(temporary, columns, {"schema": "dolphin.journal/1"})
    return len(records)


def record_facts(record: Record) -> dict[str, Any]:
    """A record for JSON."""
    return {name: getattr(record, name) for name in ("seq", "ts_ms", "writer", "kind", "payload", "prev_hash", "hash")}


def record_line(record: Record) -> str:
    """A record for a person: time, place in its journal, and the beginning of its payload."""
    moment = datetime.fromtimestamp(record.ts_ms / 1000, UTC)
    names = dict.fromkeys([*FIELDS.get(Kind(record.kind), ()), *record.payload])
    told = ", ".join(f"{name} {_json(record.payload[name])}" for name in names if record.payload.get(name) not in (None, [], {}))
    return f"{moment:%Y-%m-%d %H:%M:%S} {record.writer:<16} {record.seq:>8} {record.kind:<14} {told}"[:_WIDTH]


def _journals(folder: Path, lane: str) -> list[Path]:
    if lane:
        path = journal_path(folder, lane)
        if not path.is_file():
            known = ", ".join(p.stem for p in journal_files(folder)) or "none"
            raise ConfigError(f"--lane {lane}: no journal {path}; there are: {known}")
        return [path]
    found = journal_files(folder)
    if not found:
        raise DataError(
            "there is no journal", path=folder, hint="a lane or service writes one when it runs; paths.journal names the folder"
        )
    return found


def _kind(name: str) -> Kind | None:
    if name and name not in list(Kind):
        raise ConfigError(f"--kind {name}: no such kind; one of {', '.join(Kind)}")
    return Kind(name) if name else None


def _moment(record: Record) -> tuple[int, str, int]:
    return record.ts_ms, record.writer, record.seq


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
