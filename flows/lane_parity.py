"""Parity of a lane's day: what it did is decided once more, from its journals alone, and nothing may come out otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dolphin.engine.explain import Explanation
from dolphin.errors import CheckFailed, ConfigError, QualityError
from dolphin.storage.journal import Verdict
from dolphin.storage.publish import publish
from dolphin.storage.schema import is_date
from dolphin.storage.state import StateFolder
from flows.explain import explanation_dict
from flows.lane_check import Check
from flows.lane_closes import closes_check
from flows.lane_day import LaneDay, LanePast, decide_again, explain_again
from flows.lane_remarks import remarks
from flows.lane_scans import DayScans, scanned_day, scans_check
from flows.lane_venue import venue_checks

__all__ = ["SCHEMA", "LaneParity", "lane_parity", "write_parity"]

SCHEMA: Final = "dolphin.lane-parity/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneParity:
    """The verdict on a lane's day. ``refused``: why nothing could be compared, empty when it was; ``began``: where it was decided from.

    ``trades`` as the journal has them; ``checks`` in the order of causes; ``explanation`` of the first bar that was decided otherwise.
    """

    lane: str
    date: str
    journals: tuple[Verdict, ...]
    refused: str = ""
    began: str = ""
    bar_seconds: int = 0
    assets: int = 0
    bars: int = 0
    trades: tuple[dict[str, Any], ...] = ()
    checks: tuple[Check, ...] = ()
    remarks: tuple[str, ...] = ()
    explanation: Explanation | None = field(default=None)

    @property
    def passed(self) -> bool:
        """Whether everything that was compared is the same."""
        return not self.refused and all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        own = {name: getattr(self, name) for name in ("lane", "date", "refused", "began", "bar_seconds", "assets", "bars")}
        return {
            "passed": self.passed,
            **own,
            "journals": [verdict.to_dict() for verdict in self.journals],
            "trades": list(self.trades),
            "checks": [check.to_dict() for check in self.checks],
            "remarks": list(self.remarks),
            "explanation": None if self.explanation is None else explanation_dict(self.explanation),
        }


def lane_parity(state: StateFolder, lane: str, date: str) -> LaneParity:
    """Check what lane ``blue`` or ``green`` of a deployment decided on the UTC day ``date``; the state is read only, the lane may run.

    The chains of both journals are proven first. Raises ``ConfigError`` for an unknown lane or a date that is none, ``Unavailable``
    without journals, ``DataError`` for a day on which the lane decided nothing.
    """
    if not is_date(date):
        raise ConfigError(f"--date {date!r}: expected YYYY-MM-DD")
    with LanePast(state, lane) as past:
        verdicts = (past.scanner.verify(), past.journal.verify())
        broken = [verdict.to_text() for verdict in verdicts if not verdict.ok]
        try:
            if broken:
                raise CheckFailed("; ".join(broken))
            day = decide_again(past, date)
        except (CheckFailed, QualityError) as error:
            return LaneParity(lane=past.name, date=date, journals=verdicts, refused=str(error))
        scans = scanned_day(past, day)
        engine = Check.of("engine", "records", _records(day), [*day.earlier, *day.found])
        return LaneParity(
            lane=past.name,
            date=date,
            journals=verdicts,
            began=day.began,
            bar_seconds=day.bar_seconds,
            assets=len(scans.assets),
            bars=len(day.bars),
            trades=tuple(day.trades),
            checks=(engine, *venue_checks(past, day), scans_check(scans), *_closes(past, scans, date)),
            remarks=(*remarks(past, day, scans), *_absent(verdicts)),
            explanation=explain_again(past, day),
        )


def write_parity(found: LaneParity, folder: Path) -> Path:
    """``folder/parity-LANE-DATE.json``, the folder made when absent; a later check of the day takes its place."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"parity-{found.lane}-{found.date}.json"
    with publish(path) as temporary:
        temporary.write_text(json.dumps({"schema": SCHEMA, **found.to_dict()}, allow_nan=False, indent=1), encoding="utf-8")
    return path


def _closes(past: LanePast, scans: DayScans, date: str) -> tuple[Check, ...]:
    check = closes_check(past, scans, date)
    return () if check is None else (check,)


def _records(day: LaneDay) -> int:
    return len(day.bars) + len(day.trades) + (day.result is not None)


def _absent(verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    for verdict in verdicts:
        if verdict.absent:
            yield f"not proven, because moved away: {', '.join(verdict.absent)}"
