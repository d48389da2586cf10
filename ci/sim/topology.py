"""Processes of a simulation: the daemons' own classes in turns of ``Runner``, killed, and started again as a supervisor would."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon_worlds import Told

from daemons.acb_processor import AcbProcessor
from daemons.mc_forewarner import McForewarner
from daemons.ob_stream import BookService
from daemons.outbox import Outbox
from daemons.runner import Runner
from daemons.scanner import ScannerService
from daemons.service import Context, Service
from daemons.system_watchdog import SystemWatchdog
from daemons.trader import TraderService
from dolphin.config import Settings
from dolphin.errors import DolphinError
from dolphin.storage.journal import Entry, Journal, Kind, journal_path
from dolphin.storage.lock import FileLock
from dolphin.storage.replay import Replay
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import Alert
from dolphin.telemetry.metrics import Metrics
from sim.clocks import ProcessClock, WorldClock
from sim.links import Fuse, Killed, Link, Members
from sim.market import Market, SteadyBooks, forewarner_of

__all__ = ["KINDS", "Host", "Process", "World"]

KINDS: Final[dict[str, type[Service]]] = {
    kind.name: kind for kind in (AcbProcessor, BookService, SystemWatchdog, McForewarner, ScannerService, TraderService)
}
SLOWER: Final = {"acb_processor": 2, "mc_forewarner": 2}
"""They have little to do."""
MOST_BACK_OFF_MS: Final = 30_000


class FragileJournal(Journal):
    """Dies where its fuse says; tells the world what is durable."""

    fuse: Fuse | None = None
    tell: Callable[[Sequence[Entry], Sequence[int]], None] | None = None

    def append_many(self, entries: Sequence[Entry]) -> list[int]:
        self._burn("before")
        seqs = super().append_many(entries)
        if self.tell is not None:
            self.tell(entries, seqs)
        self._burn("after")
        return seqs

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with super()._transaction():
            yield
            self._burn("inside")

    def _burn(self, point: str) -> None:
        if self.fuse is not None:
            self.fuse.burn(point)


class TrainedForewarner(McForewarner):
    """Models are fitted once, not in every life."""

    def start(self) -> None:
        settings = self.context.settings
        self._forewarner, self.status = forewarner_of(settings.paths.forewarner, settings.engine), "loaded"


@dataclass(frozen=True)
class Host:
    """A state folder and the switch in it."""

    name: str
    state: StateFolder


class Process:
    """One place in the supervisor's table, through all its lives."""

    def __init__(self, world: World, name: str, host: Host, rank: int) -> None:
        self.world, self.name, self.host, self.rank = world, name, host, rank
        self.due_ms, self.frozen_ms, self.born_ms = 0, 0, 0
        self.wanted = True
        self.runner: Runner | None = None
        self.fuse: Fuse | None = None
        self.failures = 0
        self.jump_ms = 0
        self.clock: ProcessClock
        self.link: Link
        self._opened = ExitStack()

    @property
    def service(self) -> Service | None:
        """The live one."""
        return self.runner.service if self.runner is not None else None

    @property
    def next_ms(self) -> float:
        """When it is due, inf: never."""
        return max(self.due_ms, self.frozen_ms) if self.wanted else math.inf

    def turn(self) -> None:
        """A turn, or a new life."""
        world = self.world
        try:
            if self.runner is None:
                self._born()
            assert self.runner is not None
            random.seed(world.rng.getrandbits(64))  # of the back-off's jitter
            self.link.deliver()
            wait = self.runner.turn()
            self.due_ms = world.clock.now_ms + max(1, math.ceil((wait + self.clock.ahead_s) * 1000.0))
            self.clock.ahead_s = 0.0
            if world.clock.now_ms - self.born_ms > MOST_BACK_OFF_MS:
                self.failures = 0
        except Killed:
            world.count("died at a durable step or call")
            self.kill(world.rng.randrange(500, 20_000))
        except DolphinError as error:
            self._ended(error)

    def kill(self, back_ms: int) -> None:
        """kill -9: nothing is told to anybody, the system takes locks and files back. A supervisor starts it again."""
        self._gone()
        self.due_ms = self.world.clock.now_ms + back_ms

    def stop(self) -> None:
        """SIGTERM; it stays down."""
        if self.runner is not None:
            try:
                self.runner.stop()
            except (Killed, DolphinError) as error:
                self.world.count(f"stopped by {type(error).__name__}")
        self._gone()
        self.wanted = False

    def freeze(self, ms: int) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.frozen_ms = self.world.clock.now_ms + ms

    def _born(self) -> None:
        world, kind = self.world, KINDS[self.name]
        self.clock = ProcessClock(world.clock, world.replay)
        self.clock.jump_ms, self.clock.right_ms = self.jump_ms, world.clock.now_ms
        self.link = Link(world.members, self.clock, world.rng)
        self._opened.callback(self.link.close)
        self.born_ms = world.clock.now_ms
        service = world.service(kind, self._context(kind))
        service.every_s = max(service.every_s, world.step_s * SLOWER.get(self.name, 1))
        if isinstance(service, TraderService):
            self._opened.callback(service._log.close)
        self.runner = Runner(service)
        world.count(f"lives of {self.name}", "lives")

    def _context(self, kind: type[Service]) -> Context:
        world, state, settings = self.world, self.host.state, self.world.settings
        identity = f"{self.name}:{self.host.name}:{next(world.pids)}"
        lock = FileLock(state.processes / f"{self.name}.lock", identity)
        self._opened.callback(lock.release)
        writer = kind.writer(settings)
        journal = FragileJournal(journal_path(state.journals, writer), writer)
        self._opened.callback(journal.close)
        journal.fuse = self.link.fuse = self.fuse
        journal.tell = lambda entries, seqs: world.durable(self, entries, seqs)
        journal.append(Kind.STARTED, {"version": "sim", "config_hash": "sim", "pid": 0}, self.clock.wall_ms())
        return Context(
            identity=identity, settings=settings, state=state, clock=self.clock, grid=self.link, journal=journal,
            outbox=Outbox(journal, self.link), alerts=Told(world.told), metrics=world.metrics, log=world.log,
        )  # fmt: skip

    def _gone(self) -> None:
        self._opened.close()
        self._opened = ExitStack()
        self.runner, self.fuse = None, None

    def _ended(self, error: DolphinError) -> None:
        """It gave up by itself, with a reason; started again, later and later."""
        self.failures += 1
        self.world.count(f"{self.name} ended: {type(error).__name__}", "ends")
        self.world.ended.append((self.world.clock.now_ms, self.name, self.host.name, str(error)))
        self.kill(min(MOST_BACK_OFF_MS, 1000 * 2 ** min(self.failures, 10)))


