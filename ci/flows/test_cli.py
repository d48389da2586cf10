"""The command line as a person and as a program meet it: text, JSON, exit codes, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CLI = [sys.executable, "-m", "flows.cli"]
PLAIN = {"DOLPHIN__PATHS__CACHE": "", "DOLPHIN__PATHS__STATE": ""}


def dolphin(*arguments, cwd, env=None):
    environment = {**os.environ, **(env or {})}
    return subprocess.run([*CLI, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300, check=False, env=environment)


def told(done):
    """The one JSON object on stdout."""
    assert done.stdout.count("\n") == 1, done.stdout[:300] + done.stderr[-500:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with three synthetic days, their day tables and one run."""
    folder = tmp_path_factory.mktemp("home")
    assert dolphin("init", cwd=folder).returncode == 0
    assert dolphin("data", "synth", cwd=folder).returncode == 0
    assert dolphin("data", "scan", "--archive", "archive", cwd=folder).returncode == 0
    assert dolphin("backtest", "--data", "data/days", cwd=folder).returncode == 0
    return folder


def test_a_backtest_ends_with_the_figures_and_the_path_of_the_report(home):
    """What a person sees: honest beside champion, and where the page lies."""
    done = dolphin("backtest", "--data", "data/days", cwd=home)
    lines = done.stdout.strip().splitlines()
    assert lines[-1].startswith("report: runs/")
    assert (home / lines[-1].removeprefix("report: ")).is_file()
    assert "honest" in done.stdout
    assert "champion" in done.stdout
    assert done.stderr == ""


def test_klines_day_tables_and_the_embedded_market_give_one_result(home):
    """Three doors, one market: the same trades."""
    doors = ([], ["--klines", "data/klines"], ["--data", "data/days"])
    results = [told(dolphin("backtest", "--json", *door, cwd=home))["summary"] for door in doors]
    assert len({r["trades_hash"] for r in results}) == 1
    assert results[0]["trades"] > 10
    assert {r["schema"] for r in results} == {"dolphin.summary/1"}


def test_a_range_and_a_lane_and_a_setting_reach_the_run(home):
    """--from, --to, --direction and --set change what is run, and the summary says so."""
    summary = told(
        dolphin(
            "backtest", "--json", "--from", "2025-01-02", "--to", "2025-01-02", "--direction", "long", "--set", "max_hold_bars=60", cwd=home
        )
    )["summary"]
    assert summary["days"] == ["2025-01-02"]
    assert set(summary["detail"]["by_direction"]) <= {"LONG"}
    assert {row["value"] for row in summary["detail"]["config"] if row["name"] == "engine.max_hold_bars"} == {60}


def test_the_report_is_rebuilt_byte_for_byte_and_printed_as_markdown(home):
    """A run folder is all that a report needs."""
    page = home / "runs" / "latest" / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert dolphin("report", "runs/latest", cwd=home).returncode == 0
    assert page.read_bytes() == before
    assert "| figure" in dolphin("report", "runs/latest", "--md", cwd=home).stdout


def test_compare_finds_no_difference_in_a_run_and_one_in_another(home):
    """Exit 0 for the same trades, 1 for different ones."""
    first = told(dolphin("backtest", "--json", "--data", "data/days", cwd=home))["run"]
    second = told(dolphin("backtest", "--json", "--data", "data/days", "--set", "fixed_tp_pct=0.02", cwd=home))["run"]
    assert dolphin("compare", first, first, cwd=home).returncode == 0
    done = dolphin("compare", first, second, "--json", cwd=home)
    assert done.returncode == 1
    assert told(done)["trades"]["differing"] or told(done)["trades"]["only_a"]


def test_scan_keeps_what_is_there_and_force_keeps_the_old_file_aside(home):
    """A forced day is rebuilt, the old file is NAME.STALE_<date>, and a rebuild check is clean."""
    assert told(dolphin("data", "scan", "--json", cwd=home))["written"] == []
    forced = told(dolphin("data", "scan", "--force", "--from", "2025-01-02", "--to", "2025-01-02", "--json", cwd=home))
    assert forced["written"] == ["2025-01-02"]
    assert Path(home / forced["aside"][0]).name.startswith("2025-01-02.parquet.STALE_")
    clean = dolphin("data", "check", "--rebuild", "--json", cwd=home)
    assert clean.returncode == 0, clean.stdout
    assert told(clean)["days"] == ["2025-01-01", "2025-01-02", "2025-01-03"]


