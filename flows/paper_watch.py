"""What a paper session sees of its lane every few seconds: process, heartbeat, posture, journal; and the days that the lane has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from dolphin.config import Settings
from dolphin.errors import DolphinError, MissingDependency
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.maps import NOT_AT_WORK
from dolphin.storage.journal import JournalReader, Kind, journal_path
from dolphin.storage.state import StateFolder
from flows.grid import posture_now
from flows.lane_now import lane_now
from flows.supervision import beats_of
from flows.supervisor import Supervisor

__all__ = ["DAY_COLUMNS", "LaneHealth", "LaneWatch", "held_of", "lane_words"]

LATE_S: Final = 15.0
"""A heartbeat older than this is late: three were missed."""
SILENT_S: Final = 60.0
"""The scanner's journal grows and the lane's has not for so long."""
EXACT: Final = 1e-9
"""A net quantity below this share of what was traded is rounding."""
DAY_COLUMNS: Final = ("date", "bars", "pnl", "honest_pnl", "capital", "honest_capital", "posture", "mc_status")
"""Of a day's record, beside the number of its trades."""


@dataclass(frozen=True, slots=True)
class LaneHealth:
    """One look. ``process``: the supervisor's word (RUNNING, FATAL ...); ``heartbeat_s``: None without one; ``grown_s``: seconds since the
    lane's journal last grew while the scanner's did; ``posture`` None: the grid does not answer. ``ended``: the replay has no more bars.
    """

    process: str
    pid: int
    heartbeat_s: float | None
    status: str
    posture: str | None
    seq: int
    grown_s: float
    ended: bool

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is not as it should be, in words; empty: all is well."""
        found = {
            f"the process is {self.process}": self.pid == 0,
            "no heartbeat": self.pid > 0 and self.heartbeat_s is None,
            f"its heartbeat is more than {LATE_S:g} s old": self.heartbeat_s is not None and self.heartbeat_s > LATE_S,
            f"it says {self.status}": self.status in NOT_AT_WORK or self.status == "safe_mode",
            "the grid does not answer": self.posture is None,
            f"the scanner's journal grows and the lane's has not for {SILENT_S:g} s": self.grown_s > SILENT_S,
        }
        return tuple(words for words, true in found.items() if true)


class LaneWatch:
    """Looks at lane ``lane``, whose process is ``name``. ``close`` when done."""

    def __init__(self, state: StateFolder, settings: Settings, lane: str, name: str) -> None:
        self.lane, self.name = lane, name
        self._state, self._supervisor = state, Supervisor(state.root)
        grid = msgspec.structs.replace(settings.grid, kind="hazelcast", call_timeout_s=2.0)
        self._grid = HazelcastGrid(grid, "dolphin-paper", wait=False)
        self._seq, self._scan, self._grown = -1, -1, time.monotonic()
        self._writer = settings.lane_journal(lane)
        self._days = self._head(self._writer)

    def look(self) -> LaneHealth:
        """Ask supervisor, grid and journals. Raises ``Unavailable`` when the supervisor does not answer."""
        process = self._supervisor.processes()[self.name]
        beats: dict[int, tuple[str, str, int]] = {}
        posture = None
        try:
            beats = beats_of(self._grid)
            posture = str(posture_now(self._grid)["posture"])
        except MissingDependency:
            pass
        _, status, ts_ms = beats.get(process.pid, ("", "", 0))
        scanner = max((beat for beat in beats.values() if beat[0] == "scanner"), key=lambda beat: beat[2], default=("", "", 0))
        return LaneHealth(
            process=process.state,
            pid=process.pid,
            heartbeat_s=max(0.0, time.time() - ts_ms / 1000.0) if ts_ms else None,
            status=status,
            posture=posture,
            grown_s=self._silence(),
            seq=self._seq,
            ended=scanner[1] == "ended" and status not in ("", "waiting", *NOT_AT_WORK),
        )

    def new_days(self) -> Iterator[dict[str, Any]]:
        """Days that the lane has ended since the last call, oldest first."""
        try:
            with JournalReader(self._path(self._writer)) as journal:
                for record in journal.records(Kind.DAY_RESULT, self._days):
                    self._days = record.seq
                    trades = record.payload["trades"]
                    count = {"trades": len(trades) if isinstance(trades, list) else trades}
                    yield {name: record.payload[name] for name in DAY_COLUMNS if name in record.payload} | count
        except DolphinError:  # not there, or not readable while it is being made
            return

    def close(self) -> None:
        """Leave the grid."""
        self._grid.close()

    def _path(self, writer: str) -> Any:
        return journal_path(self._state.journals, writer)

    def _head(self, writer: str) -> int:
        try:
            with JournalReader(self._path(writer)) as journal:
                return journal.head()[0]
        except DolphinError:
            return 0

    def _silence(self) -> float:
        """Seconds since the lane's journal last kept up with the scanner's."""
        seq, scan = self._head(self._writer), self._head("scanner")
        if seq != self._seq or scan == self._scan:
            self._grown = time.monotonic()
        self._seq, self._scan = seq, scan
        return time.monotonic() - self._grown


def lane_words(state: StateFolder, settings: Settings, lane: str) -> tuple[str, dict[str, Any]]:
    """Where a lane stands, in one line and as facts, from its journal. What it holds is what the venue has filled."""
    now, held = lane_now(state.journals, settings, lane), held_of(state, settings, lane)
    if now is None:
        return f"{lane}: no bar yet", {"lane": lane, "bars": False, "held": held}
    holding = ", ".join(f"{quantity:+g} {symbol}" for symbol, quantity in held.items())
    words = f"{lane}: {f'holding {holding}' if held else 'flat'}, equity {now.equity:,.2f} USDT, {now.trades} trades"
    return words, {**now.to_dict(), "held": held}


def held_of(state: StateFolder, settings: Settings, lane: str) -> dict[str, float]:
    """Net quantity by symbol of all fills in a lane's journal: long above 0, short below."""
    net: dict[str, float] = {}
    turned: dict[str, float] = {}
    try:
        with JournalReader(journal_path(state.journals, settings.lane_journal(lane))) as journal:
            for record in journal.records(Kind.ORDER_EVENT):
                if record.payload["event"] == "filled":
                    symbol, quantity = record.payload["symbol"], record.payload["quantity"]
                    net[symbol] = net.get(symbol, 0.0) + (quantity if record.payload["side"] == "BUY" else -quantity)
                    turned[symbol] = turned.get(symbol, 0.0) + quantity
    except DolphinError:  # not there, or not readable while it is being made
        return {}
    return {symbol: quantity for symbol, quantity in net.items() if abs(quantity) > EXACT * turned[symbol]}