class World:
    """The deployment. ``durable`` and ``members.seen`` are where checkers listen; ``rng`` is the run's only chance."""

    def __init__(self, root: Path, market: Market, settings: Settings, seed: int, *, speed: float, step_s: float) -> None:
        self.root, self.market, self.settings, self.step_s = root, market, settings, step_s
        self.rng = random.Random(seed)
        self.clock = WorldClock(market.start_ms)
        live = speed == 1.0
        self.replay = None if live else _replay(market, speed)
        self.speed = speed
        self.members = Members(self.clock.seconds)
        self.metrics, self.log = Metrics(self.clock.seconds), _quiet()
        self.pids = iter(range(1, 1_000_000))
        self.told: list[Alert] = []
        self.ended: list[tuple[int, str, str, str]] = []
        self.counts: dict[str, dict[str, int]] = {}
        self.listeners: list[Callable[[Process, Sequence[Entry], Sequence[int]], None]] = []
        self.host = self.host_of("one")
        self.processes: list[Process] = []

    def host_of(self, name: str) -> Host:
        """A machine with a state folder of its own."""
        return Host(name, StateFolder(self.root / name).made())

    def add(self, name: str, host: Host, rank: int, at_ms: int = 0) -> Process:
        """A place in a supervisor's table."""
        process = Process(self, name, host, rank)
        process.due_ms = at_ms
        self.processes.append(process)
        return process

    def process(self, name: str) -> Process:
        """The first host's."""
        return next(p for p in self.processes if p.name == name and p.host is self.host)

    def market_ms(self, ahead_s: float = 0.0) -> int:
        """What time it really is on the market, for who is ``ahead_s`` into a turn."""
        now = self.clock.now_ms + round(ahead_s * 1000.0)
        return self.clock.start_ms + now if self.replay is None else self.replay.market_ms(now / 1000.0)

    def count(self, what: str, group: str = "faults") -> None:
        """Note that it happened."""
        found = self.counts.setdefault(group, {})
        found[what] = found.get(what, 0) + 1

    def durable(self, process: Process, entries: Sequence[Entry], seqs: Sequence[int]) -> None:
        """Called when records are on the disk."""
        for listen in self.listeners:
            listen(process, entries, seqs)

    def service(self, kind: type[Service], context: Context) -> Service:
        """A service of ``kind`` on the simulation's sources."""
        if kind is ScannerService:
            return ScannerService(context, self.market.source())
        if kind is BookService:
            every_ms = round(self.step_s * self.speed * 1000.0)
            return BookService(context, SteadyBooks(self.market.symbols, every_ms) if self.settings.survival.order_book else None)
        return TrainedForewarner(context) if kind is McForewarner else kind(context)

    def next_process(self) -> Process:
        """Whose turn it is."""
        return min(self.processes, key=lambda process: (process.next_ms, process.rank))

    def close(self) -> None:
        """Kill everything."""
        for process in self.processes:
            process.wanted = False
            process.kill(0)


def _replay(market: Market, speed: float) -> Replay:
    return Replay(
        folder=str(market.folder / "klines"), first_date=market.first, last_date=market.last,
        start_ms=market.start_ms, started_monotonic=0.0, speed=speed,
    )  # fmt: skip


def _quiet() -> logging.Logger:
    """What services log is not looked at here."""
    log = logging.getLogger("dolphin.sim")
    log.setLevel(logging.CRITICAL)
    return log
