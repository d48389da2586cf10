"""What the trader reads on every bar: a copy of the grid in this process, kept by watchers and a poll. Reading it never waits.

Nothing in it is assumed: what was never seen, was removed or came from an emptied grid is unknown, what is too old is stale, and a grid
that has not been reached for 30 s means HIBERNATE. Ages count on the monotonic clock, from the age that a record's own stamp gives it.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from dolphin.errors import DolphinError
from dolphin.grid.features import feature_key, shard_map, shard_of
from dolphin.grid.maps import CONTROL, FEATURES, SAFETY, AcbBoost, Book, Forewarning, Kill, LaneState, ObMacro, PostureRecord
from dolphin.grid.port import GridPort
from dolphin.grid.record import Entry, Reason
from dolphin.grid.safety import LATEST, SafetyCell
from dolphin.types import BOOK_STALE_MS, Posture

__all__ = ["Answer", "LocalView", "State"]

POLL_S: Final = 5.0
POSTURE_S: Final = 180.0
LOST_S: Final = 30.0
DAILY_S: Final = 26 * 3600.0
BOOK_S: Final = BOOK_STALE_MS / 1000.0
FUTURE_MS: Final = 5_000
"""A stamp further ahead of our clock than this is refused."""

_RESTRICTION: Final = {posture: rank for rank, posture in enumerate(Posture)}
type Place = tuple[str, str]


class State(StrEnum):
    """FRESH may be acted upon; STALE: the last good value is too old; REFUSED: what came after it was refused; UNKNOWN: there is none."""

    FRESH = "FRESH"
    STALE = "STALE"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"


class Answer[T](NamedTuple):
    """``value``: the last good one, also when stale or refused; ``reason``: None when FRESH; ``age_s``: of the value, inf without one."""

    value: T
    state: State
    reason: Reason | None
    age_s: float


class _Slot(NamedTuple):
    record: Any = None
    order: tuple[int, int] = (0, -1)
    born: float = 0.0
    reason: Reason | None = Reason.ABSENT


class LocalView:
    """Posture, boost, forewarning, order-book macro, kill switch, and the books of ``symbols``.

    ``monotonic`` seconds and ``wall`` milliseconds UTC are injected. ``start`` begins to follow the grid on a thread of its own;
    a simulation calls ``poll`` itself. Every other method only looks at memory.
    """

    def __init__(self, grid: GridPort, monotonic: Callable[[], float], wall: Callable[[], int], symbols: Iterable[str] = ()) -> None:
        self._grid, self._monotonic, self._wall = grid, monotonic, wall
        self._kinds: dict[Place, tuple[type[msgspec.Struct], float]] = {
            (SAFETY, LATEST): (PostureRecord, POSTURE_S),
            (FEATURES, "acb_boost"): (AcbBoost, DAILY_S),
            (FEATURES, "mc_forewarner"): (Forewarning, DAILY_S),
            (FEATURES, "ob_macro"): (ObMacro, BOOK_S),
            (FEATURES, "lane_BLUE"): (LaneState, POSTURE_S),
            (FEATURES, "lane_GREEN"): (LaneState, POSTURE_S),
            (CONTROL, "kill"): (Kill, math.inf),
        }
        self._books = {symbol: (shard_map(shard_of(symbol)), feature_key(symbol, "book")) for symbol in symbols}
        self._kinds |= dict.fromkeys(self._books.values(), (Book, BOOK_S))
        self._maps = sorted({name for name, _ in self._kinds})
        self._slots: dict[Place, _Slot] = dict.fromkeys(self._kinds, _Slot())
        self._book = threading.Lock()
        self._again = threading.Event()
        self._cell: SafetyCell | None = None
        self._contact = -math.inf
        self._watching = False
        self._refused: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="grid-view", daemon=True)

    def posture(self) -> Answer[Posture]:
        """The posture to obey. Fresh: as published. Stale, unreadable or unknown: at most TURTLE. Grid lost: HIBERNATE."""
        found: Answer[PostureRecord | None] = self._answer((SAFETY, LATEST))
        said = found.value.posture if found.value else Posture.TURTLE
        if found.reason is Reason.GRID_LOST:
            said = Posture.HIBERNATE
        elif found.state is not State.FRESH:
            said = max(said, Posture.TURTLE, key=_RESTRICTION.__getitem__)
        return Answer(said, *found[1:])

    def safety(self) -> Answer[PostureRecord | None]:
        """The posture record itself."""
        return self._answer((SAFETY, LATEST))

    def acb_boost(self) -> Answer[AcbBoost | None]:
        """The circuit breaker's record; which date it is for, the reader compares."""
        return self._answer((FEATURES, "acb_boost"))

    def mc_forewarner(self) -> Answer[Forewarning | None]:
        """The forewarner's record."""
        return self._answer((FEATURES, "mc_forewarner"))

    def ob_macro(self) -> Answer[ObMacro | None]:
        """The market's order-book record."""
        return self._answer((FEATURES, "ob_macro"))

    def kill(self) -> Answer[Kill | None]:
        """The kill switch: trade only when FRESH and not engaged."""
        return self._answer((CONTROL, "kill"))

    def lane(self, lane: str) -> Answer[LaneState | None]:
        """Equity of BLUE or GREEN; KeyError for another."""
        return self._answer((FEATURES, f"lane_{lane}"))

    def book(self, symbol: str) -> Answer[Book | None]:
        """Book features of one of ``symbols``; KeyError for another."""
        return self._answer(self._books[symbol])

    def contact_age_s(self) -> float:
        """Seconds since everything was last read; inf before the first time."""
        return self._monotonic() - self._contact

    @property
    def refused(self) -> Counter[str]:
        """Records that were refused here, by reason; what the port refused before is counted there."""
        return Counter(self._refused)

    def start(self) -> None:
        """Follow the grid until ``stop``."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following; what was read ages."""
        self._stop.set()
        self._again.set()
        if self._thread.is_alive():
            self._thread.join(2 * POLL_S)

    def poll(self) -> bool:
        """Read everything; whether the grid answered. Begins to watch when it does for the first time."""
        before = dict(self._slots)
        try:
            if not self._watching:
                for name in self._maps:
                    self._grid.watch(name, self._heard)
                self._watching = True
            if self._cell is None:
                self._cell = SafetyCell(self._grid)
            found = {(e.name, e.key): e for name in self._maps for e in self._grid.entries(name)}
            if self._cell.kind == "cp":
                found[SAFETY, LATEST] = self._cell.read()
        except DolphinError:
            return False
        self._contact = self._monotonic()
        for place, slot in before.items():
            if self._slots[place] is slot:  # else a watcher heard something newer meanwhile
                self._take(found.get(place) or Entry(place[0], place[1], None, Reason.ABSENT))
        return True

    def _heard(self, entry: Entry) -> None:
        """A change, on the grid's thread. What was removed, or may have been missed, is read again at once."""
        if (entry.name, entry.key) in self._kinds:
            self._take(entry)
        if entry.record is None:
            self._again.set()

    def _follow(self) -> None:
        while not self._stop.is_set():
            pause = POLL_S if self.poll() else POLL_S / 10
            self._stop.wait(POLL_S / 10)
            self._again.wait(pause - POLL_S / 10)
            self._again.clear()

    def _take(self, entry: Entry) -> None:
        """One entry becomes a slot. The last good record stays when a new one is refused, goes when removed; an older one is ignored."""
        place = entry.name, entry.key
        with self._book:
            slot = self._slots[place]
            if entry.record is None:
                gone = entry.reason is Reason.ABSENT
                self._slots[place] = slot._replace(record=None if gone else slot.record, reason=entry.reason)
                return
            found = self._accept(place, slot, entry.record)
            if isinstance(found, Reason):
                self._refused[found] += 1
            if found is not Reason.FALLING_SEQ:
                self._slots[place] = found if isinstance(found, _Slot) else slot._replace(reason=found)

    def _accept(self, place: Place, slot: _Slot, record: Mapping[str, Any]) -> _Slot | Reason:
        try:
            value: Any = msgspec.convert(record, self._kinds[place][0])
        except msgspec.ValidationError:
            return Reason.WRONG_FIELDS
        order = getattr(value, "fence", 0), getattr(value, "seq", value.ts_ms)
        if order < slot.order:
            return Reason.FALLING_SEQ
        if order == slot.order and slot.record is not None:
            return slot._replace(reason=None) if value == slot.record else Reason.FALLING_SEQ
        ahead = value.ts_ms - self._wall()
        if ahead > FUTURE_MS:
            return Reason.FUTURE_STAMP
        return _Slot(value, order, self._monotonic() - max(0, -ahead) / 1000.0, None)

    def _answer(self, place: Place) -> Answer[Any]:
        slot, now = self._slots[place], self._monotonic()
        lost = Reason.GRID_LOST if now - self._contact > LOST_S else None
        if slot.record is None:
            return Answer(None, State.UNKNOWN, lost or slot.reason, math.inf)
        age = now - slot.born
        if lost or age > self._kinds[place][1]:
            return Answer(slot.record, State.STALE, lost or Reason.STALE, age)
        return Answer(slot.record, State.REFUSED if slot.reason else State.FRESH, slot.reason, age)