def test_a_day_scanned_alone_equals_the_day_scanned_in_the_archive(home, tmp_path):
    """Warm-up comes from the klines before, so which days are asked for changes no bit."""
    from dolphin.storage.day_table import read_day

    assert dolphin("data", "scan", "--out", tmp_path, "--from", "2025-01-03", cwd=home).returncode == 0
    alone, whole = read_day(tmp_path / "2025-01-03.parquet"), read_day(home / "data" / "days" / "2025-01-03.parquet")
    for name, values in whole.signals.items():
        assert values.tobytes() == alone.signals[name].tobytes(), name


def test_a_stale_day_table_is_found(home, tmp_path):
    """A cached vel_div off by more than 1e-10 is named with row and values; exit 1."""
    import dataclasses

    from dolphin.storage.day_table import read_day, write_day

    table = read_day(home / "data" / "days" / "2025-01-02.parquet")
    signals = dict(table.signals) | {"vel_div": table.signals["vel_div"].copy()}
    signals["vel_div"][1000] += 2e-10
    write_day(tmp_path, dataclasses.replace(table, signals=signals))
    done = dolphin("data", "check", "--rebuild", "--days", tmp_path, "--json", cwd=home)
    assert done.returncode == 1
    assert [row["row"] for row in told(done)["stale"]["2025-01-02"]] == [1000]


def test_data_check_names_what_is_missing(home):
    """The synthetic market has missing bars and a delisting: found, exit 1, every count in the object."""
    done = dolphin("data", "check", "--json", cwd=home)
    assert done.returncode == 1
    assert told(done)["absent"] > 0
    assert told(done)["refused"] == []
    rows = told(dolphin("data", "list", "--json", cwd=home))["folders"]
    assert [(row["kind"], row["days"]) for row in rows] == [("klines", 3), ("days", 3)]


def test_the_archive_holds_what_the_scan_said(home):
    """One eigenvalue file a bar, equal to the day table's signals."""
    from dolphin.storage.archive import read_scans
    from dolphin.storage.day_table import read_day

    table, scans = read_day(home / "data" / "days" / "2025-01-02.parquet"), read_scans(home / "archive", "2025-01-02")
    assert scans.ts_ms.tolist() == table.ts.tolist()
    assert scans.scan[:, 4].tobytes() == table.signals["v50_lambda_max_velocity"].tobytes()


