"""Looking into the journals of a folder: newest records, verdicts, export."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dolphin.errors import ConfigError, DataError
from dolphin.storage.journal import JournalReader, Kind, Record, Verdict, journal_files, journal_path
from dolphin.storage.journal_records import FIELDS
from dolphin.storage.journal_verify import verify_files
from dolphin.storage.parquet import write_parquet
from dolphin.storage.publish import publish
from dolphin.storage.schema import date_of, is_date
from flows.journal_columns import RecordColumns

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


def export_records(folder: Path, lane: str, kind: str, date: str, out: Path) -> dict[str, int]:
    """Write the records of the chosen journals, of ``date`` alone unless it is empty; how many by file.

    ``out`` a ``.parquet``: one file, the payload as JSON, or as columns when one ``kind`` is chosen. Otherwise ``out`` is a folder that
    gets ``KIND.parquet`` with columns for every kind there is. Raises ``DataError`` when there are no such records.
    """
    wanted = _kind(kind)
    if date and not is_date(date):
        raise ConfigError(f"--date {date!r}: expected YYYY-MM-DD")
    tables = _tables(folder, lane, wanted, date) if wanted or out.suffix != ".parquet" else _whole(folder, lane, date)
    if not tables:
        raise DataError("there is no such record", path=folder, hint="`dolphin journal show` lists what there is")
    if out.suffix != ".parquet":
        out.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for name in list(tables):
        file = out if out.suffix == ".parquet" else out / f"{name}.parquet"
        columns = tables.pop(name).arrays()
        with publish(file) as temporary:
            write_parquet(temporary, columns, {"schema": "dolphin.journal/1", "kind": name})
        written[str(file)] = len(columns["seq"])
    return written


def _tables(folder: Path, lane: str, wanted: Kind | None, date: str) -> dict[str, RecordColumns]:
    tables: dict[str, RecordColumns] = {}
    for path in _journals(folder, lane):
        with JournalReader(path) as journal:
            universes = [(r.seq, r.payload["assets"]) for r in journal.records(Kind.UNIVERSE)]
            for record in _of_day(journal.records(wanted), date):
                assets = next((names for seq, names in reversed(universes) if seq < record.seq), [])
                tables.setdefault(record.kind, RecordColumns()).add(record, assets)
    return tables


def _whole(folder: Path, lane: str, date: str) -> dict[str, RecordColumns]:
    table = RecordColumns()
    for path in _journals(folder, lane):
        with JournalReader(path) as journal:
            for record in _of_day(journal.records(), date):
                table.add_whole(record)
    return {"": table} if table.rows else {}


def _of_day(records: Iterable[Record], date: str) -> Iterator[Record]:
    """Records of a UTC day: what a payload says of its date counts, otherwise when it was written."""
    for record in records:
        if not date or (record.payload.get("date") or date_of(record.ts_ms)) == date:
            yield record


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
