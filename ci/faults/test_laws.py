"""The laws of the fault matrix can fail: a whole run breaks none, and each damage breaks the one that is about it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from daemon_worlds import World
from fault_evidence import LANE, Evidence
from fault_laws import broken_laws, disturbed
from lane_worlds import deployed, replay_of, run_out, settings_of, write_market

from dolphin.storage.journal import Journal, Kind, journal_path
from dolphin.types import Posture


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Scanner and lane over two short days on a virtual clock, in good posture. Read it, do not change it."""
    root = tmp_path_factory.mktemp("whole")
    market = write_market(root / "market", 1440, 160, 140)
    world = World(root / "state", settings=settings_of(), replay=replay_of(market, "2025-01-02", "2025-01-03"))
    teller, _, _ = deployed(world)
    teller.postures = [(0, Posture.STALKER)]
    run_out(world)
    world.close()
    return Evidence(root, world.settings)


@pytest.fixture
def run(whole: Evidence, tmp_path: Path) -> Evidence:
    """A copy to damage."""
    shutil.copytree(whole.state.root, tmp_path / "state")
    return Evidence(tmp_path, whole.settings)


def laws(run: Evidence, reference: Evidence | None = None) -> set[str]:
    """Names of the laws that are broken."""
    return {text.split(":")[0] for text in broken_laws(run, reference)}


def append(run: Evidence, writer: str, kind: Kind, *payloads: dict) -> None:
    with Journal.open(journal_path(run.state.journals, writer), writer) as journal:
        for payload in payloads:
            journal.append(kind, payload, 1)


def test_a_whole_run_breaks_no_law_and_equals_itself(whole, run):
    assert len(whole.trades()) >= 2
    assert not disturbed(whole)
    assert laws(run, whole) == set()


def test_a_day_twice_is_seen(run):
    append(run, LANE, Kind.DAY_RESULT, run.records(LANE, Kind.DAY_RESULT)[0].payload)
    assert laws(run) == {"days_once", "decisions_again"}


def test_a_lost_trade_is_seen(run, whole):
    """The lane's journal written anew without its first trade: a whole chain, and a lie."""
    path = journal_path(run.state.journals, LANE)
    path.unlink()
    kept = [record for record in whole.records(LANE) if record.kind in (Kind.BAR, Kind.TRADE, Kind.DAY_RESULT)]
    lost = min(k for k, record in enumerate(kept) if record.kind == Kind.TRADE)
    with Journal.open(path, LANE) as journal:
        for record in kept[:lost] + kept[lost + 1 :]:
            journal.append(Kind(record.kind), record.payload, record.ts_ms)
    assert laws(run, whole) == {"decisions_again", "reference"}


def test_an_entry_in_a_bad_posture_is_seen(run):
    entered = next(record.payload for record in run.lane_bars() if record.payload["entry"])
    append(run, LANE, Kind.BAR, entered | {"told": entered["told"] | {"posture": "HIBERNATE"}})
    assert "entries_allowed" in laws(run)
    assert disturbed(run)


def test_an_entry_while_nobody_could_know_is_seen(run):
    entered = next(record for record in run.lane_bars() if record.payload["entry"])
    run.heads = [(10.0, entered.seq - 1), (10.2, entered.seq), (10.4, entered.seq + 1)]
    run.blind = [(8.0, 20.0)]
    assert laws(run) == {"entries_seen"}
    run.blind = [(9.5, 20.0)]
    assert laws(run) == set()


def test_a_leap_of_rm_and_a_falling_number_are_seen(run):
    posture = {"posture": "HIBERNATE", "target": 0.97, "reasons": [], "fence": 5} | {f"cat{k}": 1.0 for k in range(1, 6)} | {"ts_ms": 1}
    append(run, "system_watchdog", Kind.POSTURE, posture | {"rm": 0.0, "seq": 1}, posture | {"rm": 0.03, "seq": 2})
    assert laws(run) == set()
    append(run, "system_watchdog", Kind.POSTURE, posture | {"rm": 0.2, "seq": 3})
    assert laws(run) == {"recovery_bounded"}
    append(run, "system_watchdog", Kind.POSTURE, posture | {"rm": 0.0, "seq": 2})
    assert laws(run) == {"recovery_bounded", "postures_in_order"}


@pytest.mark.parametrize(("after_s", "severity", "seen"), [(10, "WARNING", True), (70, "WARNING", False), (10, "CRITICAL", False)])
def test_an_alert_told_again_and_again_is_seen(run, after_s, severity, seen):
    """The first one and the last word of a window are two; a third is one too many."""
    alert = {"kind": "stale_grid", "key": "grid", "service": "trader:here:1", "severity": "WARNING", "ts_ms": 1_000, "swallowed": 0}
    again = [alert | {"ts_ms": 1_000 + k * after_s * 1000, "severity": severity} for k in (1, 2)]
    (run.root / "alerts").write_text("".join(map(json.dumps, [alert, *again])))
    assert laws(run) == ({"alerts_once"} if seen else set())


def test_another_day_table_and_an_altered_journal_are_seen(run, whole):
    table = run.state.days / "2025-01-02.parquet"
    table.write_bytes(table.read_bytes() + b" ")
    assert laws(run, whole) == {"reference"}
    path = max(run.state.journals.glob(f"{LANE}.*.sealed"), key=lambda sealed: sealed.stat().st_size)
    data = path.read_bytes()
    place = data.rindex(b'"vel_div":')
    path.write_bytes(data[:place] + b'"vel_dix":' + data[place + 10 :])
    assert "journal" in laws(run)
