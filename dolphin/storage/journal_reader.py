"""Reading a journal, beside a living writer too: records across sealed segments, the outbox, attachments, and the proof of the chain."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dolphin.errors import MalformedFile, Unavailable
from dolphin.storage.journal_file import open_for_reading, refusing
from dolphin.storage.journal_records import Kind, Publication, Record, checked_writer
from dolphin.storage.journal_verify import Verdict, verify_files

__all__ = ["SUFFIX", "JournalReader", "journal_files"]

SUFFIX = ".sqlite"
_PAGE = 500
_COLUMNS = "seq, ts_ms, kind, payload, prev_hash, hash"


class JournalReader:
    """A journal to look into. Safe for threads; each call sees what was committed when it began."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._db = open_for_reading(self.path)
        self.writer = self._written_by()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        with self._lock:
            self._db.close()

    def head(self) -> tuple[int, str]:
        """Newest seq (0: none) and its hash, hexadecimal: noted elsewhere, they prove later that nobody rewrote the whole chain."""
        seq, digest = self._rows("SELECT seq, hash FROM head")[0]
        return seq, digest.hex()

    def records(self, kind: Kind | None = None, after: int = 0) -> Iterator[Record]:
        """Records with ``seq > after``, oldest first, read in pages: memory stays flat, the writer never waits.

        Raises ``MalformedFile`` when a sealed segment that holds some of them is not there.
        """
        while True:
            rows, reached = self._page(kind, after)
            yield from rows
            if reached <= after:
                return
            after = reached

    def tail(self, count: int, kind: Kind | None = None) -> list[Record]:
        """The newest ``count`` records, oldest first."""
        where, values = ("WHERE kind = ?", (kind,)) if kind is not None else ("", ())
        query = f"SELECT {_COLUMNS} FROM record {where} ORDER BY seq DESC LIMIT ?"
        with self._lock, self._snapshot():
            rows = self._rows(query, (*values, count))
            for (name,) in self._rows("SELECT name FROM segment ORDER BY first_seq DESC"):
                if len(rows) >= count:
                    break
                rows += self._segment_rows(name, query, (*values, count - len(rows)))
        return [self._record(row) for row in reversed(rows)]

    def last(self, kind: Kind) -> Record | None:
        """The newest record of a kind."""
        found = self.tail(1, kind)
        return found[0] if found else None

    def attachment(self, seq: int) -> bytes:
        """Bytes beside record ``seq``. Raises ``MalformedFile`` when they were pruned or are not those of its digest."""
        rows = self._rows("SELECT bytes FROM attachment WHERE seq = ?", (seq,))
        record = next(iter(self._page(None, seq - 1, 1)[0]), None)
        if not rows or record is None:
            raise MalformedFile(f"record {seq} has no attachment (only the newest of a kind are kept)", path=self.path)
        if hashlib.sha256(rows[0][0]).hexdigest() != record.payload.get("attachment", {}).get("sha256"):
            raise MalformedFile(f"the attachment of record {seq} is not the one that was written", path=self.path)
        return bytes(rows[0][0])

    def unpublished(self, target: str) -> list[Publication]:
        """What ``target`` has not acknowledged, oldest first: of each key only the newest record, older ones are superseded."""
        with self._lock, self._snapshot():
            due = self._rows("SELECT seq, key FROM outbox WHERE target = ? AND published = 0 ORDER BY seq", (target,))
            return [Publication(seq, target, key, self._page(None, seq - 1, 1)[0][0]) for seq, key in due]

    def verify(self) -> Verdict:
        """Prove the chain of segments and journal, the head and the attachments."""
        return verify_files(self.path, self.writer)

    def _written_by(self) -> str:
        with ExitStack() as undo:
            undo.callback(self._db.close)
            rows = self._rows("SELECT writer FROM head")
            name = checked_writer(rows[0][0] if rows else "")
            undo.pop_all()
        return name

    def _page(self, kind: Kind | None, after: int, size: int = _PAGE) -> tuple[list[Record], int]:
        """Up to ``size`` records behind ``after``, and how far the search has come (``after`` itself: to the end)."""
        where, values = ("AND kind = ?", (kind,)) if kind is not None else ("", ())
        query = f"SELECT {_COLUMNS} FROM record WHERE seq > ? {where} ORDER BY seq LIMIT {size}"
        with self._lock, self._snapshot():
            sealed = self._rows("SELECT name, last_seq FROM segment WHERE last_seq > ? ORDER BY first_seq LIMIT 1", (after,))
            if sealed:
                rows = self._segment_rows(sealed[0][0], query, (after, *values))
                reached = rows[-1][0] if len(rows) == size else sealed[0][1]
            else:
                rows = self._rows(query, (after, *values))
                reached = rows[-1][0] if rows else after
        return [self._record(row) for row in rows], reached

    def _snapshot(self) -> _ReadTransaction:
        return _ReadTransaction(self._db, self.path)

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock, refusing(self.path):
            return self._db.execute(query, values).fetchall()

    def _segment_rows(self, name: str, query: str, values: tuple[Any, ...]) -> list[Any]:
        path = self.path.with_name(name)
        try:
            db = open_for_reading(path)
        except Unavailable as error:
            raise MalformedFile(
                "the sealed segment is not there", path=path, hint="bring it back, or read after its last record"
            ) from error
        with closing(db), refusing(path):
            return db.execute(query, values).fetchall()

    def _record(self, row: Any) -> Record:
        seq, ts_ms, kind, payload, prev_hash, digest = row
        try:
            values = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise MalformedFile(f"record {seq} is no JSON", path=self.path, hint="`dolphin journal verify`") from error
        return Record(seq, ts_ms, self.writer, kind, values, prev_hash.hex(), digest.hex())


class _ReadTransaction:
    """One consistent view for several queries; nested in another (or in a writer's transaction) it does nothing."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self._path, self._own = db, path, False

    def __enter__(self) -> None:
        with refusing(self._path):
            self._own = not self._db.in_transaction
            if self._own:
                self._db.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        if self._own and self._db.in_transaction:
            with refusing(self._path):
                self._db.execute("COMMIT")


def journal_files(folder: Path) -> list[Path]:
    """Journals in a folder, by name; sealed segments belong to theirs."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file())
