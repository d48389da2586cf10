"""systemd units and the compose file say what the table of services says, and doctor notices when they do not."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dolphin.storage.state import StateFolder
from flows.doctor import examine
from flows.scrape import targets, write_targets
from flows.services import SERVICES, member_services, services_of
from flows.units import drift, unit_files

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NAMES = ["grid", *(spec.name for spec in SERVICES)]


def test_the_committed_files_agree_with_the_services():
    assert drift(CONFIGS) == []
    assert next(row for row in examine(None) if row.name == "units").status == "ok"


@pytest.mark.parametrize("change", ["edited", "removed", "added"])
def test_drift_names_the_file(tmp_path, change):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    unit = tmp_path / "configs" / "systemd" / "dolphin-trader.service"
    if change == "edited":
        unit.write_text(unit.read_text().replace("Restart=always", "Restart=no"))
    elif change == "removed":
        unit.unlink()
    else:
        unit = unit.with_name("dolphin-old.service")
        unit.write_text("[Service]\n")
    assert drift(tmp_path / "configs") == [f"systemd/{unit.name}"]


def test_every_service_is_a_module_that_exists():
    assert [spec.name for spec in SERVICES if importlib.util.find_spec(spec.module) is None] == []
    assert importlib.util.find_spec(member_services([5701])[0].module) is not None


def test_nothing_trades_before_everything_else_is_healthy():
    assert SERVICES[-1].name == "trader"
    assert SERVICES[-1].waits
    assert NAMES.index("scanner") > NAMES.index("system_watchdog") > NAMES.index("acb_processor") > NAMES.index("grid")


def test_systemd_takes_the_units():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    units = [*sorted((CONFIGS / "systemd").glob("*.service")), CONFIGS / "systemd" / "dolphin.target"]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_compose_has_every_service_on_the_loopback_of_the_grid():
    services = yaml.safe_load((CONFIGS / "compose.yaml").read_text())["services"]
    assert list(services) == NAMES
    assert all("ports" not in service for service in services.values())
    assert {name for name, service in services.items() if service.get("network_mode") != "service:grid"} == {"grid"}
    assert list(services["trader"]["depends_on"]) == NAMES[:-1]


def test_three_members_have_names_of_their_own():
    assert [(spec.name, spec.command("S", "python")[2:]) for spec in member_services([7001, 7002, 7003])][1:] == [
        ("grid_2", ["flows.grid_member", "--state", "S", "--port", "7002"]),
        ("grid_3", ["flows.grid_member", "--state", "S", "--port", "7003"]),
    ]


def test_units_are_text_without_addresses_or_folders_of_this_machine():
    text = "".join(unit_files().values())
    assert str(CONFIGS.parent) not in text
    assert "http" not in text.replace("http://127.0.0.1", "")


def test_prometheus_targets_follow_the_processes_and_skip_what_makes_no_sense(tmp_path):
    state = StateFolder(tmp_path).made()
    (state.processes / "scanner.json").write_text('{"metrics_port": 4711, "pid": 1}')
    for name, text in (("half", '{"metrics_po'), ("other", "[]"), ("none", "{}"), ("word", '{"metrics_port": "x"}')):
        (state.processes / f"{name}.json").write_text(text)
    assert targets(state) == [{"targets": ["127.0.0.1:4711"], "labels": {"process": "scanner"}}]
    write_targets(state)
    path = tmp_path / "prometheus-targets.json"
    before = path.stat().st_mtime_ns
    write_targets(state)
    assert path.stat().st_mtime_ns == before
    assert json.loads(path.read_text()) == targets(state)


def test_two_lanes_are_two_traders_side_by_side():
    assert services_of(["GREEN"]) == SERVICES
    *others, blue, green = services_of(["BLUE", "GREEN"])
    assert tuple(others) == SERVICES[:-1]
    assert [(spec.name, spec.waits, spec.command("S")[-2:]) for spec in (blue, green)] == [
        ("trader_blue", True, ["--lane", "BLUE"]),
        ("trader_green", False, ["--lane", "GREEN"]),
    ]
