"""What an operator should know at once, in words and with the command that helps; the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dolphin.grid.maps import LOADING
from dolphin.grid.view import LOST_S
from dolphin.types import Posture
from flows.dashboard.snapshot import Concern, LaneView, Level, Snapshot

__all__ = ["concerns_of"]

LATE_BARS: Final = 3
FEW: Final = 3
FEED_ILL: Final[dict[str, Level]] = {
    "stale": "critical",
    "clock_skew": "critical",
    "gaps": "warning",
    "backfill": "warning",
    "connecting": "warning",
}
"""Words of a live feed that is not simply running."""
_ORDER: Final = {"critical": 0, "warning": 1, "info": 2}


def concerns_of(now: Snapshot, grid_lost: bool) -> list[Concern]:
    """Everything about ``now`` that is not as it should be."""
    found = [*_kill(now), *_deployment(now, grid_lost), *_posture(now), *_feed(now)]
    found += [concern for lane in now.lanes for concern in _lane(now, lane)]
    return sorted(found, key=lambda concern: _ORDER[concern.level])


def _kill(now: Snapshot) -> Iterator[Concern]:
    kill = now.kill
    if kill.engaged is None:
        yield _critical("The kill switch cannot be read, which counts as engaged.", "look at the state folder's permissions")
    elif kill.engaged:
        yield _critical(f"Kill switch ENGAGED by {kill.by}: {kill.reason}", "dolphin release --reason '...' when it is safe again")
    elif kill.grid in ("engaged", "refused"):
        yield _critical(f"The grid's kill record is {kill.grid} though the file is not there.", "dolphin kill, then dolphin release")
    elif kill.grid == "unknown" and now.grid.connected:
        yield _warning("The grid says nothing about the kill switch: nothing is entered.", "dolphin logs system_watchdog")


def _deployment(now: Snapshot, grid_lost: bool) -> Iterator[Concern]:
    if now.deployment.problem:
        yield _critical(f"The deployment's settings cannot be read: {now.deployment.problem}.", "dolphin config validate --config FILE")
    if not now.deployment.up:
        left = now.deployment.left_over
        behind = f"; {left} processes were left behind" if left else ""
        yield _critical(f"Not up: no supervisor answers{behind}.", "dolphin down, then dolphin up" if left else "dolphin up")
    if not now.grid.connected:
        halted = f" For more than {LOST_S:.0f} s: every trader halts." if grid_lost else ""
        yield _critical(f"The grid does not answer this page.{halted}", "dolphin status; dolphin logs grid")
    yield from _ill(now)
    for row in now.processes:
        if row.restarts and row.healthy:
            times = "once" if row.restarts == 1 else f"{row.restarts} times"
            yield Concern(level="info", text=f"{row.name} was restarted {times} since up.", do=f"dolphin logs {row.name}")


def _ill(now: Snapshot) -> Iterator[Concern]:
    """Processes that are not well; one sentence for many, for then they have one cause."""
    loading = [row for row in now.processes if row.word == LOADING and row.pid and not row.healthy]
    ill = [row for row in now.processes if not row.healthy and row not in loading]
    for row in loading:
        yield _warning(f"{row.name} is loading.", f"dolphin logs {row.name}")
    if len(ill) > FEW:
        yield _critical(f"{len(ill)} processes have no fresh heartbeat: {', '.join(row.name for row in ill)}.", "dolphin status")
        return
    for row in ill:
        why = "keeps crashing and was given up" if row.state == "FATAL" else "has no fresh heartbeat" if row.pid else f"is {row.state}"
        yield _critical(f"{row.name} {why}.", f"dolphin logs {row.name}")


def _posture(now: Snapshot) -> Iterator[Concern]:
    posture = now.posture
    if posture.published is None:
        yield _critical(f"Posture unknown ({posture.reason or posture.state}): nothing is entered.", "dolphin logs system_watchdog")
        return
    if posture.reason is not None:
        yield _critical(f"The posture is not fresh ({posture.reason}): a trader obeys {posture.posture}.", "dolphin logs system_watchdog")
    why = "; ".join(posture.reasons[:3]) or "no reason given"
    if posture.posture == Posture.HIBERNATE:
        yield _critical(f"HIBERNATE: positions are closed, nothing is entered; {why}.")
    elif posture.posture == Posture.TURTLE:
        yield _warning(f"TURTLE: nothing is entered; {why}.")


def _feed(now: Snapshot) -> Iterator[Concern]:
    feed = now.feed
    if feed.problem:
        yield _critical(f"No bars: the scanner's journal: {feed.problem}.", "dolphin logs scanner")
    elif feed.close_market_ms is not None and feed.bar_seconds is not None and not now.market.ended:
        late_ms = now.market.market_ms + (now.as_of_ms - now.market.wall_ms) * now.market.speed - feed.close_market_ms
        allowed = max(LATE_BARS * feed.bar_seconds * 1000, 10_000 * now.market.speed)
        if late_ms > allowed:
            yield _critical(f"The feed is late: the newest bar closed {late_ms / 60_000:.0f} market minutes ago.", "dolphin logs scanner")
    if feed.live is not None and feed.live.status in FEED_ILL:
        level = FEED_ILL[feed.live.status]
        yield Concern(level=level, text=f"The live feed says {feed.live.status}.", do="dolphin logs scanner")
    missing = sum(gap.missing for gap in feed.gaps)
    if missing:
        yield _warning(f"{missing} bars are missing in {len(feed.gaps)} gaps of the last day.", "dolphin logs scanner")
    if feed.symbols and len(feed.silent) * 5 > feed.symbols:
        yield _warning(f"{len(feed.silent)} of {feed.symbols} symbols have no price.", "dolphin logs scanner")
    if now.market.ended:
        yield Concern(level="info", text="The replay has ended, no more bars will come.", do="dolphin down")


def _lane(now: Snapshot, lane: LaneView) -> Iterator[Concern]:
    own = f"trader_{lane.lane.lower()}"
    logs = f"dolphin logs {own if any(row.name == own for row in now.processes) else 'trader'}"
    if lane.problem:
        yield _critical(f"Lane {lane.lane}: its journal: {lane.problem}.", "dolphin status")
        return
    if lane.safe_mode is not None:
        yield _critical(f"Lane {lane.lane} is in SAFE MODE: {lane.safe_mode}", "look at its journal, then dolphin release --reason '...'")
    if lane.unreadable:
        yield _warning(f"Lane {lane.lane}: {lane.unreadable} journal records cannot be read.", "dolphin journal verify")
    if lane.rejected:
        yield _warning(f"Lane {lane.lane}: {lane.rejected} orders came to nothing today; the newest: {lane.rejection}.", logs)
    if lane.blocks:
        yield _warning(f"Lane {lane.lane} enters nothing: {', '.join(lane.blocks)}.", "dolphin status")
    feed, behind = now.feed, lane.bar_market_ms
    if feed.close_market_ms is not None and behind is not None and lane.bar_seconds:
        bars = (feed.close_market_ms - behind) // (lane.bar_seconds * 1000)
        if bars > max(LATE_BARS, round(10 * now.market.speed / lane.bar_seconds)):
            yield _critical(f"Lane {lane.lane} is {bars} bars behind the scanner.", logs)
    if lane.grid_state != "FRESH" and lane.configured and now.grid.connected:
        yield _warning(f"Lane {lane.lane} on the grid is {lane.grid_state}.", logs)


def _critical(text: str, do: str = "") -> Concern:
    return Concern(level="critical", text=text, do=do)


def _warning(text: str, do: str = "") -> Concern:
    return Concern(level="warning", text=text, do=do)
