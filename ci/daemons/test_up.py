"""Supervision with real processes: a Hazelcast member and services without work, killed, frozen and crashed by their pids."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from grid_clusters import free_ports

from dolphin.config import Settings
from dolphin.deployment import AlertsConfig, GridConfig, SupervisionConfig
from dolphin.errors import ConfigError, DolphinError, MissingDependency, Unavailable
from dolphin.storage.state import StateFolder
from flows.processes import MARK, end, marked, ours
from flows.services import ServiceSpec, member_services
from flows.status import ServiceRow, Status, status_of
from flows.supervision import Plan, down, up
from flows.supervisor import Supervisor, supervisor_config

CI = Path(__file__).resolve().parent.parent
TOYS = (
    ServiceSpec("toy_a", "toy_service", waits=True),
    ServiceSpec("toy_b", "toy_service"),
    ServiceSpec("trader", "toy_service", waits=True),
)


def plan_in(root: Path, **supervision: float) -> Plan:
    """A member on a free port and three toys; alerts are appended to ``root/alerts``."""
    port = free_ports(1)
    settings = Settings(
        grid=GridConfig(kind="hazelcast", cluster=f"up-{port}", port=port),
        supervision=SupervisionConfig(**{"crash_window_s": 10, "crash_limit": 1, "stop_timeout_s": 5, **supervision}),
        alerts=AlertsConfig(command=shlex.join(["tee", "-a", str(root / "alerts")])),
    )
    return Plan(settings, StateFolder(root), (*member_services([port]), *TOYS))


def rows(plan: Plan) -> dict[str, ServiceRow]:
    return {row.process: row for row in status_of(plan.state, plan.settings).rows}


def until(question: Callable[[], bool], seconds: float = 30.0) -> None:
    limit = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.1)


def is_process(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's process."""
    with subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], MARK: "/somewhere/else"}) as child:
        yield child
        child.kill()


@pytest.fixture(scope="module")
def deployment(importable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """Up, in a folder that a crash of the machine has left behind: the pids in it are other processes by now."""
    plan = plan_in(tmp_path_factory.mktemp("state äß"))
    stranger = subprocess.Popen(["sleep", "600"])
    state = plan.state.made()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(state.root / "supervisor.sock"))
    (state.root / "supervisor.pid").write_text(f"{stranger.pid}\n")
    (state.processes / "toy_a.json").write_text(json.dumps({"pid": stranger.pid, "metrics_port": 1}))
    (state.processes / "toy_a.lock").write_text(f"toy_a, pid {stranger.pid}\n")
    state.restarts.write_text('{"toy_a": 7}')
    try:
        up(plan, print)
    except MissingDependency as error:
        stranger.kill()
        stranger.wait()
        if "java" in str(error).lower() or "by Maven" in str(error) or "pip install" in str(error):
            pytest.skip(str(error))
        raise
    yield plan
    down(plan.state, plan.settings)
    assert stranger.poll() is None, "a foreign process was signalled"
    stranger.kill()
    stranger.wait()


def test_up_returns_when_all_are_healthy_and_status_shows_them(deployment):
    found = status_of(deployment.state, deployment.settings)
    assert found.healthy
    assert [row.process for row in found.rows] == ["grid", "toy_a", "toy_b", "trader"]
    assert all(row.pid > 0 and row.restarts == 0 and row.heartbeat_s < 10 for row in found.rows)
    assert (found.posture["posture"], found.posture["state"]) == ("TURTLE", "UNKNOWN")
    assert json.loads(json.dumps(found.to_dict()))["up"] is True


def test_processes_start_in_order_and_the_trader_last(deployment):
    log = (deployment.state.logs / "supervisor.log").read_text()
    assert re.findall(r"spawned: '(grid|toy_a|toy_b|trader)'", log)[:4] == ["grid", "toy_a", "toy_b", "trader"]


def test_prometheus_finds_every_process(deployment):
    until(lambda: len(targets_of(deployment)) == 4, 10)
    assert {t["labels"]["process"] for t in targets_of(deployment)} == {"supervisor_events", "toy_a", "toy_b", "trader"}
    assert all(listens(int(t["targets"][0].rpartition(":")[2])) for t in targets_of(deployment))
    assert "prometheus-targets.json" in (deployment.state.root / "prometheus.yml").read_text()


