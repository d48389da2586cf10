"""The paper record: only whole, clean, compared days of the living market count, in a row that ends yesterday."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from dolphin.live.paper_record import PaperRecord, Wanted, judge_records, read_paper_record
from dolphin.storage.journal import Entry, Journal, Kind

TODAY = "2025-06-10"
WANTED = Wanted(today=TODAY, days=3, engine="e", bar_seconds=3600, parity=lambda date: "")
STARTED = {"version": "1", "config_hash": "c", "pid": 1, "engine_hash": "e", "speed": 1.0, "demo": False}


def midnight(date):
    return int(dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC).timestamp() * 1000)


def bar(date, hour):
    payload = {
        "date": date,
        "bar": hour - 1,
        "vel_div": 0.0,
        "posture": "APEX",
        "boost": 1.0,
        "beta": 0.2,
        "entry": None,
        "exit": None,
        "refusals": [],
    }
    return Entry(Kind.BAR, payload, midnight(date) + hour * 3_600_000)


def day(date, hours=range(1, 25)):
    return [bar(date, hour) for hour in hours]


def started(**changes):
    return Entry(Kind.STARTED, STARTED | changes, midnight("2025-06-01"))


def safe_mode(date, engaged):
    return Entry(Kind.SAFE_MODE, {"engaged": engaged, "reason": "NO_ANSWER", "by": "trader"}, midnight(date) + 1)


@pytest.fixture
def journal_of(tmp_path):
    """A real journal with these entries; its path."""

    def write(entries):
        path = tmp_path / "trader_blue.sqlite"
        with Journal.open(path, "trader_blue") as journal:
            journal.append_many(entries)
        return path

    return write


CLEAN = [started(), *day("2025-06-07"), *day("2025-06-08"), *day("2025-06-09"), *day(TODAY, range(1, 4))]


def test_clean_days_that_end_yesterday_count(journal_of):
    assert read_paper_record(journal_of(CLEAN), WANTED) == PaperRecord(3, "")


def test_days_before_the_journal_do_not_count(journal_of):
    assert read_paper_record(journal_of(CLEAN), replace(WANTED, days=4)) == PaperRecord(3, "2025-06-06: no bar")


def test_a_record_that_ended_the_day_before_yesterday_is_none(journal_of):
    assert read_paper_record(journal_of(CLEAN), replace(WANTED, today="2025-06-11")) == PaperRecord(0, "2025-06-10: the day is not whole")


@pytest.mark.parametrize(
    ("entries", "days", "why"),
    [
        ([started(), *day("2025-06-08"), *day("2025-06-09", [*range(1, 5), *range(6, 25)])], 0, "follows one at"),
        ([started(), *day("2025-06-08"), *day("2025-06-09", range(2, 25))], 0, "follows one at"),
        ([started(), *day("2025-06-08"), *day("2025-06-09", [*range(1, 25), 24])], 0, "follows one at"),
        ([started(), *day("2025-06-08"), *day("2025-06-09", range(1, 24))], 0, "not whole"),
        (
            [started(), *day("2025-06-08"), safe_mode("2025-06-09", True), safe_mode("2025-06-09", False), *day("2025-06-09")],
            0,
            "safe mode",
        ),
        ([started(), safe_mode("2025-06-07", True), *day("2025-06-08"), *day("2025-06-09")], 0, "safe mode"),
        ([started(), *day("2025-06-08"), started(engine_hash="other"), *day("2025-06-09")], 0, "settings were others"),
        ([*day("2025-06-08"), *day("2025-06-09")], 0, "settings were others"),
        ([started(speed=60.0), *day("2025-06-08"), *day("2025-06-09")], 0, "replay"),
        ([started(demo=True), *day("2025-06-08"), *day("2025-06-09")], 0, "demo exchange"),
        ([started(engine_hash="other"), *day("2025-06-08"), started(), *day("2025-06-09")], 1, "2025-06-08: the engine"),
    ],
    ids=[
        "hole",
        "late start",
        "twice",
        "cut",
        "safe mode",
        "safe mode before",
        "other engine",
        "unknown engine",
        "replay",
        "demo",
        "older day",
    ],
)
def test_a_blemished_day_ends_the_row(journal_of, entries, days, why):
    found = read_paper_record(journal_of(entries), WANTED)
    assert found.days == days
    assert why in found.why


@pytest.mark.parametrize(("parity", "why"), [(None, "not compared"), ("bar 7 differs", "bar 7 differs")])
def test_a_day_that_was_not_compared_or_differs_ends_the_row(journal_of, parity, why):
    found = read_paper_record(journal_of(CLEAN), replace(WANTED, parity=lambda date: parity if date == "2025-06-08" else ""))
    assert found.days == 1
    assert why in found.why


def test_days_on_a_demo_exchange_count_for_a_demo_exchange(journal_of):
    found = read_paper_record(journal_of([started(demo=True), *CLEAN[1:]]), replace(WANTED, demo=True))
    assert found == PaperRecord(3, "")


def test_a_journal_that_was_altered_has_no_days(journal_of):
    import sqlite3

    path = journal_of(CLEAN)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE record SET payload = replace(payload, 'APEX', 'TURTLE') WHERE seq = 5")
    db.close()
    found = read_paper_record(path, WANTED)
    assert found.days == 0
    assert "BROKEN" in found.why


def test_no_journal_no_days(tmp_path):
    assert read_paper_record(tmp_path / "absent.sqlite", WANTED).days == 0


def test_records_of_today_do_not_matter():
    assert judge_records([], WANTED) == PaperRecord(0, "2025-06-09: no bar")
