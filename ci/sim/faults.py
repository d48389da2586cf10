"""What goes wrong, drawn from a seed: when, what, to whom, for how long. ``begin`` does it, ``end`` makes it good again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from dolphin.errors import Unavailable
from dolphin.grid.maps import CONTROL, FEATURES, HEARTBEAT, SAFETY, Kill, fields
from dolphin.storage.journal import Journal, Kind, journal_path
from dolphin.storage.kill_switch import KillOrder, KillSwitch
from sim.links import Fuse, LinkFault
from sim.topology import KINDS, World

__all__ = ["FAULTS", "Fault", "draw", "start_order"]

TWICE: Final = ("system_watchdog", "acb_processor", "trader")
PLACES: Final = (
    (SAFETY, "latest"), (FEATURES, "acb_boost"), (FEATURES, "mc_forewarner"), (FEATURES, "ob_macro"), (FEATURES, "lane_BLUE"),
    (FEATURES, "scan_latest"), (CONTROL, "kill"), ("DOLPHIN_LEASES", "system_watchdog"), ("DOLPHIN_LEASES", "fence:system_watchdog"),
    ("DOLPHIN_LEASES", "fence:acb_processor"), ("DOLPHIN_LEASES", "trader_BLUE"), ("DOLPHIN_FEATURES_SHARD_03", "book_BTCUSDT"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """``kind`` from ``at_ms`` for ``ms``; ``who``: process, empty = the deployment; ``value``: size, or the seed of what is planted."""

    at_ms: int
    kind: str
    who: str
    ms: int
    value: int

    def begin(self, world: World) -> Callable[[], None] | None:
        """Do it; how it is ended, None when it ends by itself."""
        world.count(self.kind)
        return FAULTS[self.kind](world, self)


def start_order(rng: random.Random) -> list[str]:
    """One of the 720 orders in which six processes may come up."""
    return rng.sample(sorted(KINDS), len(KINDS))


def draw(rng: random.Random, first_ms: int, last_ms: int, many: int, *, live: bool) -> list[Fault]:
    """``many`` faults, all over by ``last_ms``."""
    found = []
    for _ in range(many):
        kind = rng.choice(sorted(FAULTS))
        who = rng.choice(TWICE) if kind.startswith("second") else rng.choice(sorted(KINDS))
        if live and kind == "wall clock jumps" and who in ("scanner", "ob_stream"):
            who = "trader"  # their recorded sources would play the future
        at_ms = rng.randrange(first_ms, last_ms - 10_000)
        ms = min(rng.choice((3_000, 8_000, 20_000, 40_000, 70_000)) + rng.randrange(2_000), last_ms - at_ms)
        found.append(Fault(at_ms, kind, who, ms, rng.randrange(2**31)))
    return sorted(found, key=lambda fault: (fault.at_ms, fault.kind, fault.who))


def _kill(world: World, fault: Fault) -> None:
    world.process(fault.who).kill(fault.ms)


def _pair(world: World, fault: Fault) -> None:
    for name in random.Random(fault.value).sample(sorted(KINDS), 2):
        world.process(name).kill(fault.ms)


def _restart(world: World, fault: Fault) -> Callable[[], None]:
    process = world.process(fault.who)
    process.stop()

    def back() -> None:
        process.wanted, process.due_ms = True, world.clock.now_ms

    return back


def _freeze(world: World, fault: Fault) -> None:
    world.process(fault.who).freeze(fault.ms)


def _fuse(world: World, fault: Fault) -> None:
    """It may be its next life that dies, while it comes back."""
    process, rng = world.process(fault.who), random.Random(fault.value)
    fuse = Fuse(rng.choice(("before", "inside", "after", "call")), rng.randrange(0, 12))
    process.fuse = fuse
    if process.runner is not None:
        journal: Any = process.runner.context.journal
        journal.fuse = process.link.fuse = fuse


def _away(world: World, fault: Fault) -> Callable[[], None]:
    world.members.away = True
    empty = bool(fault.value % 2)

    def back() -> None:
        world.members.away = False
        if empty:
            world.members.wipe()
        for link in list(world.members.links):
            link.clean_ms = world.clock.now_ms
            link.reconnect()

    return back


def _wipe(world: World, fault: Fault) -> None:
    world.members.wipe()
    for link in list(world.members.links):
        link.clean_ms = world.clock.now_ms


def _link(**given: Any) -> Callable[[World, Fault], Callable[[], None]]:
    def begin(world: World, fault: Fault) -> Callable[[], None]:
        process = world.process(fault.who)
        if process.runner is None:
            return lambda: None
        link = process.link
        link.fault = LinkFault(**given)

        def heal() -> None:
            if link in world.members.links:
                link.heal()

        return heal

    return begin


def _jump(world: World, fault: Fault) -> Callable[[], None]:
    process = world.process(fault.who)
    jump = (1 if fault.value % 2 else -1) * (1_000, 6_000, 120_000, 3_600_000)[fault.value // 2 % 4]

    def put(ms: int) -> None:
        process.jump_ms = ms
        if process.runner is not None:
            process.clock.jump_ms, process.clock.right_ms = ms, world.clock.now_ms

    put(jump)
    return lambda: put(0)


def _second_here(world: World, fault: Fault) -> None:
    """On the same state folder: it must not come up, the first one's lock holds."""
    if world.process(fault.who).runner is None:
        return
    twin = world.add(fault.who, world.host, 99)
    before = len(world.ended)
    twin.turn()
    refused = twin.runner is None and len(world.ended) == before + 1 and "held by" in world.ended[-1][3]
    twin.stop()
    world.processes.remove(twin)
    if not refused:
        raise AssertionError(f"a second {fault.who} came up on one state folder")