def targets_of(plan: Plan) -> list[dict]:
    return json.loads((plan.state.root / "prometheus-targets.json").read_text())


def test_a_second_up_starts_nothing(deployment):
    before = {name: row.pid for name, row in rows(deployment).items()}
    assert up(deployment, print) is False
    assert {name: row.pid for name, row in rows(deployment).items()} == before


def test_up_with_other_settings_is_refused(deployment):
    grid = msgspec.structs.replace(deployment.settings.grid, call_timeout_s=4.0)
    other = Plan(msgspec.structs.replace(deployment.settings, grid=grid), deployment.state, deployment.services)
    with pytest.raises(Unavailable, match="other settings: `dolphin down` first"):
        up(other, print)


def test_two_ups_at_once_are_refused(deployment):
    from dolphin.storage.lock import FileLock

    lock = FileLock(deployment.state.processes / "supervision.lock", "dolphin up or down")
    with pytest.raises(Unavailable, match="held by dolphin up or down"):
        up(deployment, print)
    lock.release()


def test_a_killed_service_comes_back_and_the_restart_is_counted(deployment):
    victim = rows(deployment)["toy_a"]
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: (now := rows(deployment)["toy_a"]).healthy and now.pid != victim.pid)
    until(lambda: rows(deployment)["toy_a"].restarts == 1)
    assert rows(deployment)["trader"].restarts == 0


def test_a_killed_member_comes_back_and_the_services_find_it(deployment):
    os.kill(rows(deployment)["grid"].pid, signal.SIGKILL)
    until(lambda: rows(deployment)["grid"].restarts == 1)
    until(lambda: status_of(deployment.state, deployment.settings).healthy)


def test_a_crash_loop_ends_with_an_alert_and_up_starts_it_again(deployment):
    (deployment.state.root / "crash-toy_b").touch()
    os.kill(rows(deployment)["toy_b"].pid, signal.SIGKILL)
    until(lambda: rows(deployment)["toy_b"].state == "FATAL")
    assert not status_of(deployment.state, deployment.settings).healthy
    alerts = deployment.state.root / "alerts"
    until(lambda: alerts.exists() and "keeps crashing and is not restarted any more" in alerts.read_text(), 10)
    assert '"kind": "crash_loop"' in alerts.read_text()
    with pytest.raises(Unavailable, match="toy_b keeps crashing"):
        up(deployment, print)
    assert rows(deployment)["toy_a"].healthy
    (deployment.state.root / "crash-toy_b").unlink()
    assert up(deployment, print) is True
    assert rows(deployment)["toy_b"].healthy


def test_a_killed_supervisor_leaves_processes_that_the_next_up_ends(deployment):
    before = status_of(deployment.state, deployment.settings)
    os.kill(before.supervisor_pid, signal.SIGKILL)
    until(lambda: not is_process(before.supervisor_pid))
    found = status_of(deployment.state, deployment.settings)
    assert found.supervisor_pid == 0
    assert {row.pid for row in before.rows} <= set(found.left_over)
    told: list[str] = []
    assert up(deployment, told.append) is True
    assert "that an earlier supervisor had left behind" in told[0]
    assert not any(is_process(row.pid) for row in before.rows)
    assert status_of(deployment.state, deployment.settings).healthy


def test_down_leaves_no_process_socket_or_port(deployment):
    pids = ours(deployment.state.root)
    ports = [int(t["targets"][0].rpartition(":")[2]) for t in targets_of(deployment)] + [deployment.settings.grid.port]
    assert len(pids) == 6
    assert down(deployment.state, deployment.settings) == []
    assert not any(is_process(pid) for pid in pids)
    assert not any(listens(port) for port in ports)
    assert not list(deployment.state.root.glob("*.sock")) + list(deployment.state.root.glob("*.pid"))
    assert ours(deployment.state.root) == []
    assert down(deployment.state, deployment.settings) == []
    assert status_of(deployment.state, deployment.settings).rows == []


