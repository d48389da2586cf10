"""kill -9 of every process of a real deployment, one by one and in pairs, the member included."""

from __future__ import annotations

from itertools import combinations

import pytest
from fault_laws import disturbed
from fault_matrix import MATRIX
from fault_runs import finish
from fault_stage import DETECTED_S, Stage

pytestmark = pytest.mark.faults

CARRIED = ("acb_processor", "ob_stream", "scanner", "trader", "mc_forewarner")
"""Whose restart is quicker than a heartbeat is lost: posture holds."""
AGEING = {"acb_processor", "mc_forewarner"}
"""What they say is too old after 6 hours on the market: they are killed when they have just spoken."""
HELD = sorted([*((name,) for name in CARRIED), *combinations(CARRIED, 2)], key=lambda names: bool(AGEING & set(names)))
WATCHDOG = [("system_watchdog",), *(("system_watchdog", name) for name in CARRIED)]
MEMBER = [("grid",), *(("grid", name) for name in CARRIED[:3])]
MEMBER_AND = [("grid", name) for name in ("system_watchdog", *CARRIED[3:])]


def test_killed_services_leave_posture_and_trades_as_they_are(stage: Stage, reference: Stage) -> None:
    """Every service but the watchdog, and every pair of them: the trades are the undisturbed run's."""
    wrong = []
    for names in HELD:
        assert not AGEING & set(names) or stage.wait(stage.fresh, 30.0)
        since = stage.kill(*names)
        back = stage.recovers(30.0)
        lower = sorted({posture for _, posture in stage.postures(since)} - {"STALKER"})
        MATRIX.add(f"kill -9 {' + '.join(names)}", "posture holds; back by itself", f"posture {lower or 'held'}", back)
        wrong += [(names, lower, back)] if lower or back > 30.0 else []
    assert wrong == []
    assert not disturbed(stage)
    assert finish(stage, reference, "15 kills without the watchdog") == []


@pytest.mark.parametrize("victims", [WATCHDOG, MEMBER, MEMBER_AND], ids=["watchdog", "member", "member_and_others"])
def test_a_killed_watchdog_or_member_is_hibernate_and_recovers(stage: Stage, reference: Stage, victims) -> None:
    """HIBERNATE at once (a watchdog that comes back starts cold), and up again by the law of recovery."""
    wrong = []
    for names in victims:
        since = stage.kill(*names)
        seen = stage.hibernates(since) - since
        back = stage.recovers(45.0)
        stage.blind.append((since + (10.0 if "grid" in names else seen), since + seen + back - 2.0))
        told = f"HIBERNATE after {seen:.1f} s, recovered {back:.1f} s later"
        MATRIX.add(f"kill -9 {' + '.join(names)}", f"HIBERNATE within {DETECTED_S:g} s, then recovery", told, seen + back)
        wrong += [(names, seen, back)] if seen > DETECTED_S or back > 45.0 else []
    assert wrong == []
    assert finish(stage, reference, f"{len(victims)} kills with {victims[0][0]}") == []
