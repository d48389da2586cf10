"""How a lane comes back: its newest snapshot, then the bars behind it once more, each with the inputs that its journal says it had.

A snapshot is taken when the venue is flat, so everything that happened since (decisions, orders, fills) comes out of the same bars again,
the very same. The records that this gives must be those of the journal, snapshots bit for bit; what a crash kept from the journal is
written now. If they differ, something outside the journal has decided before, or the program decides otherwise now: the lane goes on from
what it has computed, but in safe mode.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dolphin.errors import MalformedFile, QualityError
from dolphin.lane.inputs import Inputs
from dolphin.lane.scan_log import DayEnd, ScanLog, Scanned, ScannedBar, Universe
from dolphin.lane.venue import NoVenue, Venue
from dolphin.storage.journal import Entry, JournalReader, Kind, Record
from dolphin.storage.journal_records import canonical

__all__ = ["FLATTEN", "Recovery", "advance", "recover", "rested"]

ORDERS = (Kind.ORDER_INTENT, Kind.ORDER_EVENT, Kind.SETTLEMENT, Kind.SNAPSHOT)
"""What follows from a decision, and may be missing behind the last one when a crash came between."""
DECISIONS = (Kind.BAR, Kind.TRADE, Kind.DAY_RESULT, Kind.DAY_SNAPSHOT)
KINDS = (*DECISIONS, *ORDERS)
FLATTEN = "FLATTEN"
"""Reason of an order that nobody but the operator wanted."""
SNAPSHOTS = 3
"""Newest snapshots that the journal keeps bytes of."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class Recovery:
    """``from_seq``: record of the snapshot; ``bars`` that were processed again; ``broken``: first difference, empty when all is as it was;
    ``inputs`` of the last bar, None when there was none behind the snapshot; ``missing``: records that are to be written now."""

    from_seq: int
    bars: int
    broken: str
    inputs: Inputs | None
    missing: list[Entry] = field(default_factory=list)


def advance(venue: Venue, scanned: Scanned, read: Callable[[ScannedBar], Inputs]) -> None:
    """One record of the scanner through lane and venue; ``read`` says what the lane is told on a bar that it wants."""
    lane, records = venue.lane, venue.records
    if isinstance(scanned, Universe):
        lane.set_universe(scanned)
    elif isinstance(scanned, DayEnd):
        records.add(*lane.end_day(scanned))
        if lane.closed:
            venue.leave()
    elif lane.wants(scanned):
        venue.bar(scanned, read(scanned))
    else:
        lane.drop(scanned)


def rested(venue: Venue) -> Entry | None:
    """The snapshot that is due, as soon as nothing is held or under way."""
    return venue.lane.snapshot(venue=venue.state()) if venue.lane.due and venue.flat else None


def recover(venue: Venue, journal: JournalReader, log: ScanLog) -> Recovery | None:
    """Bring a new ``venue`` with its lane to where ``journal`` ends, and ``log`` with it. None when the lane has no past.

    At a venue whose fills nobody can repeat the lane alone decides again; then the venue is opened, told ``orders``: ids of those that
    were sent since the snapshot, and makes of what it finds there what it can.

    Raises ``MalformedFile`` when no snapshot can be read, ``QualityError`` when the scanner's journal is not the one that was read.
    """
    if journal.last(Kind.SNAPSHOT) is None:
        return None
    again, kinds = (venue, KINDS) if venue.repeatable else (NoVenue(venue.lane, venue.records), DECISIONS)
    lane, start = venue.lane, _restored(again, journal)
    since = list(journal.records(after=start))
    past = [record for record in since if record.kind in kinds]
    log.seq = lane.seq
    own: dict[str, Any] = {"scan_seq": lane.seq, "scan_hash": lane.hash}
    place = next((r.payload for r in reversed(past) if "scan_seq" in r.payload), own)
    end = int(place["scan_seq"])
    if end and log.hash_of(end) != place["scan_hash"]:
        why = f"record {end} of the scanner is not the one that this lane has read"
        raise QualityError(why, path=journal.path, hint="both journals belong together: bring back the scanner's, or start both anew")
    told = {r.payload["scan_seq"]: msgspec.convert(r.payload["told"], Inputs) for r in past if r.kind == Kind.BAR}
    made = [entry for entry in _again(again, log, end, past, told) if entry.kind in kinds]
    broken = _difference(past, made)
    missing = [] if broken else made[len(past) :]
    if again is not venue:
        venue.open({"orders": [record.payload["client_order_id"] for record in since if record.kind == Kind.ORDER_INTENT]})
    return Recovery(start, len(told), broken, next(reversed(told.values()), None), missing)


def _restored(venue: Venue, journal: JournalReader) -> int:
    """Restore the newest snapshot that is whole; its seq."""
    for record in reversed(journal.tail(SNAPSHOTS, Kind.SNAPSHOT)):
        try:
            venue.lane.restore(record.payload, journal.attachment(record.seq))
        except MalformedFile:
            continue
        venue.open(record.payload.get("venue", {}))
        return record.seq
    raise MalformedFile("none of the newest snapshots can be read", path=journal.path, hint="`dolphin journal verify`; keep the file")


def _again(venue: Venue, log: ScanLog, end: int, past: list[Record], told: dict[int, Inputs]) -> list[Entry]:
    """The records of all bars up to the scanner's record ``end``, made again."""
    made: list[Entry] = []
    records = venue.records
    write, records.write = records.write, made.extend

    def read(bar: ScannedBar) -> Inputs:
        if bar.seq not in told:
            raise QualityError(f"bar {bar.bar} of {bar.date} (the scanner's record {bar.seq}) has no record in the lane's journal")
        return told[bar.seq]

    while log.seq < end:
        for scanned in log.take(PAGE, end):
            advance(venue, scanned, read)
            records.flush()
            if (snapshot := rested(venue)) is not None:
                made.append(snapshot)
            following = past[len(made)] if len(made) < len(past) else None
            if following is not None and following.kind == Kind.ORDER_INTENT and following.payload["reason"] == FLATTEN:
                venue.flatten()
                records.flush()
    records.write = write
    return made


def _difference(past: list[Record], made: list[Entry]) -> str:
    """The first record that is not what it was."""
    for record, entry in zip(past, made, strict=False):
        again: Any = json.loads(canonical(entry))
        if (record.kind, record.payload) != (str(entry.kind), again):
            names = [name for name in record.payload if record.payload[name] != again.get(name)]
            return f"record {record.seq} ({record.kind}) comes out otherwise: {', '.join(names) or entry.kind}"
    if len(past) <= len(made) and all(entry.kind in ORDERS for entry in made[len(past) :]):
        return ""
    return f"{len(past)} records in the journal, {len(made)} when processed again"
