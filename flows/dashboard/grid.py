"""The grid as the page sees it: one connection that lives as long as the page, judged by the same view that a trader has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from dolphin.deployment import GridConfig
from dolphin.errors import DolphinError
from dolphin.grid.maps import FEATURES, AcbBoost, Forewarning, Kill, LaneState, ObMacro, Scan
from dolphin.grid.port import GridPort
from dolphin.grid.safety import SafetyCell
from dolphin.grid.view import BOOK_S, DAILY_S, LOST_S, POSTURE_S, Answer, LocalView, State
from flows.dashboard.follow import Clean
from flows.dashboard.snapshot import FeatureView, GridView, LiveFeed, VenueView
from flows.supervision import beats_of

__all__ = ["Connect", "GridFollower"]

type Connect = Callable[[GridConfig], GridPort]

POLL_S: Final = 2.0
"""Watchers tell at once what changes; the poll finds what they missed, and the heartbeats."""


class GridFollower:
    """``look`` once a pass: never longer than a few calls, each bounded. ``beats`` by pid as `dolphin status` reads them."""

    def __init__(self, config: GridConfig, connect: Connect, clean: Clean, clocks: tuple[Callable[[], float], Callable[[], int]]) -> None:
        self.config, self._clean = config, clean
        self._monotonic, self._wall = clocks
        self._grid = connect(config)
        self.view = LocalView(self._grid, self._monotonic, self._wall)
        self.beats: dict[int, tuple[str, str, int]] = {}
        self.scan: Scan | None = None
        self.feed: LiveFeed | None = None
        self._cell, self._due, self._contact_ms, self._connected = "", -math.inf, None, False

    def look(self) -> None:
        """Read what is due. A grid that is away leaves what was known, which ages."""
        now = self._monotonic()
        if now < self._due:
            self._connected = self._connected and self._grid.members > 0
            return
        self._due = now + POLL_S
        self._connected = self.view.poll()
        if not self._connected:
            return
        self._contact_ms: int | None = self._wall()
        try:
            self.beats = beats_of(self._grid)
            self._cell = self._cell or SafetyCell(self._grid).kind
            self.scan = self._published("scan_latest", Scan)
            feed = self._published("feed", LiveFeed)
            self.feed = feed and msgspec.structs.replace(feed, status=self._clean(feed.status))
        except DolphinError:
            self._connected = False

    def _published[T](self, key: str, kind: type[T]) -> T | None:
        """A record that no trader reads; None when it is absent or another thing."""
        try:
            return msgspec.convert(self._grid.read(FEATURES, key).record, kind)
        except msgspec.ValidationError:
            return None

    @property
    def connected(self) -> bool:
        """Whether it answered just now."""
        return self._connected

    @property
    def lost(self) -> bool:
        """It has not been reached for so long that a trader halts."""
        return self.view.contact_age_s() > LOST_S

    def state(self) -> GridView:
        """Connection and refusals."""
        members = self._grid.members if self._connected else 0
        refused = {str(reason): count for reason, count in (self._grid.refused + self.view.refused).items()}
        return GridView(connected=self._connected, members=members, contact_ms=self._contact_ms, cell=self._cell, refused=refused)

    def features(self, lanes: tuple[str, ...]) -> list[FeatureView]:
        """What is in the maps, as a trader judges it."""
        view, clean = self.view, self._clean
        rows = [
            _row("acb_boost", view.acb_boost(), DAILY_S, _acb, clean),
            _row("mc_forewarner", view.mc_forewarner(), DAILY_S, _forewarning, clean),
            _row("ob_macro", view.ob_macro(), BOOK_S, _books, clean),
            *(_row(f"lane_{lane}", view.lane(lane), POSTURE_S, _lane, clean) for lane in lanes),
            _row("kill", view.kill(), None, _kill, clean),
        ]
        if self.scan is not None:
            says = f"bar {self.scan.bar} of {clean(self.scan.date)}, vel_div {_number(self.scan.vel_div, 5)}"
            state = State.FRESH if self._connected else State.STALE
            row = FeatureView(name="scan_latest", state=state, reason=None, said_ms=self.scan.ts_ms, limit_s=None, says=says)
        else:
            row = FeatureView(name="scan_latest", state=State.UNKNOWN, reason="ABSENT", said_ms=None, limit_s=None, says="")
        return [row, *rows]

    def kill(self) -> Any:
        """engaged, off, unknown or refused."""
        found = self.view.kill()
        if found.state is State.REFUSED:
            return "refused"
        if found.value is None or found.state is not State.FRESH:
            return "unknown"
        return "engaged" if found.value.engaged else "off"

    def venue(self, lane: str) -> VenueView | None:
        """The account at the venue, where the lane publishes it."""
        found = self.view.lane(lane).value
        if found is None or found.account is None:
            return None
        held, fill = found.position or {}, found.last_fill or {}
        marked = held.get("unrealised")
        return VenueView(
            account=found.account,
            unrealised=float(marked) if isinstance(marked, int | float) else 0.0,
            position=self._clean(_listed(held, ("quantity", "symbol", "entry_price"))),
            last_fill=self._clean(_listed(fill, ("side", "quantity", "symbol", "price"))),
            said_ms=found.ts_ms,
        )

    def close(self) -> None:
        """Leave the grid."""
        close = getattr(self._grid, "close", None)
        if close is not None:
            close()


def _row[T](name: str, answer: Answer[T | None], limit_s: float | None, says: Callable[[T], str], clean: Clean) -> FeatureView:
    value: Any = answer.value
    return FeatureView(
        name=name,
        state=answer.state,
        reason=None if answer.reason is None else str(answer.reason),
        said_ms=None if value is None else value.ts_ms,
        limit_s=limit_s,
        says="" if value is None else clean(says(value)),
    )


def _acb(record: AcbBoost) -> str:
    return f"boost {record.boost:.3g}, beta {record.beta:.3g}, {record.signals:g} signals, for {record.date}"


def _forewarning(record: Forewarning) -> str:
    envelope = _number(record.envelope_score, 3)
    return f"{record.status}, catastrophe {record.catastrophic_probability:.1%}, envelope {envelope}, for {record.date}"


def _books(record: ObMacro) -> str:
    depth, fill = _number(record.depth_quality, 2), _number(record.fill_probability, 2)
    return f"{record.n_assets - record.n_stale} of {record.n_assets} books fresh, depth {depth}, fill {fill}"


def _lane(record: LaneState) -> str:
    return f"equity {record.equity:,.2f}, peak {record.peak:,.2f}, bar {record.bar} of {record.date}"


def _kill(record: Kill) -> str:
    return f"engaged: {record.reason} (by {record.by})" if record.engaged else "off"


def _listed(values: dict[str, Any], names: tuple[str, ...]) -> str:
    return " ".join(str(values[name]) for name in names if name in values)


def _number(value: float | None, digits: int) -> str:
    return "unknown" if value is None else f"{value:.{digits}g}"
