"""Prefect dies while a lane trades: the lane trades on, and what comes back finds it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lane_worlds import write_market
from prefect_stage import PrefectStage

from dolphin.errors import MissingDependency
from dolphin.storage.journal import JournalReader, journal_path
from flows.prefect_server import PrefectServer

pytest.importorskip("prefect", reason="Prefect is not installed: pip install 'dolphin-nautilus[flows]'")
pytestmark = pytest.mark.faults


@pytest.fixture
def trading(importable: None, short_folder: Path) -> Iterator[tuple[PrefectStage, str]]:
    """A lane that a run trades."""
    stage = PrefectStage(short_folder, write_market(short_folder / "market", 1440, 1440), speed=300.0, on_stop="hold")
    try:
        stage.state.made()
        stage.start_server()
        stage.serve()
        try:
            stage.deploy()
        except MissingDependency as error:
            if "java" in str(error).lower() or "by Maven" in str(error):
                pytest.skip(str(error))
            raise
        run = stage.run()
        assert stage.until(lambda: stage.run_state(run) == "RUNNING" and stage.bars() > 20, 90)
        yield stage, run
        with JournalReader(journal_path(stage.state.journals, "trader_blue")) as journal:
            assert journal.verify().ok
    finally:
        stage.close()


def trades_on(stage: PrefectStage, seconds: float) -> bool:
    """Whether bars go on for so long."""
    until, bars = time.monotonic() + seconds, stage.bars()
    while time.monotonic() < until:
        if not stage.until(lambda bars=bars: stage.bars() > bars, 10.0):
            return False
        bars = stage.bars()
    return True


def test_serve_is_killed_the_lane_trades_on_and_the_next_run_adopts_it(trading):
    """No second trader at any time; the run that was lost does not count as running for ever."""
    stage, run = trading
    lane = stage.pid()
    stage.serving[0].kill()
    stage.serving[0].wait(10)
    assert trades_on(stage, 15.0)
    assert stage.pid() == lane
    stage.serve()
    assert stage.until(lambda: stage.run_state(run) in ("CRASHED", "FAILED"), 60)
    again = stage.run()
    assert stage.until(lambda: stage.run_state(again) == "RUNNING", 60)
    time.sleep(5.0)
    assert (stage.run_state(again), stage.pid()) == ("RUNNING", lane)
    assert stage.prefect("flow-run", "cancel", again).returncode == 0
    assert stage.until(lambda: stage.pid() == 0, 20)
    assert stage.until(lambda: stage.run_state(again) == "CANCELLED", 30)


def test_the_server_is_killed_the_lane_trades_on_and_a_new_one_can_cancel_it(trading):
    """Neither the session nor its runner needs the server to go on."""
    stage, run = trading
    lane = stage.pid()
    for pid in PrefectServer(stage.state).pids:
        os.kill(pid, signal.SIGKILL)
    assert trades_on(stage, 10.0)
    assert stage.pid() == lane
    stage.start_server(int(stage.api.split(":")[2].split("/")[0]))
    assert trades_on(stage, 35.0)  # longer than a lease, which the new server must know
    assert (stage.run_state(run), stage.pid()) == ("RUNNING", lane)
    assert stage.prefect("flow-run", "cancel", run).returncode == 0
    assert stage.until(lambda: stage.pid() == 0, 60)
    assert stage.until(lambda: stage.run_state(run) == "CANCELLED", 60)


def test_a_server_that_is_away_for_longer_than_a_lease_may_cost_the_run_and_not_the_lane(trading):
    """Prefect ends a run whose lease has run out; the lane goes on, before the server is back and after."""
    stage, run = trading
    lane = stage.pid()
    for pid in PrefectServer(stage.state).pids:
        os.kill(pid, signal.SIGKILL)
    assert trades_on(stage, 60.0)
    assert stage.pid() == lane
    stage.start_server(int(stage.api.split(":")[2].split("/")[0]))
    assert trades_on(stage, 45.0)
    assert stage.pid() == lane
    if stage.run_state(run) != "RUNNING":
        again = stage.run()
        assert stage.until(lambda: stage.run_state(again) == "RUNNING", 60)
        assert stage.pid() == lane


def test_flow_and_serve_are_killed_at_once_the_lane_trades_on_and_the_next_run_adopts_it(trading):
    """As after a crash of everything but the lane: the lock is free, the lost run is buried."""
    stage, run = trading
    lane = stage.pid()
    children = Path(f"/proc/{stage.serving[0].pid}/task/{stage.serving[0].pid}/children").read_text().split()
    for pid in (stage.serving[0].pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    stage.serving[0].wait(10)
    assert trades_on(stage, 5.0)
    stage.serve()
    assert stage.run_state(run) == "CRASHED"
    again = stage.run()
    assert stage.until(lambda: stage.run_state(again) == "RUNNING", 60)
    assert stage.until(lambda: f"BLUE runs, pid {lane}" in (stage.root / "serve-1.log").read_text(), 60)
    stage.serving[-1].send_signal(signal.SIGTERM)
    assert stage.until(lambda: stage.pid() == 0, 20)
    assert stage.serving[-1].wait(40) == 0
    assert stage.run_state(again) == "CANCELLED"
