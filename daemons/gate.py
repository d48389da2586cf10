"""Whether a lane may enter on a bar, and what its engine is told: every sensor that is not known counts as its worst.

The kill switch makes HIBERNATE (the position is closed on this bar), a doubt makes TURTLE (nothing is entered), the published posture may
be stricter than both.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from daemons.service import Context
from dolphin.book.provider import BookProvider
from dolphin.grid.maps import AcbBoost, Forewarning
from dolphin.grid.view import Answer, LocalView, State
from dolphin.lane.inputs import Inputs, book_text
from dolphin.lane.lane import Lane
from dolphin.lane.scan_log import ScannedBar
from dolphin.storage.kill_switch import KillSwitch
from dolphin.telemetry.alerts import AlertKind, Severity
from dolphin.types import Posture

__all__ = ["Gate"]

LATE_BARS: Final = 3
"""A bar that is processed later than so many bars after its close enters nothing; not in a replay."""
DAYS_KEPT: Final = 3
_RESTRICTION: Final = {posture: rank for rank, posture in enumerate(Posture)}
_ALERTS: Final = {
    "KILL": (AlertKind.KILL, Severity.CRITICAL),
    "POSTURE": (AlertKind.STALE_POSTURE, Severity.WARNING),
    "LATE": (AlertKind.STALE_FEED, Severity.WARNING),
}


class Gate:
    """What is known besides the bars: ``view`` (the grid), the kill switch's file, ``book`` where the deployment has one.

    Records of the circuit breaker and the forewarner are kept by their date, so that the last bars of a day are not judged by the next
    day's numbers when a replay runs fast, and an emptied grid takes nothing back that was said for this day.
    """

    def __init__(self, context: Context, view: LocalView, book: BookProvider | None) -> None:
        self._context, self._view, self._book = context, view, book
        self._switch = KillSwitch(context.state.kill)
        self._boosts: dict[str, tuple[float, float]] = {}
        self._warnings: dict[str, tuple[float, float | None]] = {}
        self._told: tuple[str, ...] = ()

    def remember(self, date: str, inputs: Inputs) -> None:
        """After a restart: what was known for ``date``."""
        if inputs.boost is not None and inputs.beta is not None:
            self._boosts[date] = inputs.boost, inputs.beta
        if inputs.probability is not None:
            self._warnings[date] = inputs.probability, inputs.score

    def missing(self, date: str) -> tuple[str, ...]:
        """What has not been said for ``date`` yet, of what is said once a day."""
        self._listen()
        return tuple(name for name, said in (("acb", self._boosts), ("forewarner", self._warnings)) if date not in said)

    def read(self, bar: ScannedBar, lane: Lane, doubts: tuple[str, ...]) -> Inputs:
        """What ``lane`` is told on ``bar``; ``doubts`` of the caller count like those found here."""
        self._listen()
        boost, warned = self._boosts.get(bar.date), self._warned(bar.date)
        kill, posture = self._kill(), self._view.posture()
        found = [*kill, *([f"POSTURE_{posture.reason}"] if posture.state is not State.FRESH else []), *doubts]
        found += ["ACB_UNKNOWN"] * (boost is None) + ["FOREWARNER_UNKNOWN"] * (warned is None)
        found += [f"{name}_REFUSED" for name, answer in self._daily() if answer.state is State.REFUSED]
        late_ms = LATE_BARS * lane.bar_seconds * 1000
        if self._context.replay is None and self._context.clock.market_ms() - bar.ts_ms > late_ms:
            found.append("LATE")
        blocks = tuple(found)
        self._tell(blocks)
        at_least = Posture.HIBERNATE if "KILL" in blocks else Posture.TURTLE if blocks else Posture.APEX
        strictest = max(posture.value, at_least, key=_RESTRICTION.__getitem__)
        book = None if self._book is None else book_text(self._book, lane.assets, lane.direction, bar.ts_ms)
        boosted = boost if boost is not None and "ACB_REFUSED" not in blocks else (None, None)
        probability, score = warned if warned is not None else (None, None)
        return Inputs(posture=strictest, blocks=blocks, book=book, boost=boosted[0], beta=boosted[1], probability=probability, score=score)

    def _listen(self) -> None:
        """Keep what is fresh under its date."""
        for _, answer in self._daily():
            if answer.state is State.FRESH and isinstance(answer.value, AcbBoost):
                _keep(self._boosts, answer.value.date, (answer.value.boost, answer.value.beta))
            elif answer.state is State.FRESH and isinstance(answer.value, Forewarning):
                said = answer.value.catastrophic_probability, answer.value.envelope_score
                _keep(self._warnings, answer.value.date, said)

    def _daily(self) -> tuple[tuple[str, Answer[AcbBoost | None] | Answer[Forewarning | None]], ...]:
        return ("ACB", self._view.acb_boost()), ("FOREWARNER", self._view.mc_forewarner())

    def _warned(self, date: str) -> tuple[float, float | None] | None:
        """Of this day, or of the day before."""
        before = (dt.date.fromisoformat(date) - dt.timedelta(days=1)).isoformat()
        return self._warnings.get(date) or self._warnings.get(before)

    def _kill(self) -> list[str]:
        """KILL: engaged, or what is there cannot be read. Nothing there (an emptied grid, the watchdog not up yet) is a doubt."""
        said = self._view.kill()
        echo = self._switch.released()
        engaged = said.value is not None and said.value.engaged
        if engaged and echo is not None and said.value is not None and (echo.reason, echo.ts_ms) == (said.value.reason, said.value.ts_ms):
            engaged = False
        if self._switch.engaged() is not False or engaged or said.state is State.REFUSED:
            return ["KILL"]
        return ["KILL_UNKNOWN"] if said.state is not State.FRESH else []

    def _tell(self, blocks: tuple[str, ...]) -> None:
        """An operator hears of what is new."""
        for block in sorted(set(blocks) - set(self._told)):
            hostile = AlertKind.HOSTILE_VALUE if block.endswith("_REFUSED") else AlertKind.STALE_GRID
            kind, severity = _ALERTS.get(block.split("_")[0], (hostile, Severity.WARNING))
            self._context.alert(kind, severity, block, _text(block))
        self._told = blocks


def _text(block: str) -> str:
    return "the kill switch is engaged: the position is closed, nothing is entered" if block == "KILL" else f"nothing is entered: {block}"


def _keep[T](said: dict[str, T], date: str, values: T) -> None:
    said[date] = values
    for old in sorted(said)[:-DAYS_KEPT]:
        del said[old]
