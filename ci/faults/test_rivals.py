"""Two of a kind, and a writer who is nobody's friend."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request

import pytest
from fault_matrix import MATRIX
from fault_runs import finish
from fault_stage import CI, Stage

from dolphin.errors import MissingDependency
from dolphin.grid.maps import FEATURES, SAFETY
from dolphin.storage.journal import Kind

pytestmark = pytest.mark.faults


def fences(stage: Stage, name: str, key: str, seconds: float) -> list[tuple[int, int]]:
    """(fence, seq) of a record as the grid shows it, for so long."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            record = stage.grid.read(name, key).record or {}
            found.append((int(record.get("fence", 0)), int(record.get("seq", 0))))
        except MissingDependency:
            continue
        time.sleep(0.1)
    return found


def test_of_two_writers_one_writes_and_a_second_trader_does_not_start(stage: Stage, reference: Stage) -> None:
    """The first one is frozen for longer than its lease: the second one takes over, the first one, awake, stands by."""
    same = stage.twin("trader", "state")
    other = stage.twin("trader")
    for name in ("system_watchdog", "acb_processor"):
        stage.twin(name)
    refused = same.wait(30)
    MATRIX.add("a second trader on the same state folder", "does not start", f"exit code {refused}")
    before = len(stage.records("system_watchdog", Kind.POSTURE, "twin"))
    with stage.frozen("system_watchdog", "acb_processor"):
        seen = fences(stage, SAFETY, "latest", 24.0)
    boost = stage.grid.read(FEATURES, "acb_boost").record
    seen += fences(stage, SAFETY, "latest", 8.0)
    after = len(stage.records("system_watchdog", Kind.POSTURE))
    seen += fences(stage, SAFETY, "latest", 4.0)
    silent = len(stage.records("system_watchdog", Kind.POSTURE)) == after
    took, ordered = len({fence for fence, _ in seen}) == 2, seen == sorted(seen)
    told = f"{len({f for f, _ in seen})} fences, order {'kept' if ordered else 'BROKEN'}, late one {'silent' if silent else 'WRITES'}"
    MATRIX.add("two watchdogs, the writer frozen for 24 s", "one writes; the late one is fenced and stands by", told)
    mine = [r.payload["fence"] for r in stage.records("acb_processor", Kind.ACB_BOOST)]
    theirs = [r.payload["fence"] for r in stage.records("acb_processor", Kind.ACB_BOOST, "twin")]
    MATRIX.add(
        "two ACB writers, the writer frozen for 24 s", "one writes; its number is higher", f"{max(mine)} -> {max(theirs, default=0)}"
    )
    left = other.wait(60)
    MATRIX.add("a second trader of the lane on another state folder", "stands by, then ends", f"exit code {left}")
    for process in stage.twins:
        process.kill()
        process.wait(10)
    back = stage.recovers(60.0)
    MATRIX.add("the other writers are gone", "the first ones take over again", "recovered" if back < 60 else "NOT recovered", back)
    assert before == 0
    assert (refused != 0, left != 0) == (True, True)
    assert (took, ordered, silent) == (True, True, True)
    assert theirs
    assert min(theirs) > min(mine)
    assert boost["fence"] == max(theirs)
    assert back < 60.0
    assert not any(r.kind == Kind.BAR for r in stage.records("trader_blue", folder="twin"))
    assert finish(stage, reference, "rivals") == []


def test_hostile_values_in_every_map_are_refused_counted_and_outlived(stage: Stage, reference: Stage) -> None:
    """Nothing that was forged is obeyed, nothing ends a process, an operator hears of it, and good values win in the end."""
    canary, began, pids = stage.root / "canary", time.monotonic(), stage.pids()
    command = [sys.executable, str(CI / "hostile_values.py"), str(stage.settings.grid.port), stage.settings.grid.cluster, str(canary)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    back = stage.recovers(90.0)
    told = {bar.payload["told"]["posture"] for bar in stage.lane_bars()}
    alerts = {(a["kind"], a["key"]) for a in stage.alerts() if a["kind"] == "hostile_value"}
    seen = f"{done.stdout.strip()} values, {len(alerts)} alerts, unpickled: {canary.exists()}, obeyed APEX: {'APEX' in told}"
    seen += f", recovered {back:.0f} s after"
    MATRIX.add("hostile values in 17 maps", "refused, counted, alerted; then recovery", seen, time.monotonic() - began)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not canary.exists()
    assert "APEX" not in told
    assert alerts
    assert counted(stage, "system_watchdog") > 0
    assert stage.pids() == pids
    assert back < 90.0
    assert finish(stage, reference, "hostile values") == []


def counted(stage: Stage, service: str) -> float:
    """Records refused, by the metrics of a process."""
    port = json.loads((stage.state.processes / f"{service}.json").read_text())["metrics_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("dolphin_grid_refused_total{"))
