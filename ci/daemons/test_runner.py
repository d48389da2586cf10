"""The skeleton on a virtual clock: turns, heartbeats, back-off, publishing again; clocks of a replay."""

from __future__ import annotations

import re

import pytest
from daemon_worlds import START_MS, World

from daemons.clock import RealClock, VirtualClock
from daemons.service import Service
from dolphin.errors import Fenced, MalformedFile, MissingDependency
from dolphin.grid.maps import HEARTBEAT
from dolphin.storage.journal import Kind
from dolphin.storage.replay import Replay, read_replay, write_replay
from dolphin.telemetry.alerts import AlertKind

KILL = {"schema": "dolphin.kill/1", "ts_ms": START_MS, "reason": "test", "by": "me", "engaged": True}


class Counting(Service):
    """Counts its steps; fails as it is told."""

    name = "counting"
    every_s = 1.0

    def __init__(self, context):
        super().__init__(context)
        self.steps: list[float] = []
        self.failing, self.returned = False, 0

    def step(self):
        self.steps.append(self.context.clock.monotonic())
        if self.failing:
            raise MissingDependency("the feed is away")

    def reconnected(self):
        self.returned += 1


def heartbeats(world: World) -> list[dict]:
    return [entry.record for entry in world.grid.entries(HEARTBEAT)]


def test_a_service_steps_every_second_and_its_heartbeat_counts_every_five(world):
    service = world.start(Counting)
    world.run(20.5)
    assert len(service.steps) == 21
    assert [beat["seq"] for beat in heartbeats(world)] == [6], "one before the first step, one after it"
    assert heartbeats(world)[0]["ts_ms"] == START_MS + 20_000


def test_a_service_is_heard_before_its_first_step_and_says_that_it_loads(world):
    service, heard = world.start(Counting), []

    def slow_start():
        heard.extend(heartbeats(world))
        world.clock.advance(20)

    service.start = slow_start
    world.runners[0].turn()
    assert [(beat["seq"], beat["status"]) for beat in heard] == [(1, "loading")]
    assert [(beat["seq"], beat["status"]) for beat in heartbeats(world)] == [(2, "running")]


def test_the_first_step_waits_for_the_grid_and_not_for_ever(world):
    world.grid.away = True
    service = world.start(Counting)
    world.run(9)
    assert service.steps == []
    assert world.told == []
    world.run(3)
    assert service.steps
    assert [alert.kind for alert in world.told] == [AlertKind.STALE_GRID]


def test_a_failing_step_is_tried_again_later_and_later_while_the_heartbeat_goes_on(world):
    service = world.start(Counting)
    service.failing = True
    world.run(60)
    gaps = [b - a for a, b in zip(service.steps, service.steps[1:], strict=False)]
    assert max(gaps) > 4
    assert max(gaps) < 5.6
    assert 10 <= len(service.steps) <= 25
    assert heartbeats(world)[0]["seq"] == 12
    service.failing = False
    world.run(10)
    assert service.steps[-1] - service.steps[-2] == pytest.approx(1.0)


def test_what_the_grid_did_not_take_is_published_when_it_is_back_and_once(world):
    service = world.start(Counting)
    world.run(1)
    world.grid.away = True
    service.context.outbox.send(Kind.KILL, KILL, START_MS, "DOLPHIN_CONTROL", "kill")
    world.run(10)
    world.grid.away = False
    world.run(6)
    assert world.grid.get("DOLPHIN_CONTROL", "kill") == KILL
    assert service.context.journal.unpublished("grid") == []
    assert [alert.kind for alert in world.told] == [AlertKind.STALE_GRID, AlertKind.RECOVERED]


def test_a_grid_that_came_back_empty_is_filled_again(world):
    service = world.start(Counting)
    service.context.outbox.send(Kind.KILL, KILL, START_MS, "DOLPHIN_CONTROL", "kill")
    world.run(6)
    world.grid.wipe()
    world.run(6)
    assert world.grid.get("DOLPHIN_CONTROL", "kill") == KILL
    assert service.returned == 1


