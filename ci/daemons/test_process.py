"""The skeleton as real processes on a real Hazelcast member: signals, kill -9, an emptied grid, heartbeats, metrics, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
import uuid

import pytest
from daemon_processes import Deployment, wait_for
from grid_clusters import Cluster, free_ports, plans

from dolphin.deployment import GridConfig
from dolphin.errors import MissingDependency
from dolphin.grid.maps import CONTROL, FEATURES, HEARTBEAT, SAFETY
from dolphin.grid.process import start_members, stop_member
from dolphin.storage.journal import JournalReader, journal_path
from flows.workspace import jar_folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    config = GridConfig(kind="hazelcast", cluster=f"test-{uuid.uuid4().hex[:8]}", port=free_ports(1))
    state = tmp_path_factory.mktemp("member")
    try:
        found = Cluster(config, start_members(plans(config), state, jar_folder(config.server)), state)
    except MissingDependency as error:
        if "java" in str(error).lower() or "fetches it by Maven" in str(error):
            pytest.skip(str(error))
        raise
    yield found
    for member in found.members:
        stop_member(member, patience_s=0.0)


@pytest.fixture
def deployment(tmp_path, cluster):
    made = Deployment(tmp_path / "state", cluster)
    yield made
    made.close()


@pytest.fixture
def grid(cluster):
    found = cluster.connect()
    for name in (CONTROL, FEATURES, HEARTBEAT, SAFETY, "DOLPHIN_LEASES"):
        found._ask(name, lambda m: m.clear())
    yield found
    found.close()


def beats(grid, service):
    return {e.key: e.record for e in grid.entries(HEARTBEAT) if e.key.startswith(f"{service}:") and e.record}


def kinds(deployment, writer):
    with JournalReader(journal_path(deployment.state.journals, writer)) as journal:
        assert journal.verify().ok
        return [(record.kind, record.payload) for record in journal.records()]


def verb(deployment, name, reason):
    """`dolphin kill` or `dolphin release` on the deployment's state folder."""
    command = [sys.executable, "-m", "flows.cli", name, "--reason", reason, "--state", str(deployment.state.root), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_a_service_lives_beats_is_scraped_and_leaves_with_0_on_sigterm(deployment, grid):
    process = deployment.start("acb_processor")
    seen = wait_for(lambda: beats(grid, "acb_processor"))
    assert [key.split(":")[2] for key in seen] == [str(process.pid)]
    assert wait_for(lambda: grid.get(FEATURES, "acb_boost"))["boost"] == 1.0
    assert wait_for(lambda: next(iter(beats(grid, "acb_processor").values()))["seq"] >= 2)
    facts = deployment.facts("acb_processor")
    assert facts["pid"] == process.pid
    with urllib.request.urlopen(f"http://127.0.0.1:{facts['metrics_port']}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert "dolphin_grid_connected 1.0" in text
    assert "dolphin_acb_boost 1.0" in text
    second = deployment.start("acb_processor")
    assert second.wait(60) == 4
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert next(iter(beats(grid, "acb_processor").values()))["status"] == "stopped"
    found = kinds(deployment, "acb_processor")
    assert [kind for kind, _ in found] == ["started", "acb_boost", "stopped"]
    assert found[-1][1] == {"reason": "stopped", "exit_code": 0}
    lines = deployment.log("acb_processor")
    assert any("held by acb_processor:" in line["message"] for line in lines)
    assert {"time", "level", "logger", "message", "service"} <= set(lines[0])
    assert (deployment.state.compiled / "acb_processor").is_dir()


def test_kill_9_and_an_emptied_grid_cost_nothing_that_was_written(deployment, cluster, grid):
    """The second process takes the lease of its folder over, the third state of the grid (empty) is filled from journals and steps."""
    first, watchdog = deployment.start("acb_processor"), deployment.start("system_watchdog")
    boost = wait_for(lambda: grid.get(FEATURES, "acb_boost"))
    posture = wait_for(lambda: grid.get(SAFETY, "latest"))
    assert posture["posture"] == "HIBERNATE"
    first.send_signal(signal.SIGKILL)
    first.wait(30)
    again = deployment.start("acb_processor")
    after = wait_for(lambda: (found := grid.get(FEATURES, "acb_boost")) and found["fence"] > boost["fence"] and found)
    assert after["boost"] == boost["boost"]
    assert wait_for(lambda: any(key.endswith(f":{again.pid}") for key in beats(grid, "acb_processor")))
    stop_member(cluster.members[0], patience_s=0.0)
    cluster.restart()
    back = wait_for(lambda: grid.members and grid.get(FEATURES, "acb_boost"))
    assert back["boost"] == boost["boost"]
    assert wait_for(lambda: grid.get(SAFETY, "latest"))["seq"] >= posture["seq"]
    assert wait_for(lambda: grid.get(CONTROL, "kill"))["engaged"] is False
    assert verb(deployment, "kill", "drill")["missed"] == []
    assert wait_for(lambda: "kill" in [kind for kind, _ in kinds(deployment, "system_watchdog")])
    assert grid.get(CONTROL, "kill")["reason"] == "drill"
    assert verb(deployment, "release", "drill over")["engaged"] is False
    assert wait_for(lambda: grid.get(CONTROL, "kill")["engaged"] is False)
    assert [kind for kind, _ in kinds(deployment, "control")] == ["kill", "release"]
    assert (again.poll(), watchdog.poll()) == (None, None)
    for process in (again, watchdog):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in (again, watchdog)] == [0, 0]
    assert "posture" in [kind for kind, _ in kinds(deployment, "system_watchdog")]


def test_a_process_that_cannot_run_says_why_with_its_exit_code(deployment):
    """No grid of members: 4. A damaged replay: 3. An unknown setting: 2. A defect: 1, told as an alert and in the journal."""
    defect = "from daemons.process import main\nfrom daemons.service import Service\n"
    defect += "class Broken(Service):\n    'Breaks.'\n    name = 'broken'\n    def step(self):\n        1 / 0\nmain(Broken)"
    broken = deployment.start("broken", code=defect)
    assert broken.wait(60) == 1
    assert kinds(deployment, "broken")[-1] == ("stopped", {"reason": "ZeroDivisionError: division by zero", "exit_code": 1})
    assert any(line["level"] == "CRITICAL" and "crashed broken" in line["message"] for line in deployment.log("broken"))
    good = deployment.state.settings.read_text()
    deployment.state.replay.write_text("{}")
    codes = [deployment.start("acb_processor")]
    codes[0].wait(60)
    deployment.state.settings.write_text(good.replace('kind = "hazelcast"', 'kind = "embedded"'))
    codes.append(deployment.start("acb_processor"))
    codes[1].wait(60)
    deployment.state.settings.write_text("[grid]\nkid = 1\n")
    codes.append(deployment.start("acb_processor"))
    assert [process.wait(60) for process in codes] == [3, 4, 2]
    messages = [json.dumps(line) for line in deployment.log("acb_processor")]
    assert any("is no replay" in line for line in messages)
    assert any("grid.kid" in line for line in messages)
