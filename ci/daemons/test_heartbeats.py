"""What counts as a sign of life of a service, and from when on."""

from __future__ import annotations

import math

from daemon_worlds import START_MS, World

from daemons.heartbeats import Heartbeats
from dolphin.grid.maps import HEARTBEAT
from dolphin.grid.record import Entry


def beat(pid: int, seq: int, status: str, ts_ms: int) -> Entry:
    record = {"schema": "dolphin.heartbeat/1", "seq": seq, "ts_ms": ts_ms, "status": status}
    return Entry(HEARTBEAT, f"trader:here:{pid}", record)


def test_a_process_that_loads_is_no_sign_of_life_and_does_not_renew_its_predecessors(world: World):
    beats = Heartbeats(world.clock)
    beats.take([beat(1, 1, "loading", START_MS)])
    assert math.isinf(beats.age_s("trader"))
    beats.take([beat(1, 2, "running", START_MS)])
    assert beats.age_s("trader") == 0.0
    world.clock.advance(20)
    beats.take([beat(2, 1, "loading", START_MS + 20_000)])
    assert beats.age_s("trader") == 20.0
    beats.take([beat(2, 2, "running", START_MS + 20_000)])
    assert beats.age_s("trader") == 0.0
    beats.take([beat(2, 3, "stopped", START_MS + 20_000)])
    assert beats.age_s("trader") == 20.0
