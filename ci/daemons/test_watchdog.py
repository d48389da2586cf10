"""The watchdog on a virtual clock: recovery law, lost neighbours, grid gone and back, kill switch, fencing, hostile values."""

from __future__ import annotations

import json

import msgspec
import pytest
from daemon_peers import Peer, deployment, postures
from daemon_worlds import World

from daemons.system_watchdog import SystemWatchdog
from dolphin.config import Settings, SurvivalConfig
from dolphin.deployment import PaperConfig
from dolphin.grid.maps import CONTROL, FEATURES, HEARTBEAT, SAFETY, LaneState
from dolphin.storage.kill_switch import KillOrder, KillSwitch
from dolphin.storage.replay import Replay
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import AlertKind

MINUTE = 60.0


def latest(world: World) -> dict:
    record = world.grid.get(SAFETY, "latest")
    assert record is not None
    return record


def healthy(world: World, minutes: float = 2, rm: float = 0.6, posture: str = "TURTLE") -> dict:
    """A deployment after so many minutes of health, in TURTLE when nothing else is said."""
    parts = deployment(world, rm, posture)
    world.run(minutes * MINUTE)
    return parts


def seconds_until(world: World, posture: str, at_most: float) -> float:
    took = world.run(at_most, until=lambda: latest(world)["posture"] == posture)
    assert latest(world)["posture"] == posture
    return took


def test_a_cold_start_rises_by_the_recovery_law(world):
    """>= 0.50 after 36, >= 0.75 after 73, >= 0.90 after 128 evaluations of a minute; postures five evaluations later."""
    deployment(world)
    world.run(150 * MINUTE)
    path = [(p["rm"], p["posture"]) for p in postures(world)]
    full = [rm for rm, _ in path[1:]]  # the first one has no time behind it
    first = {level: next(i for i, rm in enumerate(full, 1) if rm >= level) for level in (0.50, 0.75, 0.90)}
    changes = [i for i in range(1, len(path)) if path[i][1] != path[i - 1][1]]
    assert path[0] == (0.0, "HIBERNATE")
    assert abs(first[0.50] - 36) <= 2
    assert abs(first[0.75] - 73) <= 3
    assert abs(first[0.90] - 128) <= 6
    assert [path[i][1] for i in changes] == ["TURTLE", "STALKER", "APEX"]
    assert changes[0] == first[0.50] + 4
    assert [p["seq"] for p in postures(world)] == list(range(1, len(path) + 1))
    assert latest(world)["fence"] > 0


@pytest.mark.parametrize("name", ["scanner", "acb_processor", "ob_stream", "trader"])
def test_a_lost_heartbeat_is_hibernate_within_35_seconds(world, name):
    parts = healthy(world)
    assert latest(world)["posture"] == "TURTLE"
    world.end(parts[name], killed=True)
    assert seconds_until(world, "HIBERNATE", 60) <= 35 + 0.01
    assert f"no heartbeat of {name}" in latest(world)["reasons"]
    assert any(alert.kind is AlertKind.STALE_FEED and name in alert.key for alert in world.told)


def test_neighbours_that_start_beside_the_watchdog_are_no_alarm_and_one_that_never_comes_is(world):
    """`dolphin up` would tell of every service that is not heard yet; the posture needs no such grace."""
    world.start(SystemWatchdog)
    world.run(10)
    assert latest(world)["posture"] == "HIBERNATE"
    assert "no heartbeat of trader" in latest(world)["reasons"]
    for name in ("acb_processor", "ob_stream", "scanner"):
        world.start(type(name, (Peer,), {"name": name}))
    world.run(30)
    assert [(alert.kind, alert.key) for alert in world.told] == [(AlertKind.STALE_FEED, "heartbeat/trader")]


@pytest.mark.parametrize("phase_s", [0.3, 2.5, 4.7])
def test_a_heartbeat_that_falls_between_two_passes_is_missed_as_soon(world, phase_s):
    """Found by simulation: it counted from the pass that saw it, and HIBERNATE came up to 40 s after the last sign of life."""
    parts = healthy(world)
    world.end(parts["scanner"], killed=True)
    world.run(phase_s)
    scanner = world.start(type(parts["scanner"]))
    world.run(20.0)
    beats = [round((world.clock.wall_ms() - r.record["ts_ms"]) / 1000, 3) for r in world.grid.entries(HEARTBEAT) if "scanner" in r.key]
    world.end(scanner, killed=True)
    assert latest(world)["posture"] == "TURTLE"
    assert min(beats) + seconds_until(world, "HIBERNATE", 60) <= 35 + 0.01


def test_a_neighbour_that_left_in_order_is_missed_at_once(world):
    parts = healthy(world)
    world.end(parts["trader"])
    assert seconds_until(world, "HIBERNATE", 60) <= 10


