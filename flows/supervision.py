"""`dolphin up` and `dolphin down`: processes are started in order, each wave when the one before is healthy, and ended."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from dolphin.config import Settings, to_toml
from dolphin.errors import DolphinError, MissingDependency, Unavailable
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.jars import find_java, verified_jars
from dolphin.grid.loopback import foreign_listeners
from dolphin.grid.maps import HEARTBEAT, NOT_AT_WORK, STOPPED
from dolphin.grid.port import GridPort
from dolphin.grid.process import health, taken
from dolphin.storage.journal import JournalReader, Kind, journal_path
from dolphin.storage.lock import FileLock
from dolphin.storage.market_clock import MarketClock, read_market_clock, write_market_clock
from dolphin.storage.publish import publish
from dolphin.storage.replay import Replay, read_replay, write_replay
from dolphin.storage.state import StateFolder
from flows.processes import end, ours
from flows.scrape import PROMETHEUS, write_targets
from flows.services import ServiceSpec, is_trader
from flows.supervisor import ProcessInfo, Supervisor
from flows.workspace import jar_folder

__all__ = ["Plan", "beats_of", "check_live", "down", "follow", "last_words", "resumed", "up"]

GAP_S: Final = 0.1
SETTLE_S: Final = 11.0
"""Longer than two heartbeats: what they say of the replay's end is then not of before it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run: ``settings`` as every process will read them, ``replay`` None when live, ``services`` in the order of their start."""

    settings: Settings
    state: StateFolder
    services: tuple[ServiceSpec, ...]
    replay: Replay | None = None
    clock: MarketClock | None = None
    """A demo exchange's."""

    @property
    def waves(self) -> Iterator[list[ServiceSpec]]:
        """The services that start side by side, wave by wave. Several members find each other before anybody speaks to one."""
        wave: list[ServiceSpec] = []
        for spec in self.services:
            gathered = len(wave) > 1 and wave[-1].port > 0 and not spec.port
            if wave and (spec.waits or gathered):
                yield wave
                wave = []
            wave.append(spec)
        yield wave


def up(plan: Plan, tell: Callable[[str], None]) -> bool:
    """Start what does not run yet and return when all are healthy; whether anything had to be started. ``tell`` hears of the progress.

    What an earlier supervisor left behind is ended first. Raises ``MissingDependency`` without Java, jars or supervisor, ``Unavailable``
    when another plan runs here, a port is taken or a process does not become healthy; then nothing that this call started is left.
    """
    state = plan.state.made()
    with _alone(state):
        supervisor = Supervisor(state.root)
        fresh = not supervisor.alive
        with ExitStack() as undo:
            if fresh:
                _prepare(plan, tell)
                undo.callback(_end, state, supervisor, plan.settings)
                supervisor.launch(plan.services, plan.settings.supervision)
            else:
                _same(plan)
            started = _start(plan, supervisor, tell)
            undo.pop_all()
        write_targets(state)
        return fresh or started


def down(state: StateFolder, settings: Settings) -> list[int]:
    """End everything of this deployment, the trader first, the grid last; the pids that had to be found and ended one by one."""
    if not state.root.is_dir():
        return []
    with _alone(state):
        return _end(state, Supervisor(state.root), settings)


def follow(plan: Plan, tell: Callable[[str], None]) -> None:
    """Stay until the scanner has no more bars and the trader none waiting, then end everything; Ctrl-C and errors end everything, too.

    Raises ``Unavailable`` when a process is given up on the way.
    """
    supervisor, grid = Supervisor(plan.state.root), HazelcastGrid(plan.settings.grid, "dolphin-up", wait=False)
    quiet_since = None
    try:
        while quiet_since is None or time.monotonic() - quiet_since < SETTLE_S:
            time.sleep(1.0)
            given_up = [name for name, process in supervisor.processes().items() if process.state == "FATAL"]
            if given_up:
                raise Unavailable("; ".join(f"{name} keeps crashing: {last_words(plan.state, name)}" for name in given_up))
            words = {name: status for name, status, _ in sorted(_beats(grid).values(), key=lambda beat: beat[2])}
            lanes = [word for name, word in words.items() if is_trader(name)] or ["waiting"]
            busy = words.get("scanner") != "ended" or any(word in ("waiting", *NOT_AT_WORK) for word in lanes)
            quiet_since = None if busy else quiet_since or time.monotonic()
        tell("the replay has ended: the scanner has no more bars, the trader none waiting")
    finally:
        grid.close()
        down(plan.state, plan.settings)


