"""Parity: the same trades whichever way the market comes in, and orders that move nothing but the fills."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from dolphin.config import PathsConfig, Settings, SyntheticConfig
from dolphin.engine.records import table_rows
from dolphin.storage.day_table import list_days, read_day
from dolphin.storage.klines import KlineStore
from flows.console import progress
from flows.parity import check_parity, day_way, first_difference, venue_of
from flows.scans import cached_scan
from flows.synth import cached_market


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Klines of two synthetic days of 16 assets, and their day tables."""
    cache = tmp_path_factory.mktemp("parity")
    settings = Settings(synthetic=SyntheticConfig(assets=16, days=2), paths=PathsConfig(cache=str(cache)))
    store = KlineStore(cached_market(settings, progress))
    tables, _ = cached_scan(store, settings, "", "", track=progress)
    return store, [read_day(path) for path in list_days(tables)]


def venue_run(tables, settings=None, direction=-1, funding=None):
    venue = venue_of(tables, settings or Settings(), direction, funding)
    assert abs(venue.account_error) < 1e-6
    found = venue.actor.engine.trades, venue.hashes(), venue.summary({}, {}), venue.actor.engine.capital
    venue.close()
    return found


def test_day_bar_stream_and_nautilus_give_the_same_trades(market):
    """Both lanes: bars, asset, direction, reason, quantity; fills are the quotes, the account adds up."""
    store, tables = market
    for direction in (-1, 1):
        verdict = check_parity(store, tables, Settings(), direction, progress)
        assert verdict.passed, verdict.to_text()
        assert [way.trades for way in verdict.ways] == [verdict.ways[0].trades] * 4
        assert verdict.ways[0].trades > 3
        assert verdict.to_text().endswith("parity: passed")


@pytest.mark.parametrize("field", ["entry_bar", "exit_bar", "asset", "direction", "reason", "notional"])
def test_a_planted_difference_is_named(market, field):
    """One changed field of one trade, a missing trade and a trade too many are all found."""
    _, tables = market
    trades = day_way(tables, Settings(), -1).trades
    value = trades[2][field]
    changed = [*trades[:2], {**trades[2], field: value + "x" if isinstance(value, str) else value * 1.001 + 1}, *trades[3:]]
    assert first_difference(trades, trades) == ""
    assert first_difference(trades, changed).startswith("trade 3: ")
    assert "expected" in first_difference(trades, trades[:-1])
    assert "expected" in first_difference(trades, [*trades, trades[-1]])


def test_latency_and_spread_move_fills_and_no_decision(market):
    """45 s late and 40 bps wide: the trades are the same, the fills are worse, the sums still hold."""
    _, tables = market
    plain, _, near, _ = venue_run(tables)
    settings = Settings(venue=msgspec.structs.replace(Settings().venue, latency_ms=45_000.0, spread_bps=40.0, drift=True))
    moved, _, far, _ = venue_run(tables, settings)
    assert first_difference(plain, moved) == ""
    assert sum(trade.slippage for trade in far.trades) < sum(trade.slippage for trade in near.trades)
    assert any(abs(trade.latency) > 1.0 for trade in far.trades)
    assert all(abs(trade.latency) < 1.0 for trade in near.trades)


def test_two_runs_give_the_same_orders_and_fills(market):
    """Hashes of orders, fills and trades."""
    _, tables = market
    first, second = venue_run(tables), venue_run(tables)
    assert first[1] == second[1]
    assert first[0] == second[0]
    other = venue_run(tables, Settings(venue=msgspec.structs.replace(Settings().venue, spread_bps=5.0)))
    assert other[1]["fills"] != first[1]["fills"]


def test_the_parts_of_every_difference_add_up(market):
    """fills - model = quantity + latency + slippage + fees + credits + funding, market and maker orders."""
    _, tables = market
    for style in ("market", "maker"):
        settings = Settings(venue=msgspec.structs.replace(Settings().venue, order_style=style, maker_timeout_s=600.0))
        trades, _, summary, _ = venue_run(tables, settings)
        assert len(summary.trades) == len(trades)
        for trade in summary.trades:
            parts = trade.quantity + trade.latency + trade.slippage + trade.fees + trade.credits + trade.funding
            assert trade.difference == pytest.approx(parts, abs=1e-9 * max(1.0, abs(trade.model_net)))
    assert {t.entry_liquidity for t in summary.trades} & {"maker", "mixed"}


def test_capital_and_an_open_position_cross_midnight(market):
    """A position that is open at midnight is the same one on the next day, at the venue too."""
    _, tables = market
    settings = Settings(engine=msgspec.structs.replace(Settings().engine, max_hold_bars=1500, fixed_tp_pct=0.9))
    trades, _, summary, capital = venue_run(tables, settings)
    engine = day_way(tables, settings, -1)
    held = [t for t in trades if t["entry_ts"] <= tables[0].ts[-1] < t["exit_ts"]]
    position = engine.position
    assert held or (position is not None and position.entry_ts <= tables[0].ts[-1])
    assert first_difference(engine.trades, trades) == ""
    assert capital == engine.capital
    assert summary.orders == 2 * len(trades) + (position is not None)


def test_a_universe_that_changes_overnight_keeps_trading(market):
    """Half of the assets leave on the second day: nothing of the first is forgotten, and parity holds."""
    _, tables = market
    keep = [j for j, name in enumerate(tables[1].assets) if j % 2 == 0]
    smaller = dataclasses.replace(
        tables[1], assets=tuple(tables[1].assets[j] for j in keep), closes=np.ascontiguousarray(tables[1].closes[:, keep])
    )
    changed = [tables[0], smaller]
    trades, _, _, _ = venue_run(changed)
    assert first_difference(day_way(changed, Settings(), -1).trades, trades) == ""


def test_four_hundred_assets_trade_alike(tmp_path):
    """A wide universe, ranked by IRP on every signal: Nautilus makes the engine's trades."""
    settings = Settings(synthetic=SyntheticConfig(assets=400, days=1), paths=PathsConfig(cache=str(tmp_path)))
    store = KlineStore(cached_market(settings, progress))
    folder, _ = cached_scan(store, settings, "", "", track=progress)
    tables = [read_day(path) for path in list_days(folder)]
    trades, _, summary, _ = venue_run(tables)
    assert len(table_rows(tables[0]).assets) == 400
    assert first_difference(day_way(tables, Settings(), -1).trades, trades) == ""
    assert summary.fills == summary.orders > 4


@pytest.mark.real_data
def test_ten_real_days_agree(shared_data, tmp_path):
    """64 pairs at one minute: all four ways."""
    store = KlineStore(shared_data / "klines" / "spot_1m_2021-04")
    folder, _ = cached_scan(store, Settings(paths=PathsConfig(cache=str(tmp_path))), "", "2021-04-11", track=progress)
    tables = [read_day(path) for path in list_days(folder) if path.stem <= "2021-04-11"]
    verdict = check_parity(store, tables, Settings(), -1, progress)
    assert verdict.passed, verdict.to_text()
    assert verdict.ways[0].trades > 100
    assert len(table_rows(tables[0]).assets) == 64