def test_a_frozen_neighbour_whose_stamps_go_on_is_missed(world):
    """Sequence numbers count, not stamps."""
    parts = healthy(world)
    world.end(parts["scanner"], killed=True)
    key = parts["scanner"].context.identity
    frozen = world.grid.get(HEARTBEAT, key)

    def lie() -> bool:
        world.grid.put(HEARTBEAT, key, frozen | {"ts_ms": world.clock.wall_ms()})
        return latest(world)["posture"] == "HIBERNATE"

    assert world.run(60, until=lie) <= 35.01


def test_grid_gone_is_hibernate_and_its_return_starts_from_zero(world):
    parts = healthy(world)
    world.grid.away = True
    world.run(35)
    blind = postures(world)[-1]
    assert (blind["posture"], blind["rm"], blind["cat1"]) == ("HIBERNATE", 0.0, 0.0)
    assert parts["system_watchdog"].context.outbox is not None
    world.grid.away = False
    world.run(10)
    assert latest(world)["posture"] == "HIBERNATE"
    world.run(10 * MINUTE)
    assert latest(world)["posture"] == "HIBERNATE"
    assert latest(world)["rm"] == pytest.approx(0.973 * (1 - 0.98**10), abs=0.03)


def test_an_empty_grid_after_a_restart_is_unknown_never_healthy(world):
    parts = healthy(world)
    for name in ("mc_forewarner", "trader", "acb_processor", "ob_stream"):
        parts[name].values = {}
    world.grid.wipe()
    world.run(90)
    record = latest(world)
    unread = {"mc_status", "staleness_hours", "ob_stale", "depth_quality", "fill_prob", "t_since_spike_min", "drawdown"}
    assert {f"{name} cannot be read" for name in unread} <= set(record["reasons"])
    assert (record["posture"], record["rm"] < 0.01) == ("HIBERNATE", True)


def test_a_grid_that_came_back_empty_has_posture_and_kill_switch_again_within_a_pass(world):
    healthy(world)
    before = latest(world)
    world.grid.wipe()
    world.run(11)
    assert latest(world)["seq"] >= before["seq"]
    assert world.grid.get(CONTROL, "kill")["engaged"] is False


def test_orange_red_and_a_stale_book_lower_the_target(world):
    parts = healthy(world, 2, 0.8, "STALKER")
    good = latest(world)["target"]
    parts["mc_forewarner"].say("mc_forewarner", status="ORANGE")
    world.run(3 * MINUTE)
    assert latest(world)["target"] == pytest.approx(good * 0.5, abs=0.002)
    assert latest(world)["posture"] == "HIBERNATE"
    parts["mc_forewarner"].say("mc_forewarner", status="RED")
    world.run(2 * MINUTE)
    assert latest(world)["target"] == pytest.approx(good * 0.1, abs=0.002)
    parts["mc_forewarner"].say("mc_forewarner", status="OK")
    parts["ob_stream"].say("ob_macro", n_stale=25)
    world.run(2 * MINUTE)
    assert latest(world)["cat3"] == 0.5


def test_a_book_record_that_stops_is_stale(world):
    parts = healthy(world)
    parts["ob_stream"].values = {}
    world.run(2 * MINUTE)
    assert latest(world)["cat3"] == 0.5


def test_indicators_and_forewarner_age_in_market_hours(world_of):
    """At 600 times the market's pace 54 s of ours are 9 hours: exp(-(9 - 6)/3)."""
    start = 1_735_689_600_000
    replay = Replay(folder="k", first_date="2025-01-01", last_date="2025-01-09", start_ms=start, started_monotonic=0.0, speed=600.0)
    world = world_of(replay=replay)
    parts = healthy(world, 0.5)
    parts["mc_forewarner"].values = {}
    world.run(54)
    assert latest(world)["cat2"] == pytest.approx(0.3679, abs=0.06)


def test_a_dvol_spike_is_seen_and_fades_and_survives_a_restart(world):
    parts = healthy(world, 5)
    parts["acb_processor"].say("acb_boost", factors={"dvol_btc": 58.0, "funding_btc": None, "fng": None, "taker": None})
    world.run(1.2 * MINUTE)
    assert latest(world)["cat4"] < 0.35
    world.end(parts["system_watchdog"], killed=True)
    world.start(SystemWatchdog)
    world.run(19 * MINUTE)
    assert latest(world)["cat4"] == pytest.approx(0.3 + 0.7 * (1 - 2.718281828 ** (-20 / 60)), abs=0.02)


