"""`prefect deployment run 'paper-trade/blue'` on a real local server: the lane starts, is cancelled, starts again, ends with its replay."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lane_worlds import write_market
from prefect_stage import DATE, PrefectStage

from dolphin.errors import MissingDependency
from dolphin.storage.journal import JournalReader, Kind, journal_path

pytest.importorskip("prefect", reason="Prefect is not installed: pip install 'dolphin-nautilus[flows]'")


@pytest.fixture
def stage(importable: None, short_folder: Path) -> Iterator[PrefectStage]:
    """Server and deployments up; the lane's processes wait for a session."""
    made = PrefectStage(short_folder, write_market(short_folder / "market", 1440, 1440), speed=600.0, on_stop="flatten")
    try:
        made.state.made()
        made.start_server()
        made.serve()
        try:
            made.deploy()
        except MissingDependency as error:
            if "java" in str(error).lower() or "by Maven" in str(error):
                pytest.skip(str(error))
            raise
        yield made
    finally:
        made.close()


def test_a_lane_runs_by_prefect_is_cancelled_within_10_seconds_and_goes_on_in_the_next_run(stage):
    """One at a time whatever is asked for; the journal is that of one life after the other, and the day is an artifact."""
    asked = stage.prefect("deployment", "run", "paper-trade/blue")
    run = re.search(r"UUID: (\S+)", asked.stdout).group(1)
    assert stage.until(lambda: stage.run_state(run) == "RUNNING" and stage.pid(), 60), asked.stdout + asked.stderr
    first = stage.pid()
    assert stage.until(lambda: stage.bars() >= 20 and stage.held(), 120)
    stage.supervisor.stop("scanner")  # the market stands still: what follows may take its time

    second = stage.run()
    by_hand = stage.dolphin("flows", "run", "paper-trade/blue")
    assert (by_hand.returncode, "held by paper-trade of BLUE, pid" in by_hand.stderr) == (4, True), by_hand.stderr
    assert stage.until(lambda: stage.run_state(second) == "CANCELLED", 30)
    assert stage.pid() == first

    cancelled = stage.prefect("flow-run", "cancel", run)
    began = time.monotonic()
    assert cancelled.returncode == 0, cancelled.stderr
    assert stage.until(lambda: stage.pid() == 0, 20)
    assert time.monotonic() - began < 10.0
    assert stage.until(lambda: stage.run_state(run) == "CANCELLED", 30)
    assert stage.held() == {}
    assert stage.records(Kind.STOPPED)[-1].payload["exit_code"] == 0
    assert (flattened(stage), stage.pid()) == ("FLATTEN", 0)

    stage.midnight()
    third = stage.run()
    assert stage.until(lambda: stage.pid(), 60)
    assert stage.pid() != first
    assert stage.until(lambda: stage.records(Kind.DAY_RESULT), 60)
    assert stage.records(Kind.RECOVERED)[-1].payload["reason"].endswith("come out as they were")
    assert stage.until(lambda: stage.run_state(third) == "COMPLETED", 60)
    assert stage.pid() == 0
    assert stage.bars() == 1440
    table = json.loads(stage.artifact("paper-blue-table")["data"])
    assert [(row["date"], row["bars"]) for row in table] == [(DATE, 1440)]
    assert "BLUE: " in stage.artifact("paper-blue")["data"]
    with JournalReader(journal_path(stage.state.journals, "trader_blue")) as journal:
        assert journal.verify().ok

    listed = json.loads(stage.dolphin("flows", "list", "--json").stdout)
    blue = next(row for row in listed["deployments"] if row["name"] == "paper-trade/blue")
    assert (listed["schema"], blue["cron"], blue["scheduled"], blue["ready"]) == ("dolphin.flows-list/1", "0 0 * * *", False, True)
    assert blue["last_run"] == "COMPLETED"

    stage.dolphin("flows", "server", "stop")
    (serving,) = stage.serving
    serving.send_signal(signal.SIGINT)
    assert serving.wait(20) == 0
    assert "Traceback" not in (stage.root / "serve-0.log").read_text()


def flattened(stage: PrefectStage) -> str:
    """Why the lane's last order was sent."""
    return stage.records(Kind.ORDER_INTENT)[-1].payload["reason"]
