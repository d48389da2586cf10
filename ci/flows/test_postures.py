"""Postures in runs: from the run itself, from a file, replayed by Nautilus and by explain; recorded sensors played by the verb."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolphin.engine.schedule import day_start
from dolphin.engine.survival import SurvivalStack
from dolphin.engine.survival_report import SensorDay, replay
from dolphin.errors import ConfigError, MalformedFile, QualityError, SchemaError
from dolphin.report.text import cautions
from dolphin.storage.sensor_file import SENSOR_COLUMNS, read_sensors
from dolphin.types import Posture
from flows.postures import read_postures, write_postures

CLI = [sys.executable, "-m", "flows.cli"]
SMALL = ("--set", "synthetic.assets=12", "--set", "synthetic.days=2")
N = 400


def dolphin(*arguments, cwd):
    return subprocess.run([*CLI, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def told(*arguments, cwd, code=0):
    done = dolphin(*arguments, "--json", cwd=cwd)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def recorded():
    """A day with a spike, a silent sensor and an outage."""
    spike = np.where(np.arange(N) < 150, np.inf, np.arange(N) - 150.0)
    silent = [None if 250 <= k < 260 else 1.2 for k in range(N)]
    return SensorDay(
        dt_min=[1.0] * N, hz_nodes=[0.0 if k == 300 else 3.0 for k in range(N)], heartbeat_age_s=[2.0] * N, mc_status=["OK"] * N,
        staleness_hours=[0.5] * N, ob_stale=[False] * N, depth_quality=silent, fill_prob=[1.0] * N, t_since_spike_min=spike.tolist(),
        drawdown=[0.0] * N, kill=[False] * N,
    )  # fmt: skip


def as_parquet(path, ts=None):
    columns = {f.name: getattr(recorded(), f.name) for f in fields(SensorDay)}
    pq.write_table(pa.table(columns | ({"ts": ts} if ts is not None else {})), path)
    return path


def as_csv(path):
    columns = {f.name: getattr(recorded(), f.name) for f in fields(SensorDay)}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(["" if cell is None else cell for cell in row] for row in zip(*columns.values(), strict=True))
    return path


# -------------------------------------------------------------------------------------------------------------- the run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a full-stack run on the synthetic market whose postures follow from it."""
    folder = tmp_path_factory.mktemp("postures")
    return folder, told("backtest", "--stack", "full", *SMALL, cwd=folder)


def test_a_full_run_computes_its_postures_and_says_so(home):
    """Summary, flags, headline."""
    _, found = home
    summary = found["summary"]
    postures = summary["detail"]["postures"]
    assert postures["source"] == "run"
    assert len(postures["changes"]) > 3
    assert postures["changes"][0][0] == day_start(summary["days"][0])
    assert sum(postures["minutes"].values()) == pytest.approx(2 * 1440)
    assert 0.0 <= postures["lowest_rm"] < 1.0
    assert {"posture_without_forewarner", "posture_without_dvol"} <= set(summary["flags"])
    line = next(text for text in cautions(summary) if text.startswith("Postures from the run, lowest Rm 0."))
    assert all(name in line for name in postures["minutes"])
    assert summary["detail"]["layers"]["postures"] == postures["changes"]


def test_the_found_schedule_as_a_file_makes_the_same_run(home, tmp_path):
    """--posture-file overrides what the run would find; given what it found, the trades are the same."""
    folder, found = home
    changes = [{"ts_ms": ts, "posture": posture} for ts, posture in found["summary"]["detail"]["postures"]["changes"]]
    path = tmp_path / "found.json"
    path.write_text(json.dumps(changes))
    again = told("backtest", "--stack", "full", "--posture-file", path, *SMALL, cwd=folder)["summary"]
    assert again["trades_hash"] == found["summary"]["trades_hash"]
    mine, its = again["detail"]["postures"], found["summary"]["detail"]["postures"]
    assert (mine["source"], mine["lowest_rm"]) == ("file", None)
    assert (mine["changes"], mine["minutes"]) == (its["changes"], its["minutes"])
    assert "posture_without_dvol" not in again["flags"]
    path.write_text("[]")
    free = told("backtest", "--stack", "full", "--posture-file", path, *SMALL, cwd=folder)["summary"]
    assert free["trades_hash"] != found["summary"]["trades_hash"]
    assert "postures" not in free["detail"]


