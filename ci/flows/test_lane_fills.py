"""Fills of a paper lane on a Nautilus node, as its journal has them, against the backtest's."""

from __future__ import annotations

from decimal import Decimal

import pytest
from daemon_worlds import World
from lane_worlds import Teller, replay_of, run_out, settings_of, write_market

from daemons.scanner import ScannerService
from daemons.trader import PaperTrader
from dolphin.config import to_toml
from dolphin.storage.journal import Journal, JournalReader, Kind, journal_path
from dolphin.storage.replay import write_replay
from dolphin.storage.state import StateFolder
from flows.lane_day import LanePast, decide_again
from flows.lane_fills import venue_state
from flows.lane_parity import lane_parity
from flows.lane_parity_text import parity_text, sentence

FIRST, SECOND = "2025-01-02", "2025-01-03"


def paper(root, market, **given):
    """A deployment of a paper lane over both days."""
    world = World(root, settings=settings_of(**given), replay=replay_of(market, FIRST, SECOND))
    world.state.settings.write_text(to_toml(world.settings))
    write_replay(world.state.replay, world.replay)
    world.start(Teller)
    world.start(ScannerService)
    return world, world.start(PaperTrader)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return write_market(tmp_path_factory.mktemp("market"), 1440, 260, 200)


@pytest.fixture(scope="module")
def traded(market, tmp_path_factory):
    """The state of a paper lane at the end of both days."""
    world, trader = paper(tmp_path_factory.mktemp("traded"), market)
    run_out(world)
    world.end(trader)
    world.close()
    return world.state


@pytest.mark.parametrize("date", [FIRST, SECOND])
def test_every_fill_of_a_paper_lane_is_the_backtests(traded, date):
    found = lane_parity(traded, "blue", date)
    assert found.passed, parity_text(found)
    fills = found.checks[2]
    assert fills.compared >= 2 * len(found.trades) - 2
    assert not fills.why_not
    assert sentence(found).endswith("every decision equals, every fill too.")


def rewritten(traded, root, change):
    """A copy of the state, the lane's journal written anew with its chain: ``change`` gives a record's payload."""
    state = StateFolder(root).made()
    for name in ("scanner", "trader_blue"):
        with JournalReader(journal_path(traded.journals, name)) as old, Journal.open(journal_path(state.journals, name), name) as new:
            for record in old.records():
                new.append(Kind(record.kind), change(record), record.ts_ms)
    state.settings.write_text(traded.settings.read_text())
    state.replay.write_bytes(traded.replay.read_bytes())
    return state


@pytest.mark.parametrize("field", ["price", "fee", "quantity"])
def test_a_fill_that_is_not_the_backtests_is_found(traded, tmp_path, field):
    with JournalReader(journal_path(traded.journals, "trader_blue")) as journal:
        wanted = [r.seq for r in journal.records(Kind.ORDER_EVENT) if r.payload["event"] == "filled"][2]
    change = lambda r: {**r.payload, field: r.payload[field] * 1.01} if r.kind == Kind.ORDER_EVENT and r.seq == wanted else r.payload  # noqa: E731
    found = lane_parity(rewritten(traded, tmp_path, change), "blue", FIRST)
    assert [check.passed for check in found.checks] == [True, True, False, True]
    assert [(d.what, d.field) for d in found.checks[2].listed] == [("fill", field)]
    assert "the venue's fills do not" in sentence(found)


def test_the_account_is_known_at_the_beginning_of_a_later_day(traded):
    """Limits look at it: the backtest of the second day begins with what the first one left."""
    with JournalReader(journal_path(traded.journals, "trader_blue")) as journal:
        kept = [r.payload for r in journal.records(Kind.SNAPSHOT)]
    with LanePast(traded, "blue") as past:
        first, second = (venue_state(past, decide_again(past, date)) for date in (FIRST, SECOND))
    assert Decimal(first["balance"].split()[0]) == 25_000
    left = next(p["venue"]["balance"] for p in kept if (p["date"], p["done"]) == ("", FIRST))
    assert Decimal(second["balance"].split()[0]) == Decimal(left.split()[0]) != 25_000
    assert second["prices"]


def test_a_position_that_a_stop_closed_is_named_and_not_called_a_difference(market, tmp_path):
    world, trader = paper(tmp_path, market)
    world.run(120, until=lambda: not trader.venue.flat)
    trader.venue.flatten()
    trader._records.flush()
    run_out(world)
    world.end(trader)
    world.close()
    found = lane_parity(world.state, "blue", FIRST)
    assert found.passed, parity_text(found)
    assert "1 positions were closed by a stop of the lane" in found.checks[2].why_not
