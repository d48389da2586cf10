"""The journal of a lane or service: the durable truth. Write here first, publish second, publish again after a reconnect.

One SQLite file a writer, append-only, each record chained to the one before by sha256 (``journal_records``), one writing process by a
lock. What ``append`` has returned survives kill -9 and a power cut; what it has not, is wholly there or wholly absent.

Growth: a bar takes about 0.5 kB, so a lane at 5 s writes about 8 MB a day and one at 60 s below 1 MB (ci/bench/bench_journal.py).
``rotate`` (call it at the end of a day or week) moves all records into a sealed, read-only file beside; reading and ``verify`` go
through sealed files as if nothing had happened, and those that were moved away are named, not missed. Of attachments the newest few of
a kind are kept.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dolphin.errors import Unavailable
from dolphin.storage.journal_file import open_for_writing, refusing
from dolphin.storage.journal_reader import SUFFIX, JournalReader, journal_files
from dolphin.storage.journal_records import Entry, Kind, Publication, Record, canonical, chain, checked_writer
from dolphin.storage.journal_verify import Verdict
from dolphin.storage.lock import FileLock
from dolphin.storage.publish import publish as published_file

__all__ = ["Entry", "Journal", "JournalReader", "Kind", "Publication", "Record", "Verdict", "journal_files", "journal_path"]


def journal_path(folder: Path | str, writer: str) -> Path:
    """Where the journal of a lane or service lies: ``<folder>/<writer>.sqlite``."""
    return Path(folder) / f"{checked_writer(writer)}{SUFFIX}"


class Journal(JournalReader):
    """A journal to write. Use as a context manager, or ``close``. Safe for threads: appends follow each other."""

    def __init__(self, path: Path | str, writer: str, *, keep_attachments: int = 3) -> None:
        self.path, self.writer = Path(path), checked_writer(writer)
        self._keep = keep_attachments
        self._lock = threading.RLock()
        with ExitStack() as undo:
            self._held = FileLock(self.path.with_name(self.path.name + ".lock"), self.writer)
            undo.callback(self._held.release)
            self._db = open_for_writing(self.path, self.writer)
            undo.callback(self._db.close)
            self._seq, self._hash = self._rows("SELECT seq, hash FROM head")[0]
            undo.pop_all()

    @classmethod
    def open(cls, path: Path | str, writer: str, *, keep_attachments: int = 3) -> Journal:
        """The journal at ``path``, made when absent; ``keep_attachments`` newest of each kind stay.

        Raises ``Unavailable`` (another process writes it, disk full, read-only), ``MalformedFile`` (not a journal), ``SchemaError``
        (of another version), ``QualityError`` (of another writer). Nothing of an existing file is changed when it raises.
        """
        return cls(path, writer, keep_attachments=keep_attachments)

    def close(self) -> None:
        """Let go of file and lock."""
        super().close()
        self._held.release()

    def append(
        self,
        kind: Kind,
        payload: Mapping[str, Any],
        ts_ms: int,
        *,
        publish: Mapping[str, str] | None = None,
        attachment: bytes | None = None,
    ) -> int:
        """Write one record and return its seq when it is on the disk. See ``append_many``."""
        return self.append_many([Entry(kind, payload, ts_ms, publish or {}, attachment)])[0]

    def append_many(self, entries: Sequence[Entry]) -> list[int]:
        """Write records in one transaction, all or none, one fsync; their seqs, when they are on the disk.

        Raises ``QualityError`` for a payload that is not of its kind, ``Unavailable`` when the disk refuses: then nothing was written,
        and the journal can be used again once the disk can.
        """
        texts = [canonical(entry) for entry in entries]
        with self._lock, self._transaction():
            seq, digest = self._write(entries, texts)
        first, self._seq, self._hash = self._seq + 1, seq, digest
        return list(range(first, seq + 1))

    def mark_published(self, seq: int, target: str) -> None:
        """``target`` has acknowledged record ``seq``. A newer record of the same key stays due."""
        with self._lock, self._transaction():
            self._db.execute("UPDATE outbox SET published = 1 WHERE target = ? AND seq = ?", (target, seq))

    def republish(self, target: str) -> int:
        """``target`` came back empty: the newest record of every key is due again. Returns how many."""
        with self._lock, self._transaction():
            return self._db.execute("UPDATE outbox SET published = 0 WHERE target = ?", (target,)).rowcount

    def rotate(self, ts_ms: int) -> Path | None:
        """Move all records into a sealed file ``<writer>.<first>-<last>.sealed`` beside, and return it; None when there are none.

        The sealed file is complete on the disk before the records leave the journal; interrupted at any point, nothing is lost.
        """
        with self._lock:
            (base,) = self._rows("SELECT base_seq FROM head")[0]
            if self._seq == base:
                return None
            sealed = self.path.with_name(f"{self.path.stem}.{base + 1:012d}-{self._seq:012d}.sealed")
            with refusing(self.path), published_file(sealed) as temporary:
                temporary.unlink(missing_ok=True)
                self._db.execute("VACUUM INTO ?", (str(temporary),))
            facts = {"segment": sealed.name, "first_seq": base + 1, "last_seq": self._seq, "last_hash": self._hash.hex()}
            entry = Entry(Kind.ROTATED, facts, ts_ms)
            with self._transaction():
                self._db.execute("DELETE FROM record")
                self._db.execute("INSERT INTO segment VALUES (?, ?, ?, ?)", (base + 1, self._seq, self._hash, sealed.name))
                self._db.execute("UPDATE head SET base_seq = seq, base_hash = hash")
                seq, digest = self._write([entry], [canonical(entry)])
            self._seq, self._hash = seq, digest
            self._tidy(sealed, base + 1)
        return sealed

    def _tidy(self, sealed: Path, first: int) -> None:
        """Give the space back, and drop what an interrupted rotation left: shorter copies of the same beginning."""
        with refusing(self.path):
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        for leftover in self.path.parent.glob(f"{self.path.stem}.{first:012d}-*.sealed"):
            if leftover != sealed:
                leftover.unlink()

    def _write(self, entries: Sequence[Entry], texts: Sequence[str]) -> tuple[int, bytes]:
        """Insert behind the head, inside a transaction; the new head."""
        seq, digest, rows = self._seq, self._hash, []
        for entry, text in zip(entries, texts, strict=True):
            before, seq = digest, seq + 1
            digest = chain(before, seq, entry.ts_ms, self.writer, entry.kind, text.encode())
            rows.append((seq, entry.ts_ms, str(entry.kind), text, before, digest))
        self._db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", rows)
        for (number, *_), entry in zip(rows, entries, strict=True):
            self._attach(number, entry)
            due = [(target, key, number) for target, key in entry.publish.items()]
            self._db.executemany("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, 0)", due)
        moved = self._db.execute("UPDATE head SET seq = ?, hash = ? WHERE seq = ? AND hash = ?", (seq, digest, self._seq, self._hash))
        if moved.rowcount != 1:
            raise Unavailable(f"{self.path}: somebody else has appended; only one writer may have it, and only through its lock")
        return seq, digest

    def _attach(self, seq: int, entry: Entry) -> None:
        if entry.attachment is None:
            return
        kind = str(entry.kind)
        self._db.execute("INSERT INTO attachment VALUES (?, ?, ?)", (seq, kind, entry.attachment))
        newest = "SELECT seq FROM attachment WHERE kind = ? ORDER BY seq DESC LIMIT ?"
        self._db.execute(f"DELETE FROM attachment WHERE kind = ? AND seq NOT IN ({newest})", (kind, kind, self._keep))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with refusing(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._rollback()

    def _rollback(self) -> None:
        try:
            self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise Unavailable(f"{self.path}: an append failed and could not be undone ({error}); stop, and verify the journal") from error
