"""One snapshot of everything. Nothing is written, nobody waits for it; what does not answer is shown as unknown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from dolphin import __version__
from dolphin.config import Settings, load
from dolphin.deployment import GridConfig
from dolphin.errors import DolphinError
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.port import GridPort
from dolphin.storage.journal import Kind, journal_path
from dolphin.storage.kill_switch import KillSwitch
from dolphin.storage.market_clock import MarketClock, read_market_clock
from dolphin.storage.replay import Replay, read_replay
from dolphin.storage.schema import DAY_MS, day_start
from dolphin.storage.state import StateFolder
from dolphin.types import LANES
from flows.dashboard.concerns import concerns_of
from flows.dashboard.feed import FeedFollower
from flows.dashboard.follow import Clean, JournalFollower
from flows.dashboard.grid import Connect, GridFollower
from flows.dashboard.lanes import LaneFollower, start_capital
from flows.dashboard.logs import LogFollower
from flows.dashboard.posture import PostureFollower
from flows.dashboard.processes import Output, ProcessFollower, output_of
from flows.dashboard.snapshot import AlertView, Deployment, FeatureView, KillView, LaneView, Market, PostureView, Snapshot

__all__ = ["Clocks", "SnapshotReader"]

CONTROL = "control"
CONTROL_HISTORY = 500
QUICK_S = 2.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """The machine's, or a test's: monotonic seconds, milliseconds UTC."""

    monotonic: Callable[[], float] = time.monotonic
    wall_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)


def hazelcast(config: GridConfig) -> GridPort:
    """A connection that waits for no member, and for an answer no longer than a person likes to."""
    quick = msgspec.structs.replace(config, call_timeout_s=min(QUICK_S, config.call_timeout_s))
    return HazelcastGrid(quick, "dolphin-dashboard", wait=False)


class SnapshotReader:
    """``read`` once a second, from one thread. ``given``: settings until `dolphin up` has written the deployment's own."""

    def __init__(
        self, state: StateFolder, given: Settings, clean: Clean, clocks: Clocks | None = None, connect: Connect = hazelcast
    ) -> None:
        self._state, self._given, self._clean = state, given, clean
        self._clocks, self._connect = clocks or Clocks(), connect
        self._settings, self._written = given, -1
        self._unreadable = ""
        self._switch = KillSwitch(state.kill)
        self._grid: GridFollower | None = None
        self._processes = ProcessFollower(state)
        self._posture = PostureFollower(state.journals, clean)
        self._feed = FeedFollower(state.journals, clean)
        self._lanes = self._lane_followers()
        self._control = JournalFollower(journal_path(state.journals, CONTROL), CONTROL_HISTORY)
        self._orders: list[AlertView] = []
        self._logs = LogFollower(state.logs, clean)
        self._market: tuple[MarketClock | None, Market] | None = None
        self._busy = threading.Lock()

    @property
    def settings(self) -> Settings:
        """Those that the deployment runs with."""
        return self._settings

    def read(self, *, kill_offered: bool) -> Snapshot:
        """Everything now."""
        with self._busy:
            return self._read(kill_offered)

    def close(self) -> None:
        """Leave the grid, let go of the journals, after a ``read`` that is under way."""
        with self._busy:
            for follower in (self._posture, self._feed, *self._lanes, self._control):
                follower.close()
            if self._grid is not None:
                self._grid.close()

    def _read(self, kill_offered: bool) -> Snapshot:
        wall, monotonic = self._clocks.wall_ms(), self._clocks.monotonic()
        self._look_at_settings()
        grid = self._followed()
        grid.look()
        self._processes.look(self._settings, grid.beats, wall, monotonic)
        for follower in (self._posture, self._feed, *self._lanes):
            follower.look()
        self._logs.look(wall)
        self._look_at_orders()
        posture = self._posture.view(grid.view)
        features = grid.features(tuple(lane.lane for lane in self._shown()))
        now = Snapshot(
            as_of_ms=wall,
            deployment=self._deployment(),
            market=self._market_clock(wall, monotonic),
            concerns=[],
            posture=posture,
            kill=self._kill(grid, kill_offered),
            lanes=[self._lane(lane, grid, features) for lane in self._shown()],
            grid=grid.state(),
            processes=self._processes.views(self._outputs(features, posture), wall),
            features=features,
            feed=self._feed.view(grid.feed),
            alerts=sorted([*self._logs.alerts, *self._orders], key=lambda alert: -alert.at_ms)[:40],
            log=self._logs.lines,
        )
        return msgspec.structs.replace(now, concerns=concerns_of(now, grid.lost))

    def _look_at_settings(self) -> None:
        """`dolphin up` writes them; a file that cannot be read leaves those that were."""
        try:
            written = self._state.settings.stat().st_mtime_ns
        except OSError:
            written = 0
        if written == self._written:
            return
        self._written, mode = written, self._settings.live.mode
        self._unreadable = ""
        try:
            self._settings = load(self._state.settings).settings if written else self._given
        except DolphinError as error:
            self._unreadable = self._clean(str(error))

        if self._settings.live.mode != mode:
            for lane in self._lanes:
                lane.close()
            self._lanes = self._lane_followers()

    def _lane_followers(self) -> list[LaneFollower]:
        live = self._settings.live.mode == "live"
        paths = {lane: journal_path(self._state.journals, self._settings.lane_journal(lane)) for lane in LANES}
        return [LaneFollower(path, lane, self._clean, live=live) for lane, path in paths.items()]

    def _followed(self) -> GridFollower:
        config = msgspec.structs.replace(self._settings.grid, kind="hazelcast")
        if self._grid is None or self._grid.config != config:
            if self._grid is not None:
                self._grid.close()
            self._grid = GridFollower(config, self._connect, self._clean, (self._clocks.monotonic, self._clocks.wall_ms))
        return self._grid

    def _look_at_orders(self) -> None:
        """What operators did, from the control journal."""
        for record in self._control.take():
            if record.kind in (Kind.KILL, Kind.RELEASE):
                said = [self._clean(str(record.payload.get(name, ""))) for name in ("reason", "by")]
                severity = "CRITICAL" if record.kind == Kind.KILL else "INFO"
                text = f"{said[0]} (by {said[1]})"
                self._orders.append(
                    AlertView(at_ms=record.ts_ms, severity=severity, kind=record.kind, key="operator", text=text, service="control")
                )
        del self._orders[:-20]

    def _shown(self) -> list[LaneFollower]:
        """The configured lane, and every one that has a journal."""
        return [lane for lane in self._lanes if lane.lane in self._settings.paper.names or lane.bar is not None]

    def _deployment(self) -> Deployment:
        pid = self._processes.supervisor_pid
        left = self._processes.left_over
        return Deployment(
            state=str(self._state.root), up=pid > 0, supervisor_pid=pid, left_over=left, version=__version__, problem=self._unreadable
        )

    def _market_clock(self, wall: int, monotonic: float) -> Market:
        """The anchor stays until another replay begins, so that it changes only when the market's clock does."""
        try:
            clock: MarketClock | None = read_replay(self._state.replay) or read_market_clock(self._state.clock)
        except DolphinError:
            clock = None
        replay = clock if isinstance(clock, Replay) else None
        if self._market is None or self._market[0] != clock:
            at, speed = (wall, 1.0) if clock is None else (clock.market_ms(monotonic), clock.speed)
            days = "" if replay is None else f"{replay.first_date} to {replay.last_date}"
            self._market = clock, Market(wall_ms=wall, market_ms=at, speed=speed, replay=days, ended=False)
        ended = replay is not None and replay.market_ms(monotonic) >= day_start(replay.last_date) + DAY_MS
        return msgspec.structs.replace(self._market[1], ended=ended)

    def _kill(self, grid: GridFollower, offered: bool) -> KillView:
        engaged = self._switch.engaged()
        order = self._switch.order() if engaged else None
        return KillView(
            engaged=engaged,
            reason="" if order is None else self._clean(order.reason),
            by="" if order is None else self._clean(order.by),
            since_ms=None if order is None else order.ts_ms or None,
            grid=grid.kill(),
            offered=offered,
        )

    def _lane(self, lane: LaneFollower, grid: GridFollower, features: list[FeatureView]) -> LaneView:
        engine = self._settings.engine
        start, venue = start_capital(self._settings, lane.lane), grid.venue(lane.lane)
        capital, honest = lane.capital_now(start)
        began = lane.day_began(start)
        known = next((row for row in features if row.name == f"lane_{lane.lane}"), None)
        return LaneView(
            lane=lane.lane,
            live=lane.live,
            direction=lane.direction,
            configured=lane.lane in self._settings.paper.names,
            problem=self._clean(lane.problem),
            reading=lane.reading,
            unreadable=lane.unreadable,
            date=self._clean(lane.date),
            bar=lane.bar,
            bar_market_ms=lane.bar_ms,
            bar_seconds=self._feed.bar_seconds,
            equity=lane.equity,
            peak=lane.peak,
            capital=capital,
            honest_capital=honest,
            day_pnl=None if lane.equity is None or began is None else lane.equity - began,
            day_start=began,
            posture=lane.posture,
            blocks=lane.blocks,
            refusals=lane.refusals,
            safe_mode=lane.safe_mode,
            rejected=lane.rejected,
            rejection=lane.rejection,
            grid_state="UNKNOWN" if known is None else known.state,
            grid_ms=None if known is None else known.said_ms,
            venue=venue,
            position=lane.position(engine, self._feed.price(lane.held)),
            trades=lane.trades,
            last_trade=lane.last_trade,
            refused=lane.refused(),
            curve=lane.curve(venue),
        )

    def _outputs(self, features: list[FeatureView], posture: PostureView) -> dict[str, Output]:
        outputs = output_of(features)
        if posture.published is not None:
            outputs["system_watchdog"] = f"posture {posture.published}", posture.said_ms, None
        if self._feed.close_ms is not None:
            outputs["scanner"] = f"bar {self._feed.bar}", None, self._feed.close_ms
        for lane in self._shown():
            if lane.bar_ms is not None:
                outputs["trader"] = outputs[f"trader_{lane.lane.lower()}"] = f"{lane.lane} bar {lane.bar}", None, lane.bar_ms
        return outputs
