"""A paper session over real processes: adopted, refused, killed, cancelled, crashed, stopped from outside. The lane is a toy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from grid_clusters import free_ports

from dolphin.config import Settings
from dolphin.deployment import GridConfig, PaperConfig, SupervisionConfig
from dolphin.errors import ConfigError, MissingDependency, Unavailable
from dolphin.storage.lock import FileLock
from dolphin.storage.state import StateFolder
from flows.job import JobReport
from flows.paper import PaperJob, PaperSession, Wish, lane_process, paper_trade
from flows.services import ServiceSpec, member_services
from flows.supervision import Plan, down, up
from flows.supervisor import Supervisor

TOYS = (ServiceSpec("scanner", "toy_service"), ServiceSpec("trader", "toy_service", waits=True))
MOMENT = 4.0 / 3600.0
"""Hours of a session that looks at its lane twice."""


class Deployed:
    """A deployment that an operator has brought up; sessions come and go."""

    def __init__(self, root: Path) -> None:
        port = free_ports(1)
        grid = GridConfig(kind="hazelcast", cluster=f"paper-{port}", port=port)
        settings = Settings(grid=grid, supervision=SupervisionConfig(crash_window_s=10, crash_limit=1, stop_timeout_s=5))
        self.plan = Plan(settings, StateFolder(root), (*member_services([port]), *TOYS))
        self.supervisor = Supervisor(root)
        self.told: list[str] = []
        self.reports: list[JobReport] = []

    def pid(self, name: str = "trader") -> int:
        return self.supervisor.processes()[name].pid

    def trade(self, **given: object) -> JobReport:
        """A session in this process."""
        return paper_trade(PaperJob(**{"hours": MOMENT, **given}), self.told.append, self.reports.append)

    def session(self, *words: str) -> Session:
        """A session as a process, watching its lane."""
        made = Session(self.plan.state.root / f"session-{time.monotonic_ns()}", words)
        assert made.said("posture"), made.words()
        return made


class Session:
    """`dolphin flows run paper-trade/blue --json`."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        folder.mkdir()
        self.out, self.err = folder / "out", folder / "err"
        command = [sys.executable, "-m", "flows.cli", "flows", "run", "paper-trade/blue", "--json", *words]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    def words(self) -> str:
        return self.err.read_text()

    def said(self, word: str, seconds: float = 40.0) -> bool:
        until = time.monotonic() + seconds
        while word not in self.words() and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        return word in self.words()