def _second_there(world: World, fault: Fault) -> Callable[[], None]:
    """From another machine: the writer's lock decides."""
    host = world.host_of(f"host{fault.at_ms}x{fault.value}")
    twin = world.add(fault.who, host, 50, world.clock.now_ms)

    def gone() -> None:
        twin.kill(0) if fault.value % 2 else twin.stop()
        world.processes.remove(twin)

    return gone


def _switch(world: World, fault: Fault) -> Callable[[], None]:
    """By the file, or by an order through the grid; released by an operator, who also looks into the control journal."""
    switch = KillSwitch(world.host.state.kill)
    order = KillOrder(reason=f"drill {fault.value}", by="operator", ts_ms=world.clock.start_ms + world.clock.now_ms)
    if fault.value % 2:
        switch.engage(order)
    else:
        world.members.plant(CONTROL, "kill", _text(Kill(engaged=True, reason=order.reason, by=order.by, ts_ms=order.ts_ms)))

    def release() -> None:
        switch.release("the drill is over")
        now = world.clock.start_ms + world.clock.now_ms
        world.members.plant(CONTROL, "kill", _text(Kill(engaged=False, reason="", by="operator", ts_ms=now)))
        try:
            with Journal.open(journal_path(world.host.state.journals, "control"), "control") as journal:
                journal.append(Kind.RELEASE, {"reason": "the drill is over", "by": "operator"}, now)
        except Unavailable as error:
            raise AssertionError(f"the control journal refused: {error}") from error

    return release


def _plant(world: World, fault: Fault) -> None:
    """A foreign client writes what no reader may act on; the owner's next write is good again."""
    rng = random.Random(fault.value)
    beats = sorted(entry.key for entry in world.members.entries(HEARTBEAT)) if not world.members.away else []
    name, key = rng.choice([*PLACES, *((HEARTBEAT, beat) for beat in beats[:2])])
    if world.members.away:
        return
    world.members.plant(name, key, rng.choice(_HOSTILE)(world, name, key))


def _altered(**changes: Any) -> Callable[[World, str, str], str]:
    def alter(world: World, name: str, key: str) -> str:
        record = world.members.read(name, key).record or {"schema": "dolphin.nothing/1", "ts_ms": 0}
        now = world.clock.start_ms + world.clock.now_ms
        return json.dumps({**record, **{k: v(record, now) if callable(v) else v for k, v in changes.items()}})

    return alter


_HOSTILE: Final[tuple[Callable[[World, str, str], str], ...]] = (
    lambda *_: "x" * 300_000,
    lambda *_: '{"a":' * 5_000 + "1" + "}" * 5_000,
    lambda *_: '{"schema": "dolphin.posture/1", "ts_ms": 1, "rm": NaN}',
    lambda *_: "[1, 2, 3]",
    lambda *_: '{"ts_ms": 5}',
    lambda *_: '{"schema": "dolphin.acb/1", "ts_ms": "now"}',
    _altered(posture="GODMODE", boost=99.0, status="GREAT", engaged="no", equity="much"),
    _altered(seq=lambda record, _: max(0, int(record.get("seq", 0)) - 3), ts_ms=lambda record, _: max(0, int(record["ts_ms"]) - 60_000)),
    _altered(ts_ms=lambda _, now: now + 3_600_000),
    _altered(seq=True, beta=[], fence=-1, number="high", owner=7),
)


def _text(record: msgspec.Struct) -> str:
    return json.dumps(fields(record))


FAULTS: Final[dict[str, Callable[[World, Fault], Callable[[], None] | None]]] = {
    "kill -9": _kill,
    "kill -9 of two": _pair,
    "stop and start": _restart,
    "freeze": _freeze,
    "dies at a durable step": _fuse,
    "grid away, sometimes back empty": _away,
    "grid emptied": _wipe,
    "link cut": _link(cut=True),
    "link slow": _link(slow_s=0.6),
    "link takes no writes": _link(reads_only=True),
    "link loses writes silently": _link(lose_writes=True),
    "link loses answers": _link(lose_answers=True),
    "events dropped": _link(events="drop"),
    "events twice": _link(events="twice"),
    "events late and out of order": _link(events="late"),
    "wall clock jumps": _jump,
    "second process, same host": _second_here,
    "second process, other host": _second_there,
    "kill switch": _switch,
    "hostile value": _plant,
}
