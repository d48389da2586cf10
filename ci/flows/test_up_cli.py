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


def test_status_of_nothing_says_how_to_start_and_exits_1(short_folder):
    done = dolphin(short_folder, "status")
    assert (done.returncode, done.stdout.strip()) == (1, "not up: `dolphin up` starts everything")
    told = json.loads(dolphin(short_folder, "status", "--json").stdout)
    assert (told["schema"], told["up"], told["healthy"], told["processes"]) == ("dolphin.status/1", False, False, [])


def test_down_of_nothing_is_done_already(short_folder):
    done = dolphin(short_folder, "down")
    assert (done.returncode, done.stdout.strip()) == (0, "nothing was running")


def test_logs_show_the_last_lines_and_name_the_known_services(short_folder):
    logs = short_folder / "state" / "logs"
    logs.mkdir(parents=True)
    (logs / "scanner.log").write_text("one\ntwo\nthree\n")
    assert dolphin(short_folder, "logs", "scanner", "-n", "2").stdout == "two\nthree\n"
    wrong = dolphin(short_folder, "logs", "scaner")
    assert (wrong.returncode, "there are scanner" in wrong.stderr) == (2, True)


def test_the_embedded_grid_is_refused_when_it_is_asked_for(short_folder):
    done = dolphin(short_folder, "up", "--set", "grid.kind=embedded")
    assert done.returncode == 2
    assert "lives inside one process" in done.stderr


def test_a_replay_without_days_is_refused(short_folder):
    (short_folder / "klines").mkdir()
    done = dolphin(short_folder, "up", "--replay", "klines")
    assert done.returncode == 3
    assert not (short_folder / "state" / "supervisor.conf").exists()


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "1e9"])
def test_a_speed_that_is_none_is_refused(short_folder, speed):
    done = dolphin(short_folder, "up", "--speed", speed, "--set", "synthetic.days=1", "--set", "synthetic.assets=10")
    assert done.returncode == 2
    assert "expected a number above 0, at most 100000" in done.stderr


def test_a_paper_lane_needs_a_deployment_that_is_up_and_a_lane_that_exists(short_folder):
    wrong, alone = dolphin(short_folder, "paper", "--lane", "red"), dolphin(short_folder, "paper", "--lane", "blue")
    assert (wrong.returncode, "--lane red: blue or green" in wrong.stderr) == (2, True)
    assert (alone.returncode, "is no deployment that is up: `dolphin up` first" in alone.stderr) == (4, True)
