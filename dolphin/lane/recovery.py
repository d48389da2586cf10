"""How a lane comes back: its newest snapshot, then the bars behind it once more, each with the inputs that its journal says it had.

The records that this gives must be those of the journal, snapshots bit for bit. If they are not, something outside the journal has decided
before, or the program decides otherwise now: the lane goes on from what it has computed, with a new snapshot, but in safe mode.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from dolphin.errors import MalformedFile, QualityError
from dolphin.lane.inputs import Inputs
from dolphin.lane.lane import Lane
from dolphin.lane.scan_log import DayEnd, ScanLog, Scanned, Universe
from dolphin.storage.journal import Entry, JournalReader, Kind, Record
from dolphin.storage.journal_records import canonical

__all__ = ["Recovery", "recover"]

KINDS = (Kind.BAR, Kind.TRADE, Kind.DAY_RESULT, Kind.SNAPSHOT, Kind.DAY_SNAPSHOT)
SNAPSHOTS = 3
"""Newest snapshots that the journal keeps bytes of."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class Recovery:
    """``from_seq``: record of the snapshot; ``bars`` that were processed again; ``broken``: first difference, empty when all is as it was;
    ``inputs`` of the last bar, None when there was none behind the snapshot."""

    from_seq: int
    bars: int
    broken: str
    inputs: Inputs | None


def recover(lane: Lane, journal: JournalReader, log: ScanLog) -> Recovery | None:
    """Bring a new ``lane`` to where ``journal`` ends, and ``log`` with it. None when the lane has no past.

    Raises ``MalformedFile`` when no snapshot can be read, ``QualityError`` when the scanner's journal is not the one that was read.
    """
    if journal.last(Kind.SNAPSHOT) is None:
        return None
    start = _restored(lane, journal)
    past = [record for record in journal.records(after=start) if record.kind in KINDS]
    log.seq = lane.seq
    own: dict[str, Any] = {"scan_seq": lane.seq, "scan_hash": lane.hash}
    place = next((r.payload for r in reversed(past) if "scan_seq" in r.payload), own)
    end = int(place["scan_seq"])
    if end and log.hash_of(end) != place["scan_hash"]:
        why = f"record {end} of the scanner is not the one that this lane has read"
        raise QualityError(why, path=journal.path, hint="both journals belong together: bring back the scanner's, or start both anew")
    told = {r.payload["scan_seq"]: msgspec.convert(r.payload["told"], Inputs) for r in past if r.kind == Kind.BAR}
    made: list[Entry] = []
    while log.seq < end:
        for scanned in log.take(PAGE, end):
            made += _again(lane, scanned, told)
    return Recovery(start, len(told), _difference(past, made), next(reversed(told.values()), None))


def _restored(lane: Lane, journal: JournalReader) -> int:
    """Restore the newest snapshot that is whole; its seq."""
    found = [record for kind in (Kind.SNAPSHOT, Kind.DAY_SNAPSHOT) for record in journal.tail(SNAPSHOTS, kind)]
    for record in sorted(found, key=lambda record: -record.seq):
        try:
            lane.restore(record.payload, journal.attachment(record.seq))
        except MalformedFile:
            continue
        return record.seq
    raise MalformedFile("none of the newest snapshots can be read", path=journal.path, hint="`dolphin journal verify`; keep the file")


def _again(lane: Lane, scanned: Scanned, told: dict[int, Inputs]) -> list[Entry]:
    if isinstance(scanned, Universe):
        lane.set_universe(scanned)
        return []
    if isinstance(scanned, DayEnd):
        return lane.end_day(scanned)
    inputs = told.get(scanned.seq)
    if inputs is not None:
        return lane.take(scanned, inputs)
    if lane.wants(scanned):
        raise QualityError(f"bar {scanned.bar} of {scanned.date} (the scanner's record {scanned.seq}) has no record in the lane's journal")
    return lane.drop(scanned)


def _difference(past: list[Record], made: list[Entry]) -> str:
    """The first record that is not what it was."""
    for record, entry in zip(past, made, strict=False):
        again: Any = json.loads(canonical(entry))
        if (record.kind, record.payload) != (str(entry.kind), again):
            names = [name for name in record.payload if record.payload[name] != again.get(name)]
            return f"record {record.seq} ({record.kind}) comes out otherwise: {', '.join(names) or entry.kind}"
    return "" if len(past) == len(made) else f"{len(past)} records in the journal, {len(made)} when processed again"