def test_a_frozen_supervisor_does_not_stop_down(importable, short_folder, monkeypatch):
    monkeypatch.setattr("flows.supervisor.CALL_S", 0.5)
    state = StateFolder(short_folder).made()
    supervisor = Supervisor(short_folder)
    state.settings.write_text("")
    supervisor.launch((), SupervisionConfig())
    until(lambda: supervisor.alive)
    pid = supervisor.pid()
    os.kill(pid, signal.SIGSTOP)
    forced = down(state, Settings(supervision=SupervisionConfig(stop_timeout_s=1)))
    assert pid in forced
    assert not is_process(pid)
    assert ours(short_folder) == []


def test_a_service_that_never_becomes_healthy_fails_up_and_nothing_is_left(importable, short_folder):
    plan = plan_in(short_folder, crash_limit=0)
    plan.state.made()
    (short_folder / "crash-toy_b").touch()
    with pytest.raises(DolphinError) as told:
        up(plan, print)
    if isinstance(told.value, MissingDependency):
        pytest.skip(str(told.value))
    assert re.search("toy_b keeps crashing: .*crash on demand", str(told.value))
    assert ours(short_folder) == []
    assert not listens(plan.settings.grid.port)


def test_a_port_in_use_is_refused_before_anything_starts(short_folder):
    plan = plan_in(short_folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", plan.settings.grid.port))
        taken.listen()
        with pytest.raises(DolphinError) as told:
            up(plan, print)
    if isinstance(told.value, MissingDependency):
        pytest.skip(str(told.value))
    assert f"127.0.0.1:{plan.settings.grid.port} is taken" in str(told.value)
    assert not (short_folder / "supervisor.conf").exists()


def test_without_java_up_says_what_to_install(short_folder, monkeypatch):
    monkeypatch.setenv("PATH", str(short_folder))
    with pytest.raises(MissingDependency, match="no java on the PATH: install openjdk-17-jre-headless"):
        up(plan_in(short_folder), print)
    assert ours(short_folder) == []


def test_down_of_a_folder_that_names_foreign_pids_signals_nobody(short_folder, sleeper):
    state = StateFolder(short_folder).made()
    (short_folder / "supervisor.pid").write_text(str(sleeper.pid))
    (state.processes / "trader.json").write_text(json.dumps({"pid": sleeper.pid, "metrics_port": 1}))
    assert down(state, Settings()) == []
    assert sleeper.poll() is None


def test_only_the_exact_mark_of_our_user_makes_a_process_ours(short_folder, sleeper):
    environ = {"PATH": os.environ["PATH"]}
    near = [subprocess.Popen(["sleep", "60"], env=environ | {MARK: f"{short_folder}{more}"}) for more in ("x", "/deeper")]
    named = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"{MARK}={short_folder}"], env=environ)
    child = "import subprocess; subprocess.run(['sleep', '60'])"
    mine = subprocess.Popen([sys.executable, "-c", child], env=environ | marked(short_folder))
    try:
        until(lambda: len(ours(short_folder)) == 2)
        assert mine.pid in end(short_folder, 0.5)
        mine.wait(5)
        assert ours(short_folder) == []
        assert all(process.poll() is None for process in (*near, named, sleeper))
    finally:
        for process in (*near, named, mine):
            process.kill()
            process.wait()


def test_what_ignores_sigterm_is_killed(short_folder):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ) | marked(short_folder), stdout=subprocess.PIPE) as stubborn:
        stubborn.stdout.readline()
        assert end(short_folder, 0.3) == [stubborn.pid]
        assert stubborn.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize("name", ['quo"te', "per%cent", "back\\slash"])
def test_a_state_folder_whose_name_the_configuration_cannot_hold_is_refused(name):
    with pytest.raises(ConfigError, match=r"set paths\.state"):
        supervisor_config((), Path("/x") / name, SupervisionConfig())


def test_a_state_folder_too_deep_for_a_socket_is_refused(short_folder):
    with pytest.raises(ConfigError, match=r"too long a path for a socket .* set paths\.state"):
        Supervisor(short_folder / ("deep" * 30))


def test_a_status_without_processes_is_not_healthy():
    assert not Status(0, [], [], None, False, 0, None, False, 0.0, None).healthy