@pytest.fixture(scope="module")
def running(importable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    deployed = Deployed(tmp_path_factory.mktemp("paper"))
    try:
        up(deployed.plan, lambda text: None)
    except MissingDependency as error:
        if "java" in str(error).lower() or "by Maven" in str(error) or "pip install" in str(error):
            pytest.skip(str(error))
        raise
    yield deployed
    down(deployed.plan.state, deployed.plan.settings)


@pytest.fixture
def deployed(running: Deployed, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    monkeypatch.setenv("DOLPHIN__PATHS__STATE", str(running.plan.state.root))
    running.told.clear()
    running.reports.clear()
    return running


def test_a_session_adopts_what_runs_and_leaves_it_to_the_next_one_or_stops_it(deployed):
    """The lane alone is the session's; what an operator has brought up stays."""
    lane, scanner = deployed.pid(), deployed.pid("scanner")
    kept = deployed.trade(keep=True)
    assert (kept.facts["why"], kept.facts["kept"], deployed.pid()) == ("its hours are over", True, lane)
    assert f"BLUE runs, pid {lane}" in deployed.told
    stopped = deployed.trade()
    assert (stopped.facts["why"], stopped.facts["kept"], deployed.pid()) == ("its hours are over", False, 0)
    assert deployed.reports[-1].key == "paper-blue"
    again = deployed.trade(keep=True)
    assert again.rows == []
    assert "BLUE starts" in deployed.told
    assert deployed.pid() not in (0, lane)
    assert deployed.pid("scanner") == scanner


def test_a_killed_session_leaves_the_lane_to_the_next_which_sigterm_stops_within_10_seconds(deployed):
    """The lock goes with its process; a second session is refused while there is a first."""
    first = deployed.session()
    lane = deployed.pid()
    assert lane
    with pytest.raises(Unavailable, match="held by paper-trade of BLUE, pid"):
        deployed.trade()
    os.kill(lane, signal.SIGKILL)
    first.process.kill()
    first.process.wait(10)
    second = deployed.session()
    adopted = deployed.pid()
    assert adopted not in (0, lane)
    began = time.monotonic()
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(30) == 130
    assert time.monotonic() - began < 10.0
    assert (second.out.read_text(), deployed.pid()) == ("", 0)
    assert "trader has ended after" in second.words()
    assert deployed.pid("scanner") > 0


def test_a_session_whose_starter_is_gone_leaves_the_lane_alone(deployed):
    deployed.trade(keep=True)
    lane = deployed.pid()
    with pytest.raises(Unavailable, match="the next session adopts BLUE"):
        paper_trade(PaperJob(), deployed.told.append, deployed.reports.append, lambda: Wish.LEAVE)
    assert deployed.pid() == lane > 0
    FileLock(deployed.plan.state.processes / "paper_blue.lock", "test").release()


def test_a_run_that_its_server_has_lost_leaves_the_lane_alone(deployed):
    """Prefect raises this in the flow when it cannot renew the run's lease; what somebody cancels gets a signal."""
    deployed.trade(keep=True)
    lane = deployed.pid()

    def taken() -> Wish:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        paper_trade(PaperJob(), deployed.told.append, deployed.reports.append, taken)
    assert deployed.pid() == lane > 0
    assert "the run was taken from this session; BLUE goes on" in deployed.told


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lane": "GREEN"}, "trades BLUE, not GREEN: .*paper.lanes=BLUE,GREEN"),
        ({"lane": "RED"}, "lane"),
        ({"hours": 0.0}, "hours"),
        ({"speed": -1.0}, "speed"),
    ],
    ids=["lane not deployed", "no such lane", "no time", "backwards"],
)
def test_what_cannot_be_is_refused(deployed, given, words):
    with pytest.raises(ConfigError, match=words):
        deployed.trade(**given)


def test_a_session_that_is_stopped_before_it_adopted_its_lane_stops_it_all_the_same(deployed):
    deployed.trade(keep=True)
    assert deployed.pid() > 0
    PaperSession(PaperJob(), deployed.plan.state, deployed.told.append).leave()
    assert deployed.pid() == 0
    PaperSession(PaperJob(lane="GREEN"), deployed.plan.state, deployed.told.append).leave()
    assert deployed.pid("scanner") > 0


def test_of_several_lanes_each_has_a_process_of_its_own():
    both = Settings(paper=PaperConfig(lanes="BLUE,GREEN"))
    assert [lane_process(both, lane) for lane in ("BLUE", "GREEN")] == ["trader_blue", "trader_green"]
    assert lane_process(Settings(paper=PaperConfig(lanes="GREEN")), "GREEN") == "trader"


def test_a_lane_that_keeps_crashing_ends_the_session_with_its_last_words(deployed):
    crash = deployed.plan.state.root / "crash-trader"
    crash.touch()
    try:
        with pytest.raises(Unavailable, match="trader keeps crashing: crashed"):
            deployed.trade(hours=1.0)
    finally:
        crash.unlink()
    assert deployed.pid() == 0
    assert deployed.trade(keep=True).facts["kept"]


def test_a_session_ends_when_everything_is_stopped_from_outside(deployed):
    """`dolphin down` beside it: no error, nothing is started again."""
    session = deployed.session()
    down(deployed.plan.state, deployed.plan.settings)
    assert session.process.wait(30) == 0, session.words()
    assert json.loads(session.out.read_text())["why"] in ("everything was stopped from outside", "the lane was stopped from outside")
    assert not deployed.supervisor.alive
