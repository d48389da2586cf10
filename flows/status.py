"""`dolphin status`: what supervisor, grid and state folder say about a deployment, put together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from dolphin.config import Settings
from dolphin.errors import MissingDependency, Unavailable
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.maps import FEATURES, NOT_AT_WORK
from dolphin.grid.port import GridPort
from dolphin.grid.process import health
from dolphin.storage.market_clock import MarketClock, read_market_clock
from dolphin.storage.replay import read_replay
from dolphin.storage.schema import day_start
from dolphin.storage.state import StateFolder
from flows.grid import posture_now
from flows.lane_now import LaneNow, lane_now
from flows.processes import ours
from flows.services import member_services
from flows.supervision import beats_of
from flows.supervisor import ProcessInfo, Supervisor
from flows.supervisor_events import restarts

__all__ = ["LATE_S", "ServiceRow", "Status", "member_ports", "service_rows", "status_of"]

LATE_S = 15.0
"""A heartbeat older than this is late: three were missed."""
QUICK_S = 3.0


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One process. ``heartbeat_s``: age of its heartbeat, None without one; ``status``: its own word, of a member the cluster's."""

    process: str
    state: str
    pid: int
    uptime_s: float
    heartbeat_s: float | None
    status: str
    restarts: int

    @property
    def healthy(self) -> bool:
        """Whether it runs and was heard of just now."""
        return self.pid > 0 and self.heartbeat_s is not None and self.heartbeat_s <= LATE_S and self.status not in (*NOT_AT_WORK, "")


@dataclass(frozen=True, slots=True)
class Status:
    """``posture`` None: the grid does not answer. ``lag_s``: market seconds from the newest bar on the grid to the market's time.

    ``speed``: market seconds in one of ours, 0 = live; ``lane`` None: no bar was processed yet; ``others``: lanes beside the first.
    """

    supervisor_pid: int
    rows: list[ServiceRow]
    left_over: list[int]
    posture: dict[str, Any] | None
    kill: bool
    market_ms: int
    lag_s: float | None
    replay_ended: bool
    speed: float
    lane: LaneNow | None
    others: tuple[LaneNow, ...] = ()
    live: bool = False
    """Whether the bars come from a feed, not from a replay."""
    feed: dict[str, Any] | None = None
    """The scanner's record of its live feed (``dolphin.grid.maps.FeedState``)."""

    @property
    def healthy(self) -> bool:
        """Whether every process is."""
        return bool(self.rows) and all(row.healthy for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        rows = [{**asdict(row), "healthy": row.healthy} for row in self.rows]
        return {
            **{f: getattr(self, f) for f in self.__slots__ if f not in ("rows", "lane", "others")},
            "lane": None if self.lane is None else self.lane.to_dict(),
            "lanes": [lane.to_dict() for lane in (self.lane, *self.others) if lane is not None],
            "up": self.supervisor_pid > 0,
            "healthy": self.healthy,
            "processes": rows,
        }


def status_of(state: StateFolder, settings: Settings) -> Status:
    """Ask everybody, a few seconds at most; whoever does not answer is shown as unknown."""
    supervisor = Supervisor(state.root)
    try:
        pid, processes = supervisor.pid(), supervisor.processes()
    except Unavailable:
        pid, processes = 0, {}
    posture, lag, beats, feed, replay = None, None, {}, None, read_replay(state.replay)
    clock, ports = replay or read_market_clock(state.clock), member_ports(settings)
    if processes and any(health(port).state for port in ports.values()):
        try:
            grid = HazelcastGrid(msgspec.structs.replace(settings.grid, connect_timeout_s=QUICK_S), "dolphin-status")
            try:
                posture, beats, lag = posture_now(grid), beats_of(grid), _lag(grid, clock)
                feed = grid.read(FEATURES, "feed").record if replay is None else None
            finally:
                grid.close()
        except MissingDependency:
            pass
    rows = service_rows(processes, ports, beats, restarts(state))
    left = [] if pid else ours(state.root)
    market = _market(clock)
    ended = replay is not None and market >= _end_ms(replay.last_date)
    lane, *more = (lane_now(state.journals, settings, name) for name in settings.paper.names)
    speed, others = 0.0 if clock is None else clock.speed, tuple(other for other in more if other is not None)
    return Status(pid, rows, left, posture, state.kill.exists(), market, lag, ended, speed, lane, others, replay is None, feed)


def service_rows(
    processes: Mapping[str, ProcessInfo], ports: Mapping[str, int], beats: Mapping[int, tuple[str, str, int]], counts: Mapping[str, int]
) -> list[ServiceRow]:
    """What the supervisor, the members' health URLs (``ports`` by name) and the heartbeats (by pid) say of each process."""
    return [_row(info, ports, beats, counts.get(info.name, 0)) for info in processes.values()]


def _row(info: ProcessInfo, ports: Mapping[str, int], beats: Mapping[int, tuple[str, str, int]], restarted: int) -> ServiceRow:
    if info.name in ports:
        found = health(ports[info.name]) if info.pid else None
        word = "" if found is None or not found.state else f"{found.state} {found.size} member{'s' if found.size != 1 else ''}"
        return ServiceRow(info.name, info.state, info.pid, info.uptime_s, 0.0 if word else None, word, restarted)
    _, word, ts_ms = beats.get(info.pid, ("", "", 0))
    age = max(0.0, time.time() - ts_ms / 1000.0) if ts_ms else None
    return ServiceRow(info.name, info.state, info.pid, info.uptime_s, age, word, restarted)


def member_ports(settings: Settings) -> dict[str, int]:
    """Of each member of the grid, by its name in the supervisor, the port."""
    first = settings.grid.port
    return {spec.name: spec.port for spec in member_services(range(first, first + settings.grid.members))}


def _lag(grid: GridPort, clock: MarketClock | None) -> float | None:
    """The clock is read after the grid: at many times the market's speed a bar closes meanwhile."""
    record = grid.read(FEATURES, "scan_latest").record or {}
    stamp = record.get("close_ms")
    return (_market(clock) - stamp) / 1000.0 if isinstance(stamp, int) else None


def _market(clock: MarketClock | None) -> int:
    return time.time_ns() // 1_000_000 if clock is None else clock.market_ms(time.monotonic())


def _end_ms(last_date: str) -> int:
    return day_start(last_date) + 86_400_000
