"""What a check of a lane's day finds: differences, field by field, between what the journal says and what comes out again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

__all__ = ["MOST", "Check", "Difference", "differences", "plain"]

MOST: Final = 20
"""Differences that a check lists; all are counted."""
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """``what`` = bar, trade, day, scan, close or fill; ``key`` names it; ``ts_ms`` of the bar; ``field`` empty: it is there only once."""

    what: str
    key: str
    ts_ms: int
    field: str
    journal: Any
    again: Any

    def to_text(self) -> str:
        """One line."""
        moment = f" ({datetime.fromtimestamp(self.ts_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC)" if self.ts_ms else ""
        of = f"{self.field} is " if self.field else ""
        return f"{self.what} {self.key}{moment}: {of}{_short(self.journal)} in the journal, {_short(self.again)} again"


@dataclass(frozen=True, slots=True)
class Check:
    """One way of comparing. ``compared`` of ``noun``; ``listed`` the first of the differences, ``trades`` all ids of trades among them;
    ``why_not``: it could not be compared, or not all of it.
    """

    name: str
    noun: str
    compared: int = 0
    differing: int = 0
    listed: tuple[Difference, ...] = ()
    trades: tuple[str, ...] = ()
    why_not: str = ""

    @classmethod
    def of(cls, name: str, noun: str, compared: int, found: Iterable[Difference], why_not: str = "") -> Check:
        """A check that has found ``found``, in order."""
        every = list(found)
        trades = dict.fromkeys(difference.key for difference in every if difference.what == "trade")
        return cls(name, noun, compared, len(every), tuple(every[:MOST]), tuple(trades), why_not)

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.differing

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        values: dict[str, Any] = plain({"passed": self.passed, **asdict(self)})
        return values


def differences(
    what: str, key: str, ts_ms: int, journal: Mapping[str, Any] | None, again: Mapping[str, Any] | None
) -> Iterator[Difference]:
    """Field by field, of those that ``again`` has; what the journal has beyond them was not decided by the engine."""
    if journal is None or again is None:
        if journal is not again:
            yield Difference(what, key, ts_ms, "", *("there" if side is not None else "nothing" for side in (journal, again)))
        return
    for name, value in again.items():
        was = journal.get(name, _ABSENT)
        if isinstance(was, Mapping) and isinstance(value, Mapping):
            yield from (
                Difference(what, key, ts_ms, f"{name}.{d.field}", d.journal, d.again) for d in differences(what, key, ts_ms, was, value)
            )
        elif was != value:
            yield Difference(what, key, ts_ms, name, "nothing" if was is _ABSENT else was, value)


def plain(values: Any) -> Any:
    """As JSON reads it back: what is not a number is null."""
    return msgspec.json.decode(msgspec.json.encode(values))


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        names = [name for name in ("asset", "entry_bar", "exit_bar", "reason") if name in value]
        return "{" + ", ".join(f"{name} {value[name]}" for name in names) + "}" if names else str(dict(value))[:60]
    return "none" if value is None else str(value)[:60]
