"""The proof that a journal is what was written: every hash recomputed, every sequence number there, the head where it should be.

It finds what accident or a careless hand does: an altered payload, an altered hash, a missing record, a cut tail, bytes beside a record
that are not its own. Whoever can rewrite the whole chain and its head can forge it; against that, note ``head()`` elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dolphin.errors import DataError, SchemaError
from dolphin.storage.journal_file import open_for_reading
from dolphin.storage.journal_records import chain, genesis

__all__ = ["Verdict", "verify_files"]

_ROWS = "SELECT seq, ts_ms, CAST(kind AS BLOB), CAST(payload AS BLOB), prev_hash, hash FROM record ORDER BY seq"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``broken_seq`` = first record that does not hold (None: all do, or the file itself is wrong); ``absent`` = segments moved away."""

    path: str
    writer: str
    records: int
    head_seq: int
    head_hash: str
    why: str = ""
    broken_seq: int | None = None
    absent: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that is there holds."""
        return not self.why

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, **asdict(self), "absent": list(self.absent)}

    def to_text(self) -> str:
        """One line."""
        place = "" if self.broken_seq is None else f"record {self.broken_seq}: "
        away = f"; not there, so not proven: {', '.join(self.absent)}" if self.absent else ""
        if self.ok:
            return f"{self.path}: whole, {self.records} records of {self.writer}, head {self.head_seq} {self.head_hash[:16]}{away}"
        return f"{self.path}: BROKEN, {place}{self.why}{away}"


class _Broken(Exception):
    """The first thing found."""

    def __init__(self, why: str, seq: int | None = None) -> None:
        super().__init__(why)
        self.why, self.seq = why, seq


@dataclass(slots=True)
class _Chain:
    """How far the proof has come."""

    writer: str
    seq: int = 0
    hash: bytes = b""
    records: int = 0


def verify_files(path: Path, writer: str) -> Verdict:
    """Verify the journal at ``path`` and its sealed segments. What is wrong with it is the verdict, nothing raises but

    ``SchemaError`` (of another version: neither whole nor broken) and ``Unavailable`` (it cannot be read now).
    """
    proof = _Chain(writer, 0, genesis(writer))
    absent: list[str] = []
    why, broken = "", None
    try:
        with closing(open_for_reading(path)) as db:
            db.execute("BEGIN")
            for name, first, last, last_hash in db.execute("SELECT name, first_seq, last_seq, last_hash FROM segment ORDER BY first_seq"):
                if not path.with_name(name).is_file():
                    absent.append(name)
                    proof.seq, proof.hash = last, last_hash
                    continue
                _verify_segment(path.with_name(name), proof, first, last, last_hash)
            _verify_file(db, proof)
    except _Broken as found:
        why, broken = found.why, found.seq
    except SchemaError:
        raise
    except (DataError, sqlite3.Error) as error:
        why, broken = f"cannot be read on: {error}", proof.seq + 1
    return Verdict(str(path), writer, proof.records, proof.seq, proof.hash.hex(), why, broken, tuple(absent))


def _verify_segment(path: Path, proof: _Chain, first: int, last: int, last_hash: bytes) -> None:
    if first != proof.seq + 1:
        raise _Broken(f"missing: the segment {path.name} begins at {first}", proof.seq + 1)
    with closing(open_for_reading(path)) as db:
        _verify_file(db, proof)
    if (proof.seq, proof.hash) != (last, last_hash):
        raise _Broken(f"the segment {path.name} ends at {proof.seq}, not in the record that the journal knows ({last})", proof.seq)


def _verify_file(db: sqlite3.Connection, proof: _Chain) -> None:
    """Everything in one file, from where the chain has come to the file's head."""
    (state,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if state != "ok":
        raise _Broken(f"the database is damaged ({state})")
    heads = db.execute("SELECT writer, base_seq, base_hash, seq, hash FROM head").fetchall()
    if len(heads) != 1 or heads[0][0] != proof.writer:
        raise _Broken(f"the head is not that of {proof.writer}")
    _, base_seq, base_hash, head_seq, head_hash = heads[0]
    if (base_seq, base_hash) != (proof.seq, proof.hash):
        raise _Broken(f"the file begins behind record {base_seq}, the chain before it ends with {proof.seq}", proof.seq + 1)
    rows = db.execute(_ROWS)
    for row, following in _pairs(rows):
        _verify_row(row, following, proof)
    if head_seq != proof.seq:
        lost = f"the tail is cut: the head says {head_seq}" if head_seq > proof.seq else f"is newer than the head ({head_seq})"
        raise _Broken(lost, proof.seq + 1 if head_seq > proof.seq else head_seq + 1)
    if head_hash != proof.hash:
        raise _Broken("its hash is not the head's", proof.seq)
    _verify_attachments(db)


def _verify_row(row: Any, following: Any | None, proof: _Chain) -> None:
    seq, ts_ms, kind, payload, prev_hash, digest = row
    if seq != proof.seq + 1:
        raise _Broken(f"missing: {seq} comes next", proof.seq + 1)
    computed = chain(proof.hash, seq, ts_ms, proof.writer, kind.decode(errors="replace"), payload)
    if prev_hash != proof.hash:
        raise _Broken("its link to the record before is altered", seq)
    if digest != computed:
        links_on = following is not None and following[4] == computed
        raise _Broken("its hash is altered" if links_on else "its time, kind or payload is altered", seq)
    proof.seq, proof.hash, proof.records = seq, digest, proof.records + 1


def _verify_attachments(db: sqlite3.Connection) -> None:
    query = "SELECT a.seq, a.bytes, r.payload FROM attachment a JOIN record r ON r.seq = a.seq"
    for seq, data, payload in db.execute(query):
        if hashlib.sha256(data).hexdigest() != json.loads(payload).get("attachment", {}).get("sha256"):
            raise _Broken("its attachment is not the one that was written", seq)


def _pairs(rows: Iterator[Any]) -> Iterator[tuple[Any, Any | None]]:
    """Each row with the one behind it."""
    current = next(rows, None)
    while current is not None:
        following = next(rows, None)
        yield current, following
        current = following
