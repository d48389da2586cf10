"""The journal's appends against what promises less: JSON lines with one fsync a record, and plain SQLite inserts (WAL, FULL, no chain)."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

from table import Row, best_of, emit, row

from dolphin.storage.journal import Entry, Journal, Kind, journal_path

COUNT = 200
NOW = 1_735_689_600_000
SNAPSHOT = bytes(range(256)) * 625


def bar(number: int) -> dict[str, object]:
    """A decision of ordinary size."""
    entry = {"asset": "SOLUSDT", "price": 143.21 + number, "leverage": 2.5, "fraction": 0.2, "bucket": 1, "irp_alignment": 0.61}
    facts = {"date": "2025-01-02", "bar": number, "vel_div": -0.0312345678901234, "v50": -0.0298765432109876, "v750": 0.0013580246791358}
    rest = {"posture": "APEX", "boost": 1.3465735902799727, "beta": 0.8, "exit": None, "refusals": ["NO_SIGNAL"], "capital": 25_123.456789}
    return {**facts, **rest, "entry": entry}


def in_turn(*works: Callable[[], object]) -> list[float]:
    """Least seconds an append of each, taken in turn: other users of the disk then disturb all alike."""
    return [min(times) / COUNT for times in zip(*([best_of(work, 1) for work in works] for _ in range(5)), strict=True)]


def main() -> list[Row]:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        plain = sqlite3.connect(folder / "plain.sqlite", isolation_level=None)
        plain.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE record (seq INTEGER PRIMARY KEY, payload TEXT)")
        lines = os.open(folder / "lines.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def json_lines() -> None:
            for number in range(COUNT):
                os.write(lines, json.dumps(bar(number)).encode() + b"\n")
                os.fsync(lines)

        def inserts() -> None:
            for number in range(COUNT):
                plain.execute("INSERT INTO record (payload) VALUES (?)", (json.dumps(bar(number)),))

        with Journal.open(journal_path(folder, "BLUE"), "BLUE") as journal:
            ours, peer, lower = in_turn(lambda: [journal.append(Kind.BAR, bar(n), NOW) for n in range(COUNT)], json_lines, inserts)
            entries = [Entry(Kind.BAR, bar(n), NOW) for n in range(3)]
            three = best_of(lambda: [journal.append_many(entries) for _ in range(COUNT)]) / COUNT
            journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            size = (folder / "BLUE.sqlite").stat().st_size / journal.head()[0]
            snap = {"date": "2025-01-02", "bar": 1}
            saved = best_of(lambda: [journal.append(Kind.SNAPSHOT, snap, NOW, attachment=SNAPSHOT) for _ in range(20)]) / 20
            proven = best_of(journal.verify, 3) / journal.head()[0]
        os.close(lines)
        plain.close()
        day = f"{size:.0f} bytes a record on disk: {size * 17_280 / 1e6:.1f} MB a day at 5 s, {size * 1440 / 1e6:.2f} MB at 60 s"
        return [
            row("journal: one bar record, on the disk", ours, peer, 3.0, 1.5, f"{1 / ours:.0f}/s; peer JSON lines + fsync; {day}"),
            row("journal: one bar record, on the disk", ours, lower, 3.0, 1.5, "peer SQLite insert, WAL, synchronous FULL"),
            row("journal: three records, one transaction", three, None, None, None, f"{3 / three:.0f} records/s"),
            row("journal: engine snapshot of 160 kB", saved, None, None, None, "with digest; the newest three are kept"),
            row("journal: verify, a record", proven, None, None, None, f"{1 / proven:.0f} records/s: every hash recomputed"),
        ]


if __name__ == "__main__":
    emit(main())
