"""What `dolphin up` plans to replay, and what `dolphin status` tells of it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from dolphin.config import PathsConfig, Settings
from dolphin.deployment import LiveConfig
from dolphin.errors import Unavailable
from dolphin.storage.journal import Entry, Journal, Kind, journal_path
from dolphin.storage.journal_records import FIELDS
from dolphin.storage.klines import KlineBars, write_klines
from dolphin.storage.replay import write_replay
from dolphin.storage.schema import day_start
from dolphin.storage.state import StateFolder
from flows.lane_now import lane_now
from flows.replay import absent_layers, planned_replay
from flows.status import ServiceRow, Status
from flows.status_text import status_text
from flows.supervision import resumed

DAY_2 = day_start("2025-01-02")
REASONS = ["kill switch engaged", "drawdown cannot be read", "order book stale: Cat3 0.500", "two or more of Cat2, Cat3, Cat4 below 0.8"]
POSTURE = {"posture": "HIBERNATE", "state": "FRESH", "reason": None, "age_s": 0.1}
SAFETY = {"rm": 0.1234, "target": 0.9, "reasons": REASONS}
ROW = ServiceRow("system_watchdog", "RUNNING", 4_194_303, 100_000.0, 4.9, "HIBERNATE", 12)


@pytest.fixture(scope="module")
def klines(tmp_path_factory):
    """Three days of two bars."""
    folder = tmp_path_factory.mktemp("klines")
    for date in ("2025-01-01", "2025-01-02", "2025-01-03"):
        ts, prices = day_start(date) + np.arange(2, dtype=np.int64) * 60_000, np.full((2, 1), 10.0)
        write_klines(folder, KlineBars(date, 60, ts, ("AUSDT",), prices, prices, prices, prices, prices), [])
    return folder


def test_a_replay_begins_with_the_second_day_unless_it_is_told_otherwise(klines):
    assert planned_replay(klines, "", "", 60).first_date == "2025-01-02"
    assert planned_replay(klines, "2025-01-01", "", 60).first_date == "2025-01-01"
    only = planned_replay(klines, "", "2025-01-01", 60)
    assert (only.first_date, only.last_date, only.start_ms) == ("2025-01-01", "2025-01-01", day_start("2025-01-01"))


def test_layers_without_a_source_are_off_and_named(tmp_path):
    off, lines = absent_layers(Settings())
    assert (off.survival.dvol, off.survival.order_book) == (False, False)
    assert [line.split(":")[0] for line in lines] == ["no DVOL (--macro DIR)", "no order books (--book DIR)"]
    full = Settings(paths=PathsConfig(macro=str(tmp_path), book=str(tmp_path)))
    assert absent_layers(full) == (full, [])


def test_a_second_up_goes_on_where_the_replay_stopped_and_refuses_another_one(tmp_path, klines):
    state, told = StateFolder(tmp_path).made(), []
    replay = planned_replay(klines, "", "", 60)
    assert resumed(replay, state, told.append).start_ms == DAY_2
    with Journal.open(journal_path(state.journals, "scanner"), "scanner") as journal:
        journal.append_many([record_of(Kind.SCAN, DAY_2 + 43_200_000)])
    write_replay(state.replay, replay)
    assert told == []
    again = resumed(replay, state, told.append)
    assert (again.start_ms, again.first_date) == (DAY_2 + 43_200_000, "2025-01-02")
    assert "goes on at 2025-01-02 12:00 UTC" in told[0]
    with pytest.raises(Unavailable, match=r"another one needs another --set paths\.state"):
        resumed(msgspec.structs.replace(replay, folder="/elsewhere"), state, told.append)


def bar(refusals=(), entry=None, blocks=()):
    marks = {"equity": 24_900.0, "peak": 25_000.0, "told": {"blocks": list(blocks)}}
    return record_of(Kind.BAR, DAY_2, refusals=list(refusals), entry=entry, **marks)


def record_of(kind, ts_ms, **values):
    """An entry with every field that its kind must have."""
    return Entry(kind, dict.fromkeys(FIELDS[kind]) | values, ts_ms)


def test_a_lane_is_told_from_its_journal_flat_open_and_flat_again(tmp_path):
    assert lane_now(tmp_path, Settings(), "BLUE") is None
    entry = {"asset": "SOLUSDT", "direction": -1, "entry_ts": DAY_2, "notional": 3420.0, "leverage": 1.45}
    with Journal.open(journal_path(tmp_path, "trader_blue"), "trader_blue") as journal:
        journal.append_many([bar(["HALTED"], blocks=["ACB_UNKNOWN"])])
        found = lane_now(tmp_path, Settings(), "BLUE")
        assert (found.position, found.trades, found.refusals, found.blocks) == (None, 0, ["HALTED"], ["ACB_UNKNOWN"])
        journal.append_many([bar(entry=entry)])
        assert lane_now(tmp_path, Settings(), "BLUE").position == entry
        journal.append_many([record_of(Kind.TRADE, DAY_2), bar(["NO_SIGNAL"])])
        found = lane_now(tmp_path, Settings(), "BLUE")
        assert (found.position, found.trades, found.equity) == (None, 1, 24_900.0)


def test_a_live_lane_is_told_from_its_own_journal_and_is_called_live(tmp_path):
    live = Settings(live=LiveConfig(mode="live"))
    with Journal.open(journal_path(tmp_path, "trader_blue"), "trader_blue") as journal:
        journal.append_many([bar(["HALTED"])])
    assert lane_now(tmp_path, live, "BLUE") is None
    with Journal.open(journal_path(tmp_path, "live_blue"), "live_blue") as journal:
        journal.append_many([bar(["NO_SIGNAL"])])
    assert lane_now(tmp_path, live, "BLUE").refusals == ["NO_SIGNAL"]
    assert any(line.startswith("lane BLUE LIVE ") for line in shown(lane_now(tmp_path, live, "BLUE")))
    assert any(line.startswith("lane BLUE   ") for line in shown(lane_now(tmp_path, Settings(), "BLUE")))


def shown(lane=None, posture=None, *, kill=False, ended=False):
    return status_text(Status(1, [ROW], [], posture, kill, DAY_2, 60.0, ended, 600.0, lane)).splitlines()


def test_status_fits_100_columns_and_says_why_nothing_is_entered(tmp_path):
    with Journal.open(journal_path(tmp_path, "trader_blue"), "trader_blue") as journal:
        journal.append_many([bar(["HALTED"], blocks=["POSTURE_STALE", "ACB_UNKNOWN", "FOREWARNER_UNKNOWN"])])
    lines = shown(lane_now(tmp_path, Settings(), "BLUE"), {**POSTURE, "record": SAFETY}, kill=True)
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    for words in (*REASONS, "Rm 0.123, target 0.900", "0.40% below its peak", "HALTED; POSTURE_STALE", "ENGAGED", "600 times"):
        assert words in text, words
    assert "newest bar closed 60 s ago" in text


def test_status_names_what_is_not_known_and_the_replays_end():
    text = "\n".join(shown(ended=True))
    for words in ("unknown: the grid does not answer", "no bar yet", "the replay has ended", "kill switch  off"):
        assert words in text, words
    assert status_text(Status(0, [], [7], None, True, 0, None, False, 0.0, None)).splitlines() == [
        "not up: `dolphin up` starts everything; 1 processes were left behind without a supervisor: `dolphin down` ends them",
        "kill switch ENGAGED: `dolphin release --reason ...` ends it",
    ]


def test_a_process_that_loads_is_not_healthy():
    row = ServiceRow("trader", "RUNNING", 1, 1.0, 0.1, "loading", 0)
    assert not row.healthy
    assert ROW.healthy
