"""A lane's past decided again: the scanner's bars once more, each with the inputs that the lane's journal says it had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from dolphin.errors import QualityError
from dolphin.lane.inputs import Inputs
from dolphin.lane.lane import Lane
from dolphin.lane.scan_log import DayEnd, ScanLog, ScannedBar, Universe
from dolphin.storage.journal import Entry, JournalReader, Kind, Record
from dolphin.types import Posture

__all__ = ["DECIDED", "Step", "reached", "steps"]

DECIDED: Final = (Kind.BAR, Kind.TRADE, Kind.DAY_RESULT)
"""Records of a lane that follow from its bars and inputs."""
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Step:
    """The lane just before a bar. Whoever gets it gives the lane that bar: ``lane.take(step.bar, step.inputs)``.

    ``recorded``: what the journal has of the bar, and before it of a day's end; ``made``: that day's end, made again; ``missed``: bars
    of the scanner that the lane never decided. ``bar`` None, at the end: only what follows the last bar.
    """

    bar: ScannedBar | None
    inputs: Inputs
    recorded: Sequence[Record]
    made: Sequence[Entry]
    missed: Sequence[ScannedBar]


def steps(lane: Lane, journal: JournalReader, log: ScanLog, after: int = 0) -> Iterator[Step]:
    """Go with ``lane``, which stands at record ``after`` of ``journal``, through all bars that it has decided since.

    Raises ``QualityError`` when ``log`` is not the scanner's journal that the lane has read.
    """
    newest = _newest(journal)
    end, stop = (0, 0) if newest is None else (int(newest.payload["scan_seq"]), newest.seq)
    if end and log.hash_of(end) == "":
        raise _strangers(journal, f"the lane has read up to its record {end}, which is not there")
    log.seq = lane.seq
    parts = _parts(journal, after, stop)
    part, made, missed = next(parts, []), list[Entry](), list[ScannedBar]()
    while log.seq < end:
        for scanned in log.take(PAGE, end):
            if isinstance(scanned, Universe):
                lane.set_universe(scanned)
            elif isinstance(scanned, DayEnd):
                made += lane.end_day(scanned)
            elif _decides(journal, part, scanned):
                yield Step(scanned, msgspec.convert(part[-1].payload["told"], Inputs), part, made, missed)
                part, made, missed = next(parts, []), [], []
            else:
                missed += [scanned] if lane.wants(scanned) else []
                lane.drop(scanned)
    yield Step(None, Inputs(posture=Posture.TURTLE), part, made, missed)


def reached(journal: JournalReader) -> int:
    """The scanner's newest record that the lane of ``journal`` has processed, 0 for none."""
    newest = _newest(journal)
    return 0 if newest is None else int(newest.payload["scan_seq"])


def _newest(journal: JournalReader) -> Record | None:
    """The newest bar or end of a day: what a lane that runs appends in the meantime is left for the next time."""
    found = [record for kind in (Kind.DAY_RESULT, Kind.BAR) if (record := journal.last(kind)) is not None]
    return max(found, key=lambda record: record.seq, default=None)


def _parts(journal: JournalReader, after: int, stop: int) -> Iterator[list[Record]]:
    """What was decided up to record ``stop``, cut behind each bar."""
    part: list[Record] = []
    for record in journal.records(after=after):
        if record.seq > stop:
            break
        if record.kind in DECIDED:
            part.append(record)
        if record.kind == Kind.BAR:
            yield part
            part = []
    yield part


def _decides(journal: JournalReader, part: Sequence[Record], scanned: ScannedBar) -> bool:
    """Whether ``part`` is the decision on this bar; its record of the scanner must be the very one."""
    record = part[-1] if part else None
    if record is None or record.kind != Kind.BAR or record.payload["scan_seq"] > scanned.seq:
        return False
    if (record.payload["scan_seq"], record.payload["scan_hash"]) != (scanned.seq, scanned.hash):
        raise _strangers(
            journal, f"the lane's record {record.seq} was decided on another record {record.payload['scan_seq']} of the scanner"
        )
    return True


def _strangers(journal: JournalReader, why: str) -> QualityError:
    return QualityError(why, path=journal.path, hint="both journals belong together: bring back the scanner's that this lane has read")