def beats_of(grid: GridPort) -> dict[int, tuple[str, str, int]]:
    """By pid: service, status and ``ts_ms`` of the heartbeats in the grid."""
    found = {}
    for entry in grid.entries(HEARTBEAT):
        name, _, pid = entry.key.partition(":")[0], *entry.key.rpartition(":")[1:]
        if entry.record is not None and pid.isdigit():
            found[int(pid)] = (name, str(entry.record.get("status", "")), int(entry.record["ts_ms"]))
    return found


def last_words(state: StateFolder, name: str) -> str:
    """The last error in a process's log, or its last line."""
    try:
        lines = (state.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    said = [_spoken(line) for line in lines if line.strip()]
    errors = [text for text, loud in said if loud]
    return (errors or [text for text, _ in said] or ["nothing in its log"])[-1].strip()[:300]


def _spoken(line: str) -> tuple[str, bool]:
    """Message of a log line, and whether it is an error; services write JSON, members and interpreters plain text."""
    try:
        record = json.loads(line)
        return str(record["message"]), record["level"] in ("ERROR", "CRITICAL")
    except (ValueError, TypeError, KeyError):
        return line, re.search(r"\w(Error|Exception)\b|SEVERE", line) is not None


@contextmanager
def _alone(state: StateFolder) -> Iterator[None]:
    lock = FileLock(state.processes / "supervision.lock", "dolphin up or down")
    try:
        yield
    finally:
        lock.release()


def _prepare(plan: Plan, tell: Callable[[str], None]) -> None:
    """Everything that can be known to fail is checked before the first process starts."""
    state, grid = plan.state, plan.settings.grid
    find_java()
    verified_jars(jar_folder(grid.server), grid.server)
    left = end(state.root, plan.settings.supervision.stop_timeout_s)
    if left:
        tell(f"ended {len(left)} processes that an earlier supervisor had left behind")
    for spec in plan.services:
        if spec.port and taken(spec.port):
            raise Unavailable(f"127.0.0.1:{spec.port} is taken, and not by this deployment: `dolphin grid stop`, or --set grid.port=N")
    _forget(state)
    for path, text in ((state.settings, to_toml(plan.settings)), (state.root / "prometheus.yml", PROMETHEUS)):
        with publish(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if plan.replay is None:
        check_live(plan.clock, state)
        state.replay.unlink(missing_ok=True)
    else:
        write_replay(state.replay, resumed(plan.replay, state, tell))
    if plan.clock is None:
        state.clock.unlink(missing_ok=True)
    else:
        write_market_clock(state.clock, plan.clock)


def check_live(clock: MarketClock | None, state: StateFolder) -> None:
    """Raises ``Unavailable`` when the state folder holds bars of a replay, or of later than ``clock`` says it is."""
    path = journal_path(state.journals, "scanner")
    if not path.is_file():
        return
    with JournalReader(path) as journal:
        last = journal.last(Kind.SCAN)
    if last is None:
        return
    now = time.time_ns() // 1_000_000 if clock is None else clock.market_ms(time.monotonic())
    if state.replay.exists() or last.ts_ms > now + 60_000:
        at = dt.datetime.fromtimestamp(last.ts_ms / 1000, dt.UTC)
        raise Unavailable(f"{state.root} holds other bars, up to {at:%Y-%m-%d %H:%M} UTC: this feed needs another --set paths.state")


def resumed(replay: Replay, state: StateFolder, tell: Callable[[str], None]) -> Replay:
    """The replay from now on; where the state folder holds bars of it, from the last of them on.

    Raises ``Unavailable`` when they are another replay's.
    """
    path, start = journal_path(state.journals, "scanner"), replay.start_ms
    if path.is_file():
        with JournalReader(path) as journal:
            last = journal.last(Kind.SCAN)
        before = read_replay(state.replay)
        if before is not None and before.folder != replay.folder:
            raise Unavailable(f"{state.root} holds a replay of {before.folder}: another one needs another --set paths.state")
        if last is not None and last.ts_ms > start:
            start = last.ts_ms
            at = dt.datetime.fromtimestamp(start / 1000, dt.UTC)
            tell(f"the replay goes on at {at:%Y-%m-%d %H:%M} UTC, where it stopped; a new --set paths.state begins anew")
    return msgspec.structs.replace(replay, start_ms=start, started_monotonic=time.monotonic())


def _same(plan: Plan) -> None:
    """Raises ``Unavailable`` when what runs here was started otherwise."""
    running, wanted = read_replay(plan.state.replay), plan.replay
    if running is not None and wanted is not None:
        running = msgspec.structs.replace(running, start_ms=wanted.start_ms, started_monotonic=wanted.started_monotonic)
    if (
        running != wanted
        or read_market_clock(plan.state.clock) != plan.clock
        or plan.state.settings.read_text(encoding="utf-8") != to_toml(plan.settings)
    ):
        raise Unavailable(f"{plan.state.root} is up with other settings: `dolphin down` first")


def _start(plan: Plan, supervisor: Supervisor, tell: Callable[[str], None]) -> bool:
    """Wave by wave, each when all before it live; then until nothing is loading any more."""
    started, began, grid = False, time.monotonic(), HazelcastGrid(plan.settings.grid, "dolphin-up", wait=False)
    try:
        for wave in plan.waves:
            before = supervisor.processes()
            for spec in wave:
                if before[spec.name].pid == 0:
                    supervisor.start(spec.name)
                    started = True
            _await(plan, wave, supervisor, grid, (STOPPED,))
            tell(f"{', '.join(spec.name for spec in wave)}: there after {time.monotonic() - began:.1f} s")
        _await(plan, plan.services, supervisor, grid, NOT_AT_WORK)
        tell(f"all healthy after {time.monotonic() - began:.1f} s")
    finally:
        grid.close()
    return started


def _await(plan: Plan, wave: Sequence[ServiceSpec], supervisor: Supervisor, grid: GridPort, ill: Sequence[str]) -> None:
    """Until each of the wave is heard, none with a word of ``ill``."""
    began, limit = time.monotonic(), plan.settings.supervision.start_timeout_s
    while True:
        running, beats = supervisor.processes(), _beats(grid)
        sick = [spec for spec in wave if not _healthy(spec, running[spec.name], beats, plan.settings.grid.members, ill)]
        if not sick:
            return
        given_up = [spec for spec in sick if running[spec.name].state == "FATAL"]
        if given_up or time.monotonic() - began > limit:
            blamed, why = (given_up, "keeps crashing") if given_up else (sick, f"is not healthy after {limit:g} s")
            words = "; ".join(f"{spec.name} {why}: {last_words(plan.state, spec.name)}" for spec in blamed)
            raise Unavailable(f"{words} (all of it in {plan.state.logs})")
        time.sleep(GAP_S)


def _healthy(spec: ServiceSpec, process: ProcessInfo, beats: dict[int, tuple[str, str, int]], members: int, ill: Sequence[str]) -> bool:
    if process.pid == 0:
        return False
    if not spec.port:
        name, status, _ = beats.get(process.pid, ("", "", 0))
        return name == spec.name and status not in ill
    found = health(spec.port)
    if found.state != "ACTIVE" or found.size != members:
        return False
    foreign = foreign_listeners(process.pid)
    if foreign:
        raise MissingDependency(f"member {spec.port} listens on {', '.join(foreign)}, not on 127.0.0.1 alone: it was stopped")
    return True


def _beats(grid: GridPort) -> dict[int, tuple[str, str, int]]:
    try:
        return beats_of(grid)
    except MissingDependency:
        return {}


def _end(state: StateFolder, supervisor: Supervisor, settings: Settings) -> list[int]:
    """In order through the supervisor; then, by their mark, what it could not end, or all of it where no supervisor answers."""
    patience = settings.supervision.stop_timeout_s
    try:
        for wave in _waves_down(supervisor):
            for name in wave:
                supervisor.stop(name)
            _until(lambda names=wave: all(supervisor.processes()[name].pid == 0 for name in names), patience + 5.0)
        supervisor.shutdown()
        _until(lambda: not ours(state.root), patience)
    except DolphinError:
        pass  # frozen, dead or deaf: the mark finds what it started
    left = end(state.root, patience)
    _forget(state)
    return left


def _waves_down(supervisor: Supervisor) -> list[list[str]]:
    names = list(supervisor.processes())
    members = [name for name in names if name == "grid" or name.startswith("grid_")]
    first = [name for name in names if is_trader(name)]
    return [first, [name for name in names if name not in (*members, *first)], members]


def _until(done: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not done() and time.monotonic() < until:
        time.sleep(GAP_S)


def _forget(state: StateFolder) -> None:
    """What described processes that are gone; journals, tables and the kill switch stay."""
    described: list[Path] = [state.root / "supervisor.sock", state.root / "supervisor.pid", state.restarts, *state.processes.glob("*.json")]
    described += state.members.glob("*/member.json")
    for path in described:
        path.unlink(missing_ok=True)