def test_nautilus_replays_the_found_postures_and_a_files(home, tmp_path):
    """Parity trade by trade, over several changes inside a day."""
    folder, found = home
    venue = told("backtest", "--stack", "full", "--engine", "nautilus", *SMALL, cwd=folder)["summary"]
    assert venue["detail"]["venue"]["parity"]["equal"]
    assert venue["trades_hash"] == found["summary"]["trades_hash"]
    day = found["summary"]["days"][1]
    path = tmp_path / "file.json"
    path.write_text(json.dumps([{"ts_ms": day_start(day) + k * 14_400_000, "posture": p} for k, p in enumerate(Posture)]))
    venue = told("backtest", "--stack", "full", "--engine", "nautilus", "--posture-file", path, *SMALL, cwd=folder)["summary"]
    assert venue["detail"]["venue"]["parity"]["equal"]
    assert len(venue["detail"]["postures"]["minutes"]) == 4


def test_explain_replays_the_found_postures(home):
    """A halted bar is explained as halted."""
    folder, found = home
    assert dolphin("backtest", "--stack", "full", *SMALL, cwd=folder).returncode == 0
    change = next(ts for ts, posture in found["summary"]["detail"]["postures"]["changes"] if posture in ("TURTLE", "HIBERNATE"))
    bar = (change - day_start(found["summary"]["days"][0])) // 60_000
    path = told("explain", "runs/latest", "--bar", bar + 1, cwd=folder)
    assert "HALTED" in json.dumps(path)


def test_a_setting_of_the_survival_stack_reaches_the_run(home):
    """--set survival.cadence_min: fewer evaluations, another run; a wrong one is refused."""
    folder, found = home
    slow = told("backtest", "--stack", "full", "--set", "survival.cadence_min=30", *SMALL, cwd=folder)["summary"]["detail"]["postures"]
    assert len(slow["changes"]) < len(found["summary"]["detail"]["postures"]["changes"])
    assert all(ts % 1_800_000 == 0 for ts, _ in slow["changes"])
    assert dolphin("backtest", "--stack", "full", "--set", "survival.cadence_min=0", *SMALL, cwd=folder).returncode == 2


# --------------------------------------------------------------------------------------------------------- files of postures


def test_a_schedule_of_changes_is_read_as_it_was_written(tmp_path):
    """Both layouts; what is neither is refused with a hint."""
    path = tmp_path / "p.json"
    path.write_text('[{"ts_ms": 5, "posture": "TURTLE"}, {"ts_ms": 9, "posture": "APEX"}]')
    schedule = read_postures(path)
    assert schedule.changes == ((5, Posture.TURTLE), (9, Posture.APEX))
    write_postures(path, schedule)
    assert read_postures(path) == schedule
    path.write_text('{"2025-01-02": "STALKER"}')
    assert len(read_postures(path).changes) == 2
    for text in ('[{"ts_ms": "5", "posture": "APEX"}]', '[{"ts_ms": 5}]', '[{"ts_ms": 5, "posture": "APEX", "rm": 1}]', "3", "{}x"):
        path.write_text(text)
        with pytest.raises(MalformedFile, match="not a posture schedule"):
            read_postures(path)
    for text in ('[{"ts_ms": 5, "posture": "BRAVE"}]', '[{"ts_ms": 5, "posture": "APEX"}, {"ts_ms": 5, "posture": "TURTLE"}]'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"p\.json"):
            read_postures(path)


# ------------------------------------------------------------------------------------------------------------- the verb


