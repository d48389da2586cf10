"""The posture in words: what it is, since when, what it is made of, and what would lift it."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from dolphin.engine.survival import combine, posture_of
from dolphin.engine.survival_report import minutes_to_recover
from dolphin.grid.maps import PostureRecord
from dolphin.grid.view import POSTURE_S, Answer, LocalView
from dolphin.storage.journal import Kind, journal_path
from dolphin.types import Posture, SafetyRecord
from flows.dashboard.follow import Clean, JournalFollower
from flows.dashboard.snapshot import Category, PostureChange, PostureView
from flows.grid import reasons_of

__all__ = ["PostureFollower", "lift_of"]

WATCHDOG: Final = "system_watchdog"
HISTORY: Final = 5_000
CHANGES: Final = 12
_RANK: Final = {posture: rank for rank, posture in enumerate(Posture)}
_MEANING: Final = (
    "grid alive: a member answers, no required heartbeat older than 30 s",
    "forewarner: its verdict, and how old its word is",
    "order book: fresh, deep, orders likely to fill",
    "calm: time since the last jump of implied volatility (DVOL)",
    "drawdown of the lane from its peak",
)


class PostureFollower:
    """Reads the watchdog's journal for the history, ``LocalView`` for what holds now."""

    def __init__(self, journals: Path, clean: Clean) -> None:
        self._journal, self._clean = JournalFollower(journal_path(journals, WATCHDOG), HISTORY), clean
        self._changes: deque[PostureChange] = deque(maxlen=CHANGES)
        self._posture, self._since = "", 0

    def look(self) -> None:
        """Take in what the watchdog has journalled."""
        records = self._journal.take()
        if self._journal.begun:
            self._changes.clear()
            self._posture, self._since = "", 0
        for record in records:
            if record.kind == Kind.POSTURE:
                self._take(record.payload)

    def view(self, view: LocalView) -> PostureView:
        """What a trader would obey now, with its explanation."""
        answer, said = view.posture(), view.safety().value
        return PostureView(
            posture=answer.value,
            state=answer.state,
            reason=None if answer.reason is None else str(answer.reason),
            published=None if said is None else said.posture,
            said_ms=None if said is None else said.ts_ms,
            limit_s=POSTURE_S,
            since_ms=self._since or None if said is not None and said.posture == self._posture else None,
            rm=None if said is None else said.rm,
            target=None if said is None else said.target,
            reasons=[] if said is None else [self._clean(reason) for reason in reasons_of(msgspec.to_builtins(said))],
            categories=[] if said is None else categories_of(said),
            lift=_lift(answer, said),
            changes=list(reversed(self._changes)),
        )

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def _take(self, payload: object) -> None:
        try:
            found = msgspec.convert(payload, SafetyRecord)
        except msgspec.ValidationError:
            return
        if found.posture == self._posture:
            return
        if self._posture or self._journal.whole:
            self._since = found.ts_ms
        reasons = [self._clean(reason) for reason in reasons_of(msgspec.to_builtins(found))]
        self._posture = found.posture
        self._changes.append(PostureChange(posture=found.posture, at_ms=found.ts_ms, rm=found.rm, reasons=reasons))


def categories_of(record: SafetyRecord) -> list[Category]:
    """Cat1 to Cat5 with what the target would be if each alone were at its best."""
    cats = [record.cat1, record.cat2, record.cat3, record.cat4, record.cat5]
    found = []
    for place, (value, meaning) in enumerate(zip(cats, _MEANING, strict=True)):
        mended = combine(*(1.0 if place == other else cat for other, cat in enumerate(cats)))
        found.append(Category(name=f"Cat{place + 1}", value=value, meaning=meaning, mended=mended, lifts=posture_of(mended)))
    return found


def lift_of(record: SafetyRecord) -> list[str]:
    """What would bring a higher posture than ``record`` has, the nearest first; empty when there is none higher to be had."""
    aim, now = posture_of(record.target), record.posture
    cap = Posture.STALKER if any("at most STALKER" in reason for reason in record.reasons) else Posture.APEX
    words = [f"{word}: dolphin release --reason '...'" for word in record.reasons if word.startswith("kill switch")]
    if _RANK[now] <= _RANK[cap]:
        return [*words, *([f"nothing: {now} is the highest without that layer"] if now is not Posture.APEX and cap is now else [])]
    for step in reversed(Posture):
        if max(_RANK[aim], _RANK[cap]) <= _RANK[step] < _RANK[now]:
            minutes = minutes_to_recover(record.rm, record.target, step)
            words.append(f"time: Rm is high enough for {step} " + (f"in about {minutes} market minutes" if minutes else "now"))
    if _RANK[aim] < _RANK[now]:
        words.append("a posture rises after 5 evaluations in a row that are higher")
    low = [cat for cat in categories_of(record) if cat.value < 0.9995]
    better = [cat for cat in low if _RANK[Posture(cat.lifts)] < _RANK[aim]]
    words += [f"{cat.name} at its best: target {cat.mended:.3f} ({cat.lifts})" for cat in sorted(better, key=lambda cat: -cat.mended)]
    if low and not better and _RANK[aim] > _RANK[cap]:
        words.append(f"no category alone: {', '.join(cat.name for cat in low)} have to recover together")
    return words


def _lift(answer: Answer[Posture], said: PostureRecord | None) -> list[str]:
    if said is None or answer.reason is not None:
        return ["a fresh word of the watchdog: look at its process and its log", *([] if said is None else lift_of(said))]
    return lift_of(said)
