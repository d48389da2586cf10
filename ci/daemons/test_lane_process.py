"""Scanner and trader as real processes on a real Hazelcast member: a trader that is killed twice ends where an undisturbed one does."""

from __future__ import annotations

import shutil
import signal
import time
import uuid

import msgspec
import pytest
from daemon_processes import Deployment, wait_for
from grid_clusters import Cluster, free_ports, plans
from lane_worlds import BETA, BOOST, payloads, replay_of, settings_of, warning

from dolphin.config import load, to_toml
from dolphin.deployment import GridConfig
from dolphin.errors import MalformedFile, MissingDependency, Unavailable
from dolphin.grid.maps import CONTROL, FEATURES, SAFETY, AcbBoost, Kill, PostureRecord, fields
from dolphin.grid.process import start_members, stop_member
from dolphin.kernels._jit import cache_dir
from dolphin.storage.journal import JournalReader, Kind, journal_path
from dolphin.storage.replay import write_replay
from dolphin.types import Posture
from flows.workspace import jar_folder

FIRST = "2025-01-02"
LANE_KINDS = {Kind.BAR, Kind.TRADE, Kind.DAY_RESULT, Kind.DAY_SNAPSHOT}


@pytest.fixture
def deployment(tmp_path):
    config = GridConfig(kind="hazelcast", cluster=f"test-{uuid.uuid4().hex[:8]}", port=free_ports(1))
    try:
        cluster = Cluster(config, start_members(plans(config), tmp_path / "member", jar_folder(config.server)), tmp_path / "member")
    except MissingDependency as error:
        if "java" in str(error).lower() or "fetches it by Maven" in str(error):
            pytest.skip(str(error))
        raise
    made = Deployment(tmp_path / "state", cluster)
    settings = load(made.state.settings).settings
    lane = settings_of()
    settings = msgspec.structs.replace(settings, engine=lane.engine, survival=lane.survival)
    made.state.settings.write_text(to_toml(settings), encoding="utf-8")
    for service in ("scanner", "trader"):
        shutil.copytree(cache_dir(), made.state.compiled / service / cache_dir().name)
    made.member = cluster
    yield made
    made.close()
    for member in cluster.members:
        stop_member(member, patience_s=0.0)


def all_clear(grid):
    """What the other services would say about the day, now."""
    wall, ones = time.time_ns() // 1_000_000, {f"cat{i}": 1.0 for i in range(1, 6)}
    posture = PostureRecord(posture=Posture.APEX, rm=1.0, target=1.0, reasons=(), ts_ms=wall, seq=wall, **ones)
    boost = AcbBoost(ts_ms=wall, boost=BOOST, beta=BETA, signals=1.0, factors={}, w750_vel=None, date=FIRST)
    grid.put(SAFETY, "latest", fields(posture))
    grid.put(FEATURES, "acb_boost", fields(boost))
    grid.put(FEATURES, "mc_forewarner", fields(warning(wall, FIRST)))
    grid.put(CONTROL, "kill", fields(Kill(engaged=False, reason="", by="test", ts_ms=wall)))


def lane_records(deployment):
    path = journal_path(deployment.state.journals, "trader_blue")
    if not path.is_file():
        return []
    try:
        with JournalReader(path) as journal:
            return [(r.kind, r.ts_ms, decided(r.payload)) for r in journal.records() if r.kind in LANE_KINDS]
    except MalformedFile:  # it is being made
        return []


def decided(payload):
    """Without the place in the scanner's journal, which has a record more for each of its lives."""
    return {name: value for name, value in payload.items() if name not in ("scan_seq", "scan_hash")}


def bars(deployment):
    return sum(kind == Kind.BAR for kind, _, _ in lane_records(deployment))


def restarts(deployment):
    with JournalReader(journal_path(deployment.state.journals, "trader_blue")) as journal:
        return len(journal.tail(9, Kind.RECOVERED))


def test_a_trader_killed_twice_in_a_replay_ends_where_an_undisturbed_one_does(deployment, market, calm):
    """Every decision of the lane, and each order once. The scanner dies once, too; a second trader of the lane is refused meanwhile."""
    grid = deployment.member.connect()
    all_clear(grid)
    now = time.monotonic()
    replay = msgspec.structs.replace(replay_of(market, FIRST, FIRST, speed=900.0), started_monotonic=now + 6.0)
    write_replay(deployment.state.replay, replay)
    scanner, trader = deployment.start("scanner"), deployment.start("trader")
    assert wait_for((deployment.state.processes / "trader.json").exists, 90)
    second = deployment.start("trader")
    assert second.wait(90) == Unavailable.exit_code
    for life in (0, 1):
        seen = min(160, bars(deployment) + 20)
        assert wait_for(lambda life=life, seen=seen: bars(deployment) >= seen and restarts(deployment) == life, 90)
        trader.send_signal(signal.SIGKILL)
        trader.wait(30)
        if life == 0:
            scanner.send_signal(signal.SIGKILL)
            scanner.wait(30)
            scanner = deployment.start("scanner")
        all_clear(grid)
        trader = deployment.start("trader")
    assert wait_for(lambda: bars(deployment) >= 160, 90)
    undisturbed = next(r.service for r in calm.runners if r.service.name == "trader")
    kept = [(kind, ts, decided(payload)) for kind, ts, payload in payloads(undisturbed) if kind in LANE_KINDS]
    found = lane_records(deployment)
    assert found == kept[: len(found)]
    assert sum(kind == Kind.TRADE for kind, _, _ in found) >= 2
    for process in (trader, scanner):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in (trader, scanner)] == [0, 0]
    with JournalReader(journal_path(deployment.state.journals, "trader_blue")) as journal:
        assert journal.verify().ok
        sent = [r.payload["client_order_id"] for r in journal.records(Kind.ORDER_INTENT)]
        done = [r.payload["client_order_id"] for r in journal.records(Kind.ORDER_EVENT) if r.payload["event"] == "filled"]
        assert sent == done == sorted(set(sent))
        assert len(sent) >= 4
        assert [r.payload["reason"].endswith("come out as they were") for r in journal.records(Kind.RECOVERED)] == [True, True]
    grid.close()