@pytest.mark.parametrize("write", [as_parquet, as_csv], ids=["parquet", "csv"])
def test_recorded_sensors_are_played_through_the_stack(tmp_path, write):
    """Each change with time, Rm and reasons; minutes by posture; a schedule that --posture-file takes."""
    path = write(tmp_path / ("s.csv" if write is as_csv else "s.parquet"))
    records = replay(recorded(), SurvivalStack(), day_start("2025-01-01"))
    wanted = [r for before, r in zip([None, *records], records, strict=False) if before is None or before.posture != r.posture][1:]
    found = told("posture", "--replay", path, "--date", "2025-01-01", "--out", tmp_path / "out.json", cwd=tmp_path)
    assert [(c["ts_ms"], c["posture"], c["rm"], c["reasons"]) for c in found["changes"]] == [
        (r.ts_ms, r.posture.value, r.rm, list(r.reasons)) for r in wanted
    ]
    assert sum(found["minutes"].values()) == N
    assert found["lowest_rm"] == 0.0
    schedule = read_postures(tmp_path / "out.json")
    assert schedule.changes == ((day_start("2025-01-01"), Posture.HIBERNATE), *((r.ts_ms, r.posture) for r in wanted))
    text = dolphin("posture", "--replay", path, "--date", "2025-01-01", cwd=tmp_path).stdout
    assert "depth_quality cannot be read" in text
    assert "grid: 0.0 members" in text
    assert f"{N} evaluations, lowest Rm 0.000" in text


def test_a_warm_start_and_times_of_the_recording(tmp_path):
    """--warm begins at the first target's posture; a column ts gives the times."""
    start = day_start("2025-03-01")
    path = as_parquet(tmp_path / "s.parquet", ts=(start + 60_000 * np.arange(1, N + 1)).tolist())
    found = told("posture", "--replay", path, "--warm", "--out", tmp_path / "out.json", cwd=tmp_path)
    assert (found["start"], found["began_ms"]) == ("APEX", start)
    assert found["changes"][0]["ts_ms"] == start + 152 * 60_000


def test_recordings_that_say_nothing_certain_are_refused(tmp_path):
    """No file, no time for a schedule, a missing column, a value of another kind, times that do not ascend."""
    path = as_parquet(tmp_path / "s.parquet")
    undated = dolphin("posture", "--replay", path, "--out", tmp_path / "out.json", cwd=tmp_path)
    assert undated.returncode == 2
    assert "--date" in undated.stderr
    assert not (tmp_path / "out.json").exists()
    assert dolphin("posture", "--warm", cwd=tmp_path).returncode == 2
    assert dolphin("posture", "--replay", path, "--date", "yesterday", cwd=tmp_path).returncode == 2
    assert dolphin("posture", "--replay", tmp_path / "no.parquet", cwd=tmp_path).returncode == 3
    back = as_parquet(tmp_path / "b.parquet", ts=[5] * N)
    assert "do not ascend" in dolphin("posture", "--replay", back, cwd=tmp_path).stderr
    text = as_csv(tmp_path / "s.csv").read_text()
    head, first, *_rest = text.splitlines()
    for changed, error, match in (
        ([head.replace("kill", "kil"), first], SchemaError, "kill"),
        ([head, first.replace("OK", "")[:-5] + "maybe"], QualityError, "'maybe' is no flag"),
        ([head, "x" + first[3:]], QualityError, "'x' is no number"),
        ([head, first + ",1"], MalformedFile, "not a table"),
        ([head], MalformedFile, "not a table"),
    ):
        (tmp_path / "bad.csv").write_text("\n".join(changed) + "\n")
        with pytest.raises(error, match=match):
            read_sensors(tmp_path / "bad.csv")


def test_an_empty_cell_is_silence_and_nan_is_nonsense(tmp_path):
    """None and NaN stay apart, in both formats."""
    values = {name: ["OK" if kind == "text" else "false" if kind == "flag" else "1"] * 2 for name, kind in SENSOR_COLUMNS.items()}
    values["drawdown"] = ["", "nan"]
    (tmp_path / "s.csv").write_text(",".join(values) + "\n" + "\n".join(",".join(row) for row in zip(*values.values(), strict=True)) + "\n")
    silent, nonsense = read_sensors(tmp_path / "s.csv")["drawdown"]
    assert silent is None
    assert math.isnan(nonsense)
    as_parquet(tmp_path / "s.parquet")
    assert read_sensors(tmp_path / "s.parquet")["depth_quality"][249:251] == [1.2, None]