def test_audit_encloses_sampled_eigenvalues(home):
    """512-bit balls agree with float64 on sampled scans; the matrices are written and read back."""
    pytest.importorskip("flint", reason="python-flint is not installed; install the extra `audit`")
    done = dolphin("data", "audit", "--samples", "2", "--matrices", "archive", "--json", cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(row["inside"] for row in told(done)["rows"])
    assert list((home / "archive" / "matrices").rglob("*.arb512.zst"))


def test_lookahead_check_passes_on_a_synthetic_day(home):
    """Every 40th bar of the second day; each stage was cut."""
    done = dolphin("lookahead-check", "--klines", "data/klines", "--every", "40", "--json", cwd=home)
    assert done.returncode == 0, done.stdout
    assert told(done)["cuts"] == {"klines": 24, "scan": 36, "engine": 36}
    assert told(done)["passed"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["backtest", "--set", "fixed_tp_pct=2"], 2, "engine.fixed_tp_pct = '2'"),
        (["backtest", "--set", "fixed_tp=0.01"], 2, "did you mean engine.fixed_tp_pct"),
        (["backtest", "--profile", "winner"], 2, "known: champion"),
        (["backtest", "--klines", "a", "--data", "b"], 2, "give one of them"),
        (["backtest", "--from", "01/02/2025"], 2, "expected YYYY-MM-DD"),
        (["backtest", "--no-such-flag"], 2, "No such option"),
        (["backtest", "--data", "nowhere"], 3, "dolphin data scan"),
        (["backtest", "--klines", "nowhere"], 3, "no such folder"),
        (["report", "nowhere"], 3, "summary.json"),
        (["config", "validate", "--config", "missing.toml"], 2, "dolphin init"),
        (["data", "import", "missing.csv"], 3, "missing.csv"),
    ],
)
def test_an_error_is_one_line_that_says_what_and_how_to_mend_it(tmp_path, arguments, code, words):
    """Exit code by kind; nothing on stdout; no traceback."""
    done = dolphin(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_an_error_asked_for_as_json_is_one_object(tmp_path):
    """Programs read the error from stdout too."""
    done = dolphin("backtest", "--data", "nowhere", "--json", cwd=tmp_path)
    assert told(done)["schema"] == "dolphin.error/1"
    assert told(done)["exit_code"] == done.returncode == 3


def test_a_refused_day_stops_the_backtest_and_leaves_no_run(home, tmp_path):
    """Fail closed: a damaged day table is named, nothing is written."""
    for path in (home / "data" / "days").glob("*.parquet"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "2025-01-02.parquet"
    broken.write_bytes(broken.read_bytes()[:-1000])
    done = dolphin("backtest", "--data", tmp_path, cwd=tmp_path)
    assert done.returncode == 3
    assert "2025-01-02.parquet" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_settings_come_from_file_environment_and_flag_in_that_order(home):
    """config show names the origin of each value."""
    (home / "mine.toml").write_text("[engine]\nmax_hold_bars = 90\nfixed_tp_pct = 0.02\nlookback = 120\n")
    env = {"DOLPHIN__ENGINE__FIXED_TP_PCT": "0.03", "DOLPHIN__ENGINE__LOOKBACK": "130"}
    rows = told(dolphin("config", "show", "--config", "mine.toml", "--set", "lookback=140", "--json", cwd=home, env=env))["settings"]
    found = {row["name"]: (row["value"], row["origin"]) for row in rows}
    assert found["engine.max_hold_bars"] == (90, "file")
    assert found["engine.fixed_tp_pct"] == (0.03, "environment")
    assert found["engine.lookback"] == (140, "flag")
    assert found["engine.seed"] == (42, "default")
    assert dolphin("config", "diff", "--config", "mine.toml", cwd=home).returncode == 1
    assert dolphin("config", "diff", cwd=home, env=PLAIN).returncode == 0


def test_init_keeps_what_is_there(tmp_path):
    """A second init changes nothing; the written file is valid and equal to the defaults."""
    assert not told(dolphin("init", "--json", cwd=tmp_path))["kept"]
    path = tmp_path / "dolphin.toml"
    path.write_text(path.read_text() + "# mine\n")
    assert told(dolphin("init", "--json", cwd=tmp_path))["kept"]
    assert (tmp_path / "dolphin.toml").read_text().endswith("# mine\n")
    assert dolphin("config", "diff", cwd=tmp_path, env=PLAIN).stdout == "no difference\n"


def test_doctor_names_what_is_missing_and_how_to_get_it(tmp_path):
    """Everything required is here; with a broken settings file it fails and says which."""
    done = dolphin("doctor", "--json", cwd=tmp_path)
    checks = {row["name"]: row for row in told(done)["checks"]}
    assert done.returncode == 0, checks
    assert checks["numba"]["status"] == "ok"
    assert all(row["fix"] for row in checks.values() if row["status"] != "ok")
    (tmp_path / "dolphin.toml").write_text("[engine]\nfixed_tp_pct = 7\n")
    broken = dolphin("doctor", cwd=tmp_path)
    assert broken.returncode == 1
    assert "FAIL settings" in broken.stdout


def test_help_answers_within_half_a_second():
    """Best of five: --help is light (imports are tested in the house)."""
    best = 9.0
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([*CLI, "--help"], capture_output=True, check=True, timeout=60)
        best = min(best, time.perf_counter() - started)
    assert best < 0.5


def interrupted(command, out, files, cwd):
    """Send SIGINT once ``files`` files are in ``out``; returns the exit code. Nothing half-written may be left."""
    process = subprocess.Popen([*CLI, *map(str, command)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(out.glob("*.parquet"))) < files:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode in (0, 130), err
    assert not list(out.glob(".*.tmp"))
    return process.returncode


def test_ctrl_c_leaves_no_half_written_file(home, tmp_path):
    """SIGINT when 1, 2, .. files are there: exit 130, and every file that is there can be read whole."""
    from dolphin.storage.day_table import read_day
    from dolphin.storage.klines import KlineStore

    for k in range(1, 4):
        out = tmp_path / f"klines{k}"
        assert interrupted(("data", "synth", "--days", 200, "--out", out), out, k, home) == 130
        store = KlineStore(out)
        assert [len(store.load(date).ts) > 1400 for date in store.dates()] == [True] * len(store.dates())
        assert k <= len(store.dates()) < 200
        days = tmp_path / f"days{k}"
        days.mkdir()
        interrupted(("data", "scan", "--klines", home / "data" / "klines", "--out", days, "--set", "scanner.threads=1"), days, k, home)
        assert all(read_day(path).complete for path in days.glob("*.parquet"))
