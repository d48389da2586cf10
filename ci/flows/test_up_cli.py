"""`dolphin up`, `status`, `logs` and `down` as commands, where nothing runs yet or nothing can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def dolphin(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in ``folder``, its state in ``folder/state``."""
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    own = os.environ | {"PYTHONPATH": path, "DOLPHIN__PATHS__STATE": str(folder / "state")} | environment
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, timeout=120, check=False)


def test_status_of_nothing_says_how_to_start_and_exits_1(tmp_path):
    done = dolphin(tmp_path, "status")
    assert (done.returncode, done.stdout.strip()) == (1, "not up: `dolphin up` starts everything")
    told = json.loads(dolphin(tmp_path, "status", "--json").stdout)
    assert (told["schema"], told["up"], told["healthy"], told["processes"]) == ("dolphin.status/1", False, False, [])


def test_down_of_nothing_is_done_already(tmp_path):
    done = dolphin(tmp_path, "down")
    assert (done.returncode, done.stdout.strip()) == (0, "nothing was running")


def test_logs_show_the_last_lines_and_name_the_known_services(tmp_path):
    logs = tmp_path / "state" / "logs"
    logs.mkdir(parents=True)
    (logs / "scanner.log").write_text("one\ntwo\nthree\n")
    assert dolphin(tmp_path, "logs", "scanner", "-n", "2").stdout == "two\nthree\n"
    wrong = dolphin(tmp_path, "logs", "scaner")
    assert (wrong.returncode, "there are scanner" in wrong.stderr) == (2, True)


def test_the_embedded_grid_is_refused_when_it_is_asked_for(tmp_path):
    done = dolphin(tmp_path, "up", "--set", "grid.kind=embedded")
    assert done.returncode == 2
    assert "lives inside one process" in done.stderr


def test_a_replay_without_days_is_refused(tmp_path):
    (tmp_path / "klines").mkdir()
    done = dolphin(tmp_path, "up", "--replay", "klines")
    assert done.returncode == 3
    assert not (tmp_path / "state" / "supervisor.conf").exists()


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "1e9"])
def test_a_speed_that_is_none_is_refused(tmp_path, speed):
    done = dolphin(tmp_path, "up", "--speed", speed, "--set", "synthetic.days=1", "--set", "synthetic.assets=10")
    assert done.returncode == 2
    assert "expected a number above 0, at most 100000" in done.stderr


def test_a_paper_lane_needs_a_deployment_that_is_up_and_a_lane_that_exists(tmp_path):
    wrong, alone = dolphin(tmp_path, "paper", "--lane", "red"), dolphin(tmp_path, "paper", "--lane", "blue")
    assert (wrong.returncode, "--lane red: blue or green" in wrong.stderr) == (2, True)
    assert (alone.returncode, "is no deployment that is up: `dolphin up` first" in alone.stderr) == (4, True)