def test_drawdown_counts_from_the_peak_that_is_remembered(world):
    parts = healthy(world, 5)
    parts["trader"].say("lane_BLUE", equity=30_000.0)
    world.run(2 * MINUTE)
    world.end(parts["system_watchdog"], killed=True)
    world.start(SystemWatchdog)
    parts["trader"].say("lane_BLUE", equity=26_400.0)
    world.run(2 * MINUTE)
    assert latest(world)["cat5"] == pytest.approx(0.5, abs=1e-9)


def test_without_book_and_dvol_a_deployment_says_so_and_stays_below_apex(world_of):
    settings = Settings(survival=SurvivalConfig(order_book=False, dvol=False))
    world = world_of(settings=settings)
    parts = deployment(world, 0.95, "APEX")
    parts["acb_processor"].say("acb_boost", factors={})
    world.run(6 * MINUTE)
    record = latest(world)
    assert (record["posture"], record["cat3"], record["cat4"]) == ("STALKER", 1.0, 1.0)
    assert {"no_order_book", "no_dvol", "no DVOL: at most STALKER"} <= set(record["reasons"])


def test_a_restart_within_two_cadences_goes_on_and_a_later_one_starts_cold(world):
    parts = healthy(world)
    before = latest(world)
    world.end(parts["system_watchdog"], killed=True)
    world.run(20)
    second = world.start(SystemWatchdog)
    world.run(70)
    assert latest(world)["posture"] == "TURTLE"
    assert latest(world)["rm"] > before["rm"]
    world.end(second, killed=True)
    world.run(200)
    world.start(SystemWatchdog)
    world.run(10)
    assert (latest(world)["posture"], latest(world)["rm"]) == ("HIBERNATE", 0.0)
    assert latest(world)["seq"] > before["seq"]


def test_of_two_watchdogs_one_writes_and_the_other_takes_over_cold(world, memory_folder):
    parts = healthy(world)
    other = world.start(SystemWatchdog, StateFolder(memory_folder / "other"))
    world.run(2 * MINUTE)
    assert other.status == "standby"
    first = latest(world)
    world.end(parts["system_watchdog"], killed=True)
    world.run(30)
    second = latest(world)
    assert second["fence"] > first["fence"]
    assert (second["posture"], second["rm"]) == ("HIBERNATE", 0.0)


def test_a_watchdog_that_wakes_up_late_does_not_write(world, memory_folder):
    """Frozen for a minute, it finds its lease gone; its old record never goes over the new writer's."""
    parts = healthy(world)
    frozen = world.runners.pop()
    assert frozen.service is parts["system_watchdog"]
    world.start(SystemWatchdog, StateFolder(memory_folder / "other"))
    world.run(60)
    written = latest(world)
    world.runners.append(frozen)
    world.run(0.5)
    assert parts["system_watchdog"].status == "standby"
    assert latest(world)["fence"] == written["fence"]


def test_kill_is_latched_flattens_within_a_pass_and_survives_restarts(world):
    parts = healthy(world)
    KillSwitch(world.state.kill).engage(KillOrder(reason="drill", by="me", ts_ms=world.clock.wall_ms()))
    assert seconds_until(world, "HIBERNATE", 60) <= 5.01
    assert world.grid.get(CONTROL, "kill")["reason"] == "drill"
    world.grid.wipe()
    world.end(parts["system_watchdog"], killed=True)
    world.start(SystemWatchdog)
    world.run(10 * MINUTE)
    assert latest(world)["posture"] == "HIBERNATE"
    assert "kill switch engaged" in latest(world)["reasons"]
    assert world.grid.get(CONTROL, "kill")["engaged"] is True
    KillSwitch(world.state.kill).release("drill over")
    world.run(6)
    assert world.grid.get(CONTROL, "kill")["engaged"] is False
    kinds = [alert.kind for alert in world.told if alert.kind in (AlertKind.KILL, AlertKind.RELEASE)]
    assert kinds[0] is AlertKind.KILL
    assert kinds[-1] is AlertKind.RELEASE


def test_an_order_through_the_grid_is_latched_in_the_file_and_its_echo_is_not_after_the_release(world):
    healthy(world)
    order = {"schema": "dolphin.kill/1", "engaged": True, "reason": "by console", "by": "op", "ts_ms": world.clock.wall_ms()}
    world.grid.put(CONTROL, "kill", order)
    world.run(6)
    switch = KillSwitch(world.state.kill)
    assert (switch.engaged(), switch.order().reason) == (True, "by console")
    assert latest(world)["posture"] == "HIBERNATE"
    switch.release("fine")
    world.grid.put(CONTROL, "kill", order)
    world.run(6)
    assert switch.engaged() is False
    assert world.grid.get(CONTROL, "kill")["engaged"] is False
    world.grid.put(CONTROL, "kill", order | {"ts_ms": order["ts_ms"] + 60_000, "reason": "again"})
    world.run(6)
    assert switch.engaged() is True


