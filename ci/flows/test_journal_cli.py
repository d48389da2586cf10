"""`dolphin journal` as a person and as a program meet it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import pytest

from dolphin.storage.journal import Journal, Kind, journal_path
from dolphin.storage.parquet import Parquet

NOW = 1_735_689_600_000


def dolphin(*arguments, cwd):
    command = [sys.executable, "-m", "flows.cli", "journal", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "DOLPHIN__PATHS__JOURNAL": "data/journal"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.fixture
def home(tmp_path):
    """Two journals with records in turn."""
    folder = tmp_path / "data" / "journal"
    with (
        Journal.open(journal_path(folder, "BLUE"), "BLUE") as blue,
        Journal.open(journal_path(folder, "system_watchdog"), "system_watchdog") as dog,
    ):
        for number in range(6):
            blue.append(Kind.DAY_RESULT, {"date": f"2025-01-0{number + 1}", "capital": 25_000.5, "trades": number}, NOW + number * 2000)
            dog.append(Kind.KILL, {"reason": f"drill {number}, Größe", "by": "operator"}, NOW + number * 2000 + 1000)
            if number == 3:
                blue.rotate(NOW + 7500)
    return tmp_path


def test_show_merges_the_journals_by_time_and_says_what_and_why(home):
    """The newest, oldest first; a lane and a kind can be picked; one JSON object."""
    lines = dolphin("show", "--last", 4, cwd=home).stdout.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("2025-01-01 00:00:11 system_watchdog")
    assert 'reason "drill 5, Größe", by "operator"' in lines[-1]
    assert 'date "2025-01-06", capital 25000.5, trades 5' in lines[-2]
    done = dolphin("show", "--lane", "BLUE", "--kind", "day_result", "--json", cwd=home)
    told = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert told["schema"] == "dolphin.journal/1"
    assert [(r["writer"], r["payload"]["trades"]) for r in told["records"]] == [("BLUE", n) for n in range(6)]


def test_verify_is_silent_about_nothing(home):
    """Exit 0 with the heads; exit 1 with lane and record after an alteration; the other journal is still whole."""
    done = dolphin("verify", cwd=home)
    assert done.returncode == 0
    assert "BLUE.sqlite: whole, 7 records of BLUE, head 7" in done.stdout
    db = sqlite3.connect(home / "data" / "journal" / "system_watchdog.sqlite")
    with db:
        db.execute("UPDATE record SET payload = replace(payload, 'drill 2', 'drill 9') WHERE seq = 3")
    db.close()
    done = dolphin("verify", cwd=home)
    assert done.returncode == 1
    assert "system_watchdog.sqlite: BROKEN, record 3: its time, kind or payload is altered" in done.stdout
    found = json.loads(dolphin("verify", "--json", cwd=home).stdout)["journals"]
    assert [(v["writer"], v["ok"], v["broken_seq"]) for v in found] == [("BLUE", True, None), ("system_watchdog", False, 3)]
    (home / "data" / "journal" / "BLUE.sqlite").write_bytes(b"no database" * 1000)
    done = dolphin("verify", "--lane", "BLUE", cwd=home)
    assert done.returncode == 1
    assert "BLUE.sqlite: BROKEN" in done.stdout


def test_export_writes_every_record_to_parquet(home):
    """All columns, sealed records too, payload as canonical JSON."""
    done = dolphin("export", "out.parquet", cwd=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "13 records in out.parquet\n"
    with Parquet(home / "out.parquet") as file:
        assert file.names == ("seq", "ts_ms", "writer", "kind", "payload", "prev_hash", "hash")
        table = file.read(file.names)
        assert file.numbers(table, "seq").tolist() == [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6]
        codes, names = file.texts(table, "kind")
        assert [names[c] for c in codes].count("kill") == 6
        codes, names = file.texts(table, "payload")
        assert names[codes[-1]] == '{"by":"operator","reason":"drill 5, Größe"}'


def test_export_of_a_kind_has_a_column_a_field(home):
    """Numbers are numbers, nothing is lost; a day alone can be had, by the payload's date or else by the record's time."""
    done = dolphin("export", "out.parquet", "--kind", "day_result", "--lane", "BLUE", cwd=home)
    assert done.stdout == "6 records in out.parquet\n", done.stderr
    with Parquet(home / "out.parquet") as file:
        assert file.names == ("seq", "ts_ms", "writer", "capital", "date", "trades", "hash")
        table = file.read(file.names)
        assert file.numbers(table, "trades").tolist() == [0, 1, 2, 3, 4, 5]
        assert set(file.numbers(table, "capital").tolist()) == {25_000.5}
    assert dolphin("export", "day.parquet", "--date", "2025-01-03", cwd=home).stdout == "1 records in day.parquet\n"
    assert dolphin("export", "day.parquet", "--date", "2025-01-01", cwd=home).stdout == "8 records in day.parquet\n"


def test_export_into_a_folder_writes_every_kind_with_its_own_columns(tmp_path):
    """A bar's parts, nulls among numbers and texts, a scan's closes by asset, lists, truths."""
    folder, entry = tmp_path / "data" / "journal", {"asset": "BTCUSDT", "notional": 10.5}
    facts = {"date": "2025-01-01", "vel_div": None, "posture": "APEX", "boost": 1.0, "beta": 0.2, "exit": None, "refusals": ["HALTED"]}
    scan = {"date": "2025-01-01", "bar": 0, "vel_div": 0.5, "lambda_max": [1.5, None], "velocity": [None, 2.0], "instability": [1.0, 1.0]}
    with Journal.open(journal_path(folder, "scanner"), "scanner") as journal:
        journal.append(Kind.UNIVERSE, {"assets": ["BTCUSDT", "ETHUSDT"], "bar_seconds": 60}, NOW)
        journal.append(Kind.SCAN, {**scan, "n_participants": [2, 2], "closes": [100.5, None]}, NOW)
        journal.append(Kind.BAR, {**facts, "bar": 0, "entry": None}, NOW)
        journal.append(Kind.BAR, {**facts, "bar": 1, "vel_div": 0.25, "entry": entry}, NOW)
        journal.append(Kind.SAFE_MODE, {"engaged": True, "reason": "a drill", "by": "operator"}, NOW)
    done = dolphin("export", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["bar", "safe_mode", "scan", "universe"]
    bars, scans, safe = (_read(tmp_path / "out" / f"{kind}.parquet") for kind in ("bar", "scan", "safe_mode"))
    assert bars["entry.asset"] == ["", "BTCUSDT"]
    assert str(bars["entry.notional"]) == "[nan, 10.5]"
    assert str(bars["vel_div"]) == "[nan, 0.25]"
    assert bars["bar"] == [0, 1]
    assert bars["refusals"] == ['["HALTED"]'] * 2
    assert "entry" not in bars
    assert str(bars["exit"]) == "[nan, nan]"
    assert (scans["closes.BTCUSDT"], str(scans["closes.ETHUSDT"]), scans["velocity.1"]) == ([100.5], "[nan]", [2.0])
    assert safe["engaged"] == [1]


def _read(path):
    """Columns as lists."""
    with Parquet(path) as file:
        table = file.read(file.names)
        return {name: table[name].to_pylist() for name in file.names}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "--lane", "GREEN"), 2, "there are: BLUE, system_watchdog"),
        (("show", "--lane", "../x"), 2, "a lane or service is letters"),
        (("show", "--kind", "rumour"), 2, "no such kind; one of started"),
        (("export", "x.parquet", "--kind", "trade"), 3, "there is no such record"),
        (("export", "x.parquet", "--date", "2031-01-01"), 3, "there is no such record"),
        (("export", "x.parquet", "--date", "today"), 2, "expected YYYY-MM-DD"),
        (("verify", "--set", "paths.journal=elsewhere"), 3, "elsewhere: there is no journal"),
    ],
)
def test_what_is_not_there_is_one_line_on_stderr(home, arguments, code, words):
    """Usage 2, data 3, and what there is instead."""
    done = dolphin(*arguments, cwd=home)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
