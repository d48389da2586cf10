"""The grid from the command line: a member started, looked at in every way that is documented, and stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grid_clusters import free_ports, safety

from dolphin.deployment import GridConfig
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.features import ShardedFeatureStore
from dolphin.grid.maps import FEATURES, HEARTBEAT, AcbBoost, Heartbeat, fields
from dolphin.grid.safety import SafetyCell

CLI = [sys.executable, "-m", "flows.cli"]


def dolphin(*arguments, env, **options):
    return subprocess.run([*CLI, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, env=env, **options)


def told(done):
    """The one JSON object on stdout."""
    assert done.stdout.count("\n") == 1, done.stdout[:300] + done.stderr[-500:]
    return json.loads(done.stdout)


def wall():
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    """Environment of a started member with a posture, a boost, a day's result, a book and a heartbeat in it."""
    port = free_ports(1)
    env = {
        **os.environ,
        "DOLPHIN__PATHS__STATE": str(tmp_path_factory.mktemp("state")),
        "DOLPHIN__GRID__CLUSTER": f"cli{port}",
        "DOLPHIN__GRID__CALL_TIMEOUT_S": "5",
    }
    done = dolphin("grid", "start", "--port", port, "--json", env=env)
    if done.returncode == 4 and ("java" in done.stderr.lower() or "fetches it by Maven" in done.stderr):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    env["PORT"] = str(port)
    grid = HazelcastGrid(GridConfig(cluster=f"cli{port}", port=port))
    SafetyCell(grid).write(safety(posture="STALKER", ts_ms=wall(), reasons=("no order-book layer: at most STALKER",)))
    boost = AcbBoost(ts_ms=wall(), boost=1.347, beta=0.8, signals=1.0, factors={"fng": 22.0}, w750_vel=None, date="2025-01-02")
    grid.put(FEATURES, "acb_boost", fields(boost))
    grid.put("DOLPHIN_PNL_BLUE", "2025-01-02", {"schema": "dolphin.day/1", "ts_ms": wall(), "date": "2025-01-02", "pnl": 123.5})
    grid.put(HEARTBEAT, "scanner:here:1", fields(Heartbeat(seq=7, ts_ms=wall(), status="ok")), ttl_s=600)
    ShardedFeatureStore(grid).put("BTCUSDT", "book", {"imbalance_ma5": 0.25})
    grid.close()
    yield env
    assert dolphin("grid", "stop", env=env).returncode == 0


def test_status_shows_the_member_and_its_health(member):
    done = dolphin("grid", "status", env=member)
    assert (done.returncode, done.stderr) == (0, "")
    assert f" {member['PORT']} " in done.stdout
    rows = told(dolphin("grid", "status", "--json", env=member))["members"]
    assert [(row["state"], row["members"], row["alive"], row["server"]) for row in rows] == [("ACTIVE", 1, True, "5.7.0")]


def test_a_start_of_what_runs_is_quiet_and_another_shape_is_refused(member):
    again = told(dolphin("grid", "start", "--port", member["PORT"], "--json", env=member))
    assert again["members"][0]["port"] == int(member["PORT"])
    other = dolphin("grid", "start", "--port", member["PORT"], "--server", "5.4.0", env=member)
    assert other.returncode == 4
    assert "already runs as 5.7.0" in other.stderr


def test_the_posture_a_boost_a_book_and_a_day_are_read_by_verbs(member):
    done = dolphin("posture", env=member)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("STALKER  FRESH")
    assert "at most STALKER" in done.stdout
    assert told(dolphin("posture", "--json", env=member))["record"]["seq"] == 1
    entry = told(dolphin("grid", "get", "DOLPHIN_FEATURES", "acb_boost", "--json", env=member))["entries"][0]
    assert (entry["record"]["boost"], entry["reason"]) == (1.347, None)
    assert '"pnl": 123.5' in dolphin("grid", "get", "DOLPHIN_PNL_BLUE", env=member).stdout
    absent = dolphin("grid", "get", "DOLPHIN_PNL_BLUE", "2025-01-03", env=member)
    assert (absent.returncode, absent.stdout) == (1, "2025-01-03  ABSENT\n")
    assert told(dolphin("features", "BTCUSDT", "--json", env=member))["features"][0]["value"] == {"imbalance_ma5": 0.25}
    assert dolphin("features", "NOUSDT", env=member).returncode == 1


def test_the_board_shows_posture_boosts_shards_lag_and_heartbeats(member):
    done = dolphin("grid", "watch", "--once", env=member)
    assert done.returncode == 0, done.stderr
    for part in ("STALKER", "acb_boost", "boost 1.347", "07     1", "scanner:here:1", "seq 7", "lag"):
        assert part in done.stdout, part
    began = time.monotonic()
    assert dolphin("grid", "watch", "--seconds", 1.5, env=member).returncode == 0
    assert 1.5 < time.monotonic() - began < 15
    board = told(dolphin("grid", "watch", "--json", env=member))
    assert [row["entries"] for row in board["shards"]] == [0] * 7 + [1, 0, 0]
    assert board["shards"][7]["oldest_ms"] >= 0


def test_the_official_console_reads_posture_boost_and_a_days_result(member):
    """The documented session, through a pipe."""
    session = "ns DOLPHIN_SAFETY\nm.get latest\nns DOLPHIN_FEATURES\nm.entries\nns DOLPHIN_PNL_BLUE\nm.get 2025-01-02\nexit\n"
    done = dolphin("grid", "console", env=member, input=session)
    assert done.returncode == 0, done.stderr
    assert '"posture":"STALKER"' in done.stdout
    assert 'acb_boost: {"schema":"dolphin.acb/1"' in done.stdout
    assert '"pnl":123.5' in done.stdout


def test_without_java_or_jars_or_a_member_one_line_names_the_embedded_grid(tmp_path):
    """Exit 4, one line, what to install, and what works without it."""
    env = {
        **os.environ,
        "DOLPHIN__PATHS__STATE": str(tmp_path),
        "DOLPHIN__GRID__PORT": str(free_ports(1)),
        "DOLPHIN__GRID__CLUSTER": "none",
    }
    (tmp_path / "bin").mkdir()
    cases = [
        (("grid", "start"), {"PATH": str(tmp_path / "bin")}, "no java on the PATH: install openjdk-17-jre-headless"),
        (("grid", "start"), {"XDG_CACHE_HOME": str(tmp_path)}, "fetches it by Maven"),
        (("posture",), {}, "no member answered within 3 s; start it with `dolphin grid start`"),
    ]
    for verb, changes, words in cases:
        done = dolphin(*verb, env=env | changes)
        assert done.returncode == 4, (verb, changes, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
        assert words in done.stderr
        assert "grid.kind = embedded" in done.stderr
        assert done.stdout == ""
    done = dolphin("grid", "status", env=env)
    assert (done.returncode, done.stdout) == (0, "no member was started from here: `dolphin grid start`\n")
    assert list(Path(tmp_path).glob("**/member.json")) == []