def test_what_the_grid_acknowledged_and_lost_is_published_again(world, monkeypatch):
    """Found by simulation: our last heartbeat is there, but an older one."""
    service = world.start(Counting)
    world.run(6)
    before = service.returned
    with monkeypatch.context() as losing:
        losing.setattr(world.grid, "_store", lambda *_: None)
        service.context.outbox.send(Kind.KILL, KILL, START_MS, "DOLPHIN_CONTROL", "kill")
        world.run(6)
    assert world.grid.get("DOLPHIN_CONTROL", "kill") is None
    assert service.context.journal.unpublished("grid") == []
    world.run(6)
    assert world.grid.get("DOLPHIN_CONTROL", "kill") == KILL
    assert service.returned == before + 1
    world.run(20)
    assert service.returned == before + 1


def test_a_record_never_goes_over_one_with_a_higher_fence(world):
    service = world.start(Counting)
    newer = {"schema": "dolphin.acb/1", "ts_ms": 1, "fence": 9}
    world.grid.put("DOLPHIN_FEATURES", "acb_boost", newer)
    payload = {"boost": 1.0, "beta": 0.2, "signals": 0.0, "factors": {}, "w750_vel": None, "date": "2025-01-01"}
    with pytest.raises(Fenced, match="fence 9, ours is 8"):
        service.context.outbox.send(Kind.ACB_BOOST, newer | payload | {"fence": 8}, 1, "DOLPHIN_FEATURES", "acb_boost")
    assert world.grid.get("DOLPHIN_FEATURES", "acb_boost") == newer


def test_a_foreign_value_under_our_key_is_replaced(world):
    service = world.start(Counting)
    world.grid.plant("DOLPHIN_CONTROL", "kill", "no json")
    service.context.outbox.send(Kind.KILL, KILL | {"fence": 3}, 1, "DOLPHIN_CONTROL", "kill")
    assert world.grid.get("DOLPHIN_CONTROL", "kill")["fence"] == 3


def test_a_long_step_that_reports_progress_keeps_its_heartbeat(world):
    service = world.start(Counting)

    def long_step():
        for _ in range(30):
            world.clock.advance(1)
            service.progress()

    service.step = long_step
    world.runners[0].turn()
    assert heartbeats(world)[0]["seq"] >= 6


def test_a_service_that_leaves_says_so(world):
    service = world.start(Counting)
    world.run(1)
    world.end(service)
    assert heartbeats(world)[0]["status"] == "stopped"


def test_market_time_of_a_replay_is_the_same_in_every_process_and_after_a_restart(tmp_path):
    replay = Replay(folder="k", first_date="2025-01-01", last_date="2025-01-02", start_ms=START_MS, started_monotonic=100.0, speed=60.0)
    write_replay(tmp_path / "replay.json", replay)
    assert read_replay(tmp_path / "replay.json") == replay
    assert replay.market_ms(90.0) == START_MS
    assert replay.market_ms(101.5) == START_MS + 90_000
    clock = VirtualClock(0, replay)
    clock.advance(110)
    assert (clock.market_ms(), clock.wall_ms(), clock.speed) == (START_MS + 600_000, 110_000, 60.0)
    live = RealClock()
    assert abs(live.market_ms() - live.wall_ms()) < 1000


@pytest.mark.parametrize("text", ["", "{}", '{"folder": 1}', "\x00", "[" * 100_000], ids=["empty", "fields", "type", "nul", "deep"])
def test_a_replay_file_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "replay.json"
    path.write_text(text)
    with pytest.raises(MalformedFile, match=re.escape(f"{path}: is no replay")):
        read_replay(path)


def test_without_a_replay_file_it_is_live(tmp_path):
    assert read_replay(tmp_path / "replay.json") is None
