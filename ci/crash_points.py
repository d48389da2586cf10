"""A process that dies at a chosen durable step, and what it finds when it comes back: the scanner's journal, as far as it had got."""

from __future__ import annotations

from dolphin.storage.journal import Journal, Kind

__all__ = ["Pulled", "copy_scans", "crash_at"]


class Pulled(BaseException):
    """kill -9 at this very statement."""


def crash_at(service, step, *, after):
    """Let the journal's ``step``-th commit be the last thing that happens: just before it, or just after."""
    journal, count = service.context.journal, [0]
    append = journal.append_many

    def counted(entries):
        count[0] += 1
        if count[0] == step and not after:
            raise Pulled
        seqs = append(entries)
        if count[0] == step:
            raise Pulled
        return seqs

    journal.append_many = counted


def copy_scans(calm, folder, days=1):
    """The scanner's journal up to the end of a day: the same records, hence the same hashes."""
    with Journal.open(folder / "scanner.sqlite", "scanner") as copy:
        scanner = next(r.service for r in calm.runners if r.service.name == "scanner")
        for record in scanner.context.journal.records():
            days -= copy.append(Kind(record.kind), record.payload, record.ts_ms) > 0 and record.kind == Kind.DAY_TABLE
            if not days:
                break
