"""Processes that do not die but stand still, a wire that is slow or deaf, and a member that comes back empty."""

from __future__ import annotations

import time

import pytest
from fault_matrix import MATRIX
from fault_runs import finish
from fault_stage import DETECTED_S, Stage

pytestmark = pytest.mark.faults
LOST_S = 31.5
"""A lane that has not reached the grid for 30 s goes to sleep by itself; and a poll."""


def hibernated(stage: Stage, what: str, since: float, blind_from: float) -> list[str]:
    """Note how quickly HIBERNATE came after ``since`` and how long recovery took from now on; what was wrong."""
    seen = stage.hibernates(since) - since
    back = stage.recovers(60.0)
    stage.blind.append((max(blind_from, since + seen), time.monotonic() - 2.0))
    told = f"HIBERNATE after {seen:.1f} s, recovered {back:.1f} s after its end"
    MATRIX.add(what, f"HIBERNATE within {DETECTED_S:g} s, then recovery", told, seen)
    return [f"{what}: {seen:.1f} s, {back:.1f} s"] if seen > DETECTED_S or back > 60.0 else []


@pytest.mark.parametrize("victims", [("scanner", "trader"), ("acb_processor", "ob_stream")], ids="_and_".join)
def test_a_frozen_service_loses_its_heartbeat(stage: Stage, reference: Stage, victims) -> None:
    """SIGSTOP: no supervisor sees it, only the heartbeat tells."""
    wrong = []
    for name in victims:
        with stage.frozen(name) as since:
            seen = stage.hibernates(since)
        wrong += hibernated(stage, f"SIGSTOP {name} until HIBERNATE", since, seen)
    assert wrong == []
    assert finish(stage, reference, f"frozen {' and '.join(victims)}") == []


def test_a_frozen_watchdog_changes_nothing_and_does_not_leap(stage: Stage, reference: Stage) -> None:
    """20 s are less than the age at which a posture is stale; afterwards Rm goes on by its law."""
    with stage.frozen("system_watchdog") as since:
        time.sleep(20.0)
    back = stage.recovers(45.0)
    lower = sorted({posture for _, posture in stage.postures(since)} - {"STALKER"})
    MATRIX.add("SIGSTOP system_watchdog 20 s", "posture stays in force; Rm does not leap", f"posture {lower or 'held'}", back)
    assert back < 45.0
    assert finish(stage, reference, "a frozen watchdog") == []


@pytest.mark.stage(proxied=True)
def test_a_member_that_is_frozen_or_slow(stage: Stage, reference: Stage) -> None:
    """SIGSTOP for 20 s, then a second of delay each way: slow answers are answers."""
    with stage.frozen("grid") as since:
        time.sleep(20.0)
    wrong = hibernated(stage, "SIGSTOP grid 20 s", since, since + LOST_S)
    since = time.monotonic()
    stage.proxy.delay_s = 1.0
    time.sleep(20.0)
    stage.proxy.delay_s = 0.0
    back = stage.recovers(60.0)
    lower = sorted({posture for _, posture in stage.postures(since)} - {"STALKER"})
    MATRIX.add("answers of the member 2 s late, for 20 s", "holds, or fails closed; then as before", f"posture {lower or 'held'}", back)
    assert wrong == []
    assert back < 60.0
    assert finish(stage, reference, "a member that was frozen and slow") == []


@pytest.mark.stage(proxied=True)
def test_a_connection_that_is_cut_one_way(stage: Stage, reference: Stage) -> None:
    """First nothing arrives at the clients, then nothing at the member."""
    wrong = []
    for way, what in (("down", "from the member"), ("up", "to the member")):
        since = time.monotonic()
        stage.proxy.held = {way}
        time.sleep(20.0)
        stage.proxy.held = set()
        wrong += hibernated(stage, f"nothing {what} for 20 s", since, since + LOST_S)
    assert wrong == []
    assert finish(stage, reference, "one-way cuts") == []


def test_a_member_that_stays_away_and_comes_back_empty(stage: Stage, reference: Stage) -> None:
    """An empty map is unknown, never healthy: nothing is entered until everybody has spoken again."""
    since = time.monotonic()
    stage.supervisor.stop("grid")
    time.sleep(40.0)
    told = [r.payload["told"] for r in stage.lane_bars()[-5:]]
    asleep = [t["posture"] for t in told] == ["HIBERNATE"] * 5
    stage.supervisor.start("grid")
    wrong = hibernated(stage, "grid stopped for 40 s, then started empty", since, since + LOST_S)
    slept = f"{told[-1]['posture']} {', '.join(told[-1]['blocks'])}"
    MATRIX.add("the lane itself, 40 s without a grid", "HIBERNATE by its own clock", slept)
    assert wrong == []
    assert asleep
    assert finish(stage, reference, "a member that came back empty") == []
