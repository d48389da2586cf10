"""The grid of a simulation: one set of members, and each process's own connection to it, which a fault may take, slow or falsify."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dolphin.errors import MissingDependency
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.record import Raw, Reason
from sim.clocks import ProcessClock

__all__ = ["Fuse", "Killed", "Link", "LinkFault", "Members"]

TIMEOUT_S = 4.0
"""A turn whose calls took longer in sum gives the rest up."""


class Killed(BaseException):
    """kill -9 at this very statement."""


@dataclass(slots=True)
class Fuse:
    """Burns down by one at every durable step or call; at zero the process dies there. ``point``: before, inside or after the step."""

    point: str
    left: int

    def burn(self, *points: str) -> None:
        """Count, when the fuse lies at one of ``points``."""
        if self.point in points:
            self.left -= 1
            if self.left < 0:
                raise Killed


@dataclass(slots=True)
class LinkFault:
    """What a connection suffers. ``slow_s``: longest time of a call."""

    cut: bool = False
    reads_only: bool = False
    lose_writes: bool = False
    lose_answers: bool = False
    slow_s: float = 0.0
    events: str = ""
    """drop, twice or late."""

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self != LinkFault()


class Members(EmbeddedGrid):
    """The members. ``away``: nobody answers. Every change goes to all connections, and to ``seen`` (map, key, text or None)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.away = self.planting = False
        self.links: list[Link] = []
        self.seen: list[Callable[[str, str, Raw], None]] = []

    def wipe(self) -> None:
        """Come back empty: nobody is told."""
        names = [(name, key) for name, entries in self._maps.items() for key in entries]
        self._maps.clear()
        self._until.clear()
        for name, key in names:
            for look in self.seen:
                look(name, key, None)

    def plant(self, name: str, key: str, text: str) -> None:
        """Put a text there past every check, as a foreign client would."""
        self.planting = True
        self._store(name, key, text, None)
        self.planting = False

    def _tell(self, name: str, key: str, raw: Raw) -> None:
        for look in self.seen:
            look(name, key, raw)
        for link in self.links:
            link.hear(name, key, raw)


class Link(EmbeddedGrid):
    """A process's connection: an embedded grid to its owner, so that nothing waits for threads."""

    def __init__(self, members: Members, clock: ProcessClock, rng: random.Random) -> None:
        super().__init__(clock.monotonic)
        self.grid, self.clock, self._rng = members, clock, rng
        self.fault = LinkFault()
        self.fuse: Fuse | None = None
        self.answered_ms = clock.world.now_ms
        """When a call last had an answer."""
        self.clean_ms = clock.world.now_ms
        """Since when nothing has been wrong."""
        self._late: list[tuple[int, str, str, Raw]] = []
        members.links.append(self)

    @property
    def members(self) -> int:
        return 0 if self.fault.cut or self.grid.away else self.grid.members

    def heal(self) -> None:
        """The fault is over: what may have been missed is told, as a client does that has reconnected."""
        self.fault = LinkFault()
        self.clean_ms = self.clock.world.now_ms
        self.reconnect()

    def reconnect(self) -> None:
        """Tell the watchers to read again."""
        for name in list(self._watchers):
            self._tell(name, "", Reason.RECONNECTED)

    def close(self) -> None:
        super().close()
        if self in self.grid.links:
            self.grid.links.remove(self)

    def hear(self, name: str, key: str, raw: Raw) -> None:
        """A change in the members."""
        if self.fault.cut or self.grid.away or self.fault.events == "drop":
            return
        if self.fault.events == "late":
            self._late.append((self.clock.world.now_ms + self._rng.randrange(500, 8_000), name, key, raw))
            return
        self._tell(name, key, raw)
        if self.fault.events == "twice":
            self._tell(name, key, raw)

    def deliver(self) -> None:
        """Late events whose time has come, in whatever order that is."""
        if self._late:
            now = self.clock.world.now_ms
            due = sorted(((event[0], k) for k, event in enumerate(self._late) if event[0] <= now))
            events = [self._late[k] for _, k in due]
            self._late = [event for event in self._late if event[0] > now]
            for _, name, key, raw in events:
                self._tell(name, key, raw)

    def _load(self, name: str, key: str) -> Raw:
        self._ask()
        return self.grid._load(name, key)

    def _load_all(self, name: str) -> dict[str, Raw]:
        self._ask()
        return self.grid._load_all(name)

    def _store(self, name: str, key: str, text: str, ttl_s: float | None) -> None:
        if self._send():
            self.grid._store(name, key, text, ttl_s)
        self._confirmed()

    def _store_many(self, name: str, texts: Mapping[str, str]) -> None:
        if self._send():
            self.grid._store_many(name, texts)
        self._confirmed()

    def _add(self, name: str, key: str, text: str, ttl_s: float | None) -> bool:
        self._decide()
        done = self.grid._add(name, key, text, ttl_s)
        self._confirmed()
        return done

    def _swap(self, name: str, key: str, old: str, new: str) -> bool:
        self._decide()
        done = self.grid._swap(name, key, old, new)
        self._confirmed()
        return done

    def _extend(self, name: str, key: str, ttl_s: float) -> None:
        if self._send():
            self.grid._extend(name, key, ttl_s)
        self._confirmed()

    def _drop(self, name: str, key: str) -> None:
        if self._send():
            self.grid._drop(name, key)
        self._confirmed()

    def _ask(self) -> None:
        """A call goes out and an answer comes."""
        if self.fuse is not None:
            self.fuse.burn("call")
        if not self._open or self.fault.cut or self.grid.away:
            raise MissingDependency("no member answers")
        if self.fault.slow_s:
            self.clock.ahead_s += self._rng.uniform(0.0, self.fault.slow_s)
            if self.clock.ahead_s > TIMEOUT_S:
                raise MissingDependency("no answer in time")
        self.answered_ms = self.clock.world.now_ms

    def _send(self) -> bool:
        """Whether a write arrives."""
        self._ask()
        if self.fault.reads_only:
            raise MissingDependency("the write was not taken")
        return not self.fault.lose_writes

    def _decide(self) -> None:
        """A compare-and-set is answered by the members or not at all."""
        if not self._send():
            raise MissingDependency("no answer to a compare-and-set")

    def _confirmed(self) -> None:
        if self.fault.lose_answers and self._rng.random() < 0.5:
            raise MissingDependency("the write was taken, its answer is lost")