def test_a_kill_file_that_cannot_be_read_counts_as_engaged(world, monkeypatch):
    parts = healthy(world)
    world.state.kill.write_bytes(b"\xff" * 10)
    world.run(6)
    assert latest(world)["posture"] == "HIBERNATE"
    KillSwitch(world.state.kill).release("it was noise")
    world.run(6 * MINUTE)
    assert latest(world)["posture"] == "TURTLE"
    monkeypatch.setattr(parts["system_watchdog"]._kill._switch, "engaged", lambda: None)
    world.run(6)
    assert "kill switch cannot be read" in latest(world)["reasons"]
    assert latest(world)["posture"] == "HIBERNATE"


def test_a_kill_file_that_was_removed_by_hand_comes_back(world):
    """Only a release with a reason ends it: the grid still says "engaged"."""
    healthy(world)
    switch = KillSwitch(world.state.kill)
    switch.engage(KillOrder(reason="drill", by="me", ts_ms=world.clock.wall_ms()))
    world.run(6)
    world.state.kill.unlink()
    world.run(6)
    assert switch.order().reason == "drill"


HOSTILE = {
    "no text": "\x00",
    "deep": "[" * 5000,
    "10 MB": '"' + "x" * 10_000_000 + '"',
    "NaN": '{"schema":"S","ts_ms":1,"seq":NaN}',
    "list": "[]",
    "no schema": '{"ts_ms":1}',
    "wrong types": '{"schema":"dolphin.x/1","ts_ms":1,"engaged":"no","seq":"a","status":5,"posture":"MOON"}',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_values_in_every_map_that_is_read_end_in_hibernate_not_in_a_crash(world, text):
    """The last good value counts until its time is up; then the sensor is unknown. The service lives on and says what it refused."""
    parts = healthy(world, 3)
    planted = [(FEATURES, key) for key in ("acb_boost", "mc_forewarner", "ob_macro", "lane_BLUE")]
    planted += [(CONTROL, "kill"), (HEARTBEAT, "evil:here:1"), (SAFETY, "latest")]
    for name in ("acb_processor", "mc_forewarner", "ob_stream", "trader"):
        parts[name].values = {}
    for name, key in planted:
        world.grid.plant(name, key, text)
    world.run(6)
    assert "kill switch cannot be read" in postures(world)[-1]["reasons"] or postures(world)[-1]["posture"] == "HIBERNATE"
    assert {alert.kind for alert in world.told} >= {AlertKind.HOSTILE_VALUE}
    world.run(4 * MINUTE)
    record = latest(world)
    assert record["posture"] == "HIBERNATE"
    assert {"drawdown cannot be read"} <= set(record["reasons"])
    assert world.grid.get(CONTROL, "kill")["engaged"] is False


def test_a_heartbeat_from_the_future_or_with_a_falling_number_is_no_sign_of_life(world):
    parts = healthy(world, 3)
    world.end(parts["scanner"], killed=True)
    key = parts["scanner"].context.identity
    beat = {"schema": "dolphin.heartbeat/1", "status": "ok"}

    def lie() -> bool:
        now = world.clock.wall_ms()
        world.grid.put(HEARTBEAT, key, beat | {"seq": 1, "ts_ms": now})
        world.grid.put(HEARTBEAT, "scanner:evil:1", beat | {"seq": 1, "ts_ms": now + 3_600_000})
        return False

    world.run(95, until=lie)
    assert "no heartbeat of scanner" in latest(world)["reasons"]


def test_posture_records_are_exact_in_the_journal_and_in_the_grid(world):
    healthy(world, 5)
    written, there = postures(world)[-1], latest(world)
    assert {name: written[name] for name in there} == json.loads(msgspec.json.encode(there))


def test_with_two_lanes_the_one_that_has_lost_more_counts_and_a_silent_one_is_unknown(world_of):
    """Heartbeats of both traders are asked for, and the equity of both lanes."""
    world = world_of(settings=Settings(paper=PaperConfig(lanes="BLUE,GREEN")))
    deployment(world, 0.95, "APEX")
    world.run(1.2 * MINUTE)
    assert latest(world)["cat1"] == 0.0
    assert latest(world)["cat5"] < 1e-9
    green = world.start(type("trader_green", (Peer,), {"name": "trader_green"}))
    green.values = {"lane_GREEN": (LaneState, {"equity": 8_800.0, "peak": 10_000.0, "bar": 1})}
    world.run(1.2 * MINUTE)
    assert latest(world)["cat1"] == 1.0
    assert latest(world)["cat5"] == pytest.approx(0.5, abs=1e-9)
