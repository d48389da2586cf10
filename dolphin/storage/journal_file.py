"""The journal's SQLite file: tables, how it is opened, and SQLite's errors as ours.

WAL with ``synchronous=FULL``: a commit returns after its log frames are on the disk, so what was acknowledged survives a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from dolphin.errors import DolphinError, MalformedFile, QualityError, SchemaError, Unavailable
from dolphin.storage.journal_records import SCHEMA, genesis
from dolphin.storage.publish import sync_folder

__all__ = ["open_for_reading", "open_for_writing", "refusing"]

APPLICATION_ID: Final = int.from_bytes(b"DOLJ")
BUSY_SECONDS: Final = 5.0

_TABLES = """
CREATE TABLE record (
  seq INTEGER PRIMARY KEY, ts_ms INTEGER NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL,
  prev_hash BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE INDEX record_of_kind ON record (kind, seq);
CREATE TABLE head (
  one INTEGER PRIMARY KEY CHECK (one = 1), writer TEXT NOT NULL,
  base_seq INTEGER NOT NULL, base_hash BLOB NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE segment (
  first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, last_hash BLOB NOT NULL, name TEXT NOT NULL) STRICT;
CREATE TABLE outbox (
  target TEXT NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, published INTEGER NOT NULL,
  PRIMARY KEY (target, key)) STRICT, WITHOUT ROWID;
CREATE TABLE attachment (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, bytes BLOB NOT NULL) STRICT;
"""

_UNAVAILABLE = {
    sqlite3.SQLITE_FULL: "the disk is full; the last append was not written: free space, then start again",
    sqlite3.SQLITE_READONLY: "cannot be written: make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: the file or its folder is absent or not accessible",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
    sqlite3.SQLITE_BUSY: "another program keeps it locked: close it (a database browser?), then try again",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked: close it, then try again",
    sqlite3.SQLITE_IOERR: "the disk refused to read or write; the last append was not acknowledged: look at the system log",
    sqlite3.SQLITE_CONSTRAINT: "somebody else has appended: only one writer may have it, and only through its lock",
}


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ``Unavailable`` (try again later) or ``MalformedFile`` (the file itself is wrong)."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(path, error) from error


def open_for_writing(path: Path, writer: str) -> sqlite3.Connection:
    """The journal at ``path``, made when absent.

    Raises ``MalformedFile``, ``SchemaError``, ``QualityError`` (another writer's) or ``Unavailable``.
    """
    with refusing(path), ExitStack() as undo:
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        undo.callback(db.close)
        fresh = _is_empty(db)
        if fresh:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        else:
            _check_schema(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")
        if fresh:
            _create(db, writer)
            sync_folder(path.parent)
        (owner,) = db.execute("SELECT writer FROM head").fetchone()
        if owner != writer:
            raise QualityError(f"is the journal of {owner}, not of {writer}", path=path, hint="one file a lane or service")
        undo.pop_all()
    return db


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Read-only, beside a living writer too. Raises ``Unavailable`` for no such file, ``MalformedFile``, ``SchemaError``."""
    if not path.is_file():
        raise Unavailable(f"{path}: there is no such journal")
    alone = not path.with_name(path.name + "-wal").exists()
    with refusing(path):
        try:
            return _opened(path, "mode=ro")
        except sqlite3.OperationalError:
            if not alone:
                raise
        return _opened(path, "mode=ro&immutable=1")  # a folder that cannot be written, and no writer: nothing can change


def _opened(path: Path, options: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{options}"
    with ExitStack() as undo:
        db = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        undo.callback(db.close)
        if _is_empty(db):
            raise MalformedFile("is empty, not a journal", path=path)
        _check_schema(db, path)
        undo.pop_all()
    return db


def _is_empty(db: sqlite3.Connection) -> bool:
    return bool(db.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])


def _create(db: sqlite3.Connection, writer: str) -> None:
    db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA};")
    start = genesis(writer)
    db.execute("INSERT INTO head VALUES (1, ?, 0, ?, 0, ?)", (writer, start, start))
    db.execute("COMMIT")


def _check_schema(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise MalformedFile("is a SQLite file of another program, not a journal", path=path, hint="name another file")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA:
        mend = "update dolphin" if version > SCHEMA else "read it with the version that wrote it"
        raise SchemaError(f"is a journal of schema {version}, this program knows {SCHEMA}", path=path, hint=mend)


def _translated(path: Path, error: sqlite3.Error) -> DolphinError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _UNAVAILABLE:
        return Unavailable(f"{path}: {_UNAVAILABLE[code]} ({error})")
    if isinstance(error, sqlite3.ProgrammingError):
        return Unavailable(f"{path}: the journal is closed ({error})")
    return MalformedFile(
        f"cannot be read as a journal: {error}", path=path, hint="keep the file; `dolphin journal verify` says how far it is whole"
    )
