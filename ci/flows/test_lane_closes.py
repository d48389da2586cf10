"""Closes of a lane's day against recorded trades: what the record proves must be what the scanner wrote."""

from __future__ import annotations

import numpy as np
import pytest
from daemon_worlds import World
from lane_worlds import deployed, replay_of, run_out, settings_of, write_market

from dolphin.config import to_toml
from dolphin.storage.day_table import read_day
from dolphin.storage.replay import write_replay
from dolphin.storage.trade_bars import Trade
from dolphin.storage.trade_record import TradeRecord
from flows.lane_parity import lane_parity
from flows.lane_parity_text import parity_text, sentence

FIRST = "2025-01-02"
BARS = 120


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """The state of a lane at the end of a short day."""
    folder = tmp_path_factory.mktemp("closes")
    market = write_market(folder / "market", 1440, BARS)
    world = World(folder / "state", settings=settings_of(), replay=replay_of(market, FIRST, FIRST))
    world.state.settings.write_text(to_toml(world.settings))
    write_replay(world.state.replay, world.replay)
    deployed(world)
    run_out(world)
    world.close()
    return world.state


@pytest.fixture
def recorded(days, tmp_path):
    """Records a trade a bar and symbol at its close, with a trade before the day and one behind its last bar; ``cut`` changes one."""
    table = read_day(days.days / f"{FIRST}.parquet", sidecar=False)

    def make(cut=lambda symbol, row, trade: trade):
        for path in sorted((days.feed / "trades").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        record = TradeRecord(days.feed / "trades")
        rows = [(int(ts) - 5_000, closes) for ts, closes in zip(table.ts, table.closes, strict=True)]
        rows = [(rows[0][0] - 60_000, rows[0][1]), *rows, (rows[-1][0] + 60_000, rows[-1][1])]
        for place, symbol in enumerate(table.assets):
            traded = [(row - 1, ts_ms, float(closes[place])) for row, (ts_ms, closes) in enumerate(rows) if np.isfinite(closes[place])]
            for number, (row, ts_ms, close) in enumerate(traded):
                trade = cut(symbol, row, Trade(ts_ms, 1_000 + number, close, 1.0, True))
                if trade is not None:
                    record.add(symbol, trade)
        record.flush(rows[-1][0])
        return int(np.isfinite(table.closes).sum()), table.closes.size

    return make


def closes_of(days):
    found = lane_parity(days, "blue", FIRST)
    return found, found.checks[-1]


def test_a_deployment_without_a_feed_is_not_asked_for_its_trades(days, recorded):
    recorded()
    for path in sorted((days.feed).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert [check.name for check in lane_parity(days, "blue", FIRST).checks] == ["engine", "nautilus", "fills", "scans"]


def test_bars_aggregated_again_from_the_recorded_trades_are_the_journals(days, recorded):
    finite, every = recorded()
    found, check = closes_of(days)
    assert found.passed, parity_text(found)
    assert check.name == "closes"
    assert check.compared == finite
    assert check.why_not == f"closes: {every - finite} were known too late to be traded on"


def test_a_trade_at_another_price_is_found_at_its_bar_and_symbol(days, recorded):
    recorded(lambda symbol, row, trade: trade._replace(price=trade.price * 1.5) if (symbol, row) == ("BTCUSDT", 77) else trade)
    found, check = closes_of(days)
    assert not found.passed
    assert [(d.what, d.key, d.field) for d in check.listed] == [("close", "77", "BTCUSDT")]
    assert check.listed[0].again == pytest.approx(check.listed[0].journal * 1.5)
    assert "the feed or its record is at fault" in sentence(found)


def test_a_hole_in_the_record_proves_nothing_and_is_counted(days, recorded):
    finite, _ = recorded(lambda symbol, row, trade: None if (symbol, row) == ("BTCUSDT", 50) else trade)
    found, check = closes_of(days)
    assert found.passed
    assert 0 < finite - check.compared <= 3
    assert "are not proven by the recorded trades" in sentence(found)


def test_a_day_of_which_no_trade_was_recorded_says_so(days, recorded):
    recorded()
    for path in (days.feed / "trades" / FIRST).iterdir():
        path.unlink()
    (days.feed / "trades" / FIRST).rmdir()
    found, check = closes_of(days)
    assert found.passed
    assert np.array(check.compared) == 0
    assert "no trades of the day are recorded" in check.why_not
