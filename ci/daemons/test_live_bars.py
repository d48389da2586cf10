"""Live bars on a virtual clock: the tapes' bars, each once and in time, and a known gap for whatever cannot be had."""

from __future__ import annotations

import numpy as np
import pytest
from daemon_worlds import START_MS
from feed_worlds import Exchange, live_world, scans, start_live, truth

from dolphin.errors import ConfigError
from dolphin.storage.day_table import list_days, read_day
from dolphin.storage.journal import Kind
from dolphin.storage.klines import KlineStore
from dolphin.storage.trade_record import recorded_bars
from dolphin.telemetry.alerts import AlertKind

NAMES = tuple(f"A{k:02d}USDT" for k in range(12))
NOON = START_MS + 12 * 3_600_000
MIDNIGHT = START_MS + 24 * 3_600_000
BAR = 5_000


@pytest.fixture(scope="module")
def tapes():
    """An hour of twelve symbols; restored after each test."""
    return Exchange(NAMES, NOON - 600_000, 1.0)


@pytest.fixture
def exchange(tapes):
    clean = Exchange(NAMES, NOON, 0.0)
    clean.tapes, clean.stamps = tapes.tapes, tapes.stamps
    return clean


def same(exchange, service, but=()):
    """Every bar was handed out once, in order, with the closes of the tapes; ``but``: closes of bars that may differ."""
    told, wanted = scans(service), truth(exchange, service)
    assert [ts for ts, _ in told] == sorted(wanted)
    wrong = [ts for ts, payload in told if payload["closes"] != wanted[ts]]
    assert set(wrong) <= set(but)
    return told


def run(world, *seconds_and_changes):
    for step in seconds_and_changes:
        if callable(step):
            step()
        else:
            world.run(step)


def test_bars_are_the_tapes_bars_and_follow_their_close_by_the_grace(world_of, exchange):
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    late = []
    for _ in range(600):
        world.run(0.1)
        told = service.context.journal.last(Kind.SCAN)
        late.append(world.clock.market_ms() - told.ts_ms if told else 0)
    told = same(exchange, service)
    assert len(told) == 10
    assert max(late) < BAR + 1_000
    assert service.status == "running"
    assert not world.told


def test_duplicates_and_disorder_change_nothing(world_of, exchange):
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    exchange.twice = exchange.shuffled = True
    world.run(60)
    same(exchange, service)
    assert service._source._bars.counts["duplicate"] > 100
    assert not service._source._bars.counts["late"] + service._source._bars.counts["gap"]


def test_a_disconnection_is_backfilled_before_its_bars_are_handed_out(world_of, exchange):
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)

    def cut():
        exchange.down = True

    def back():
        exchange.down = False

    run(world, 22, cut, 13, back, 25)
    same(exchange, service)
    assert service._source.counts["down"] == 1
    assert [a.kind for a in world.told] == [AlertKind.STALE_FEED]


def test_trades_that_a_standing_subscription_loses_are_found_by_their_numbers(world_of, exchange):
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    exchange.swallow = lambda symbol, trade: trade.trade_id % 7 == 3
    world.run(60)
    told = same(exchange, service, but=[ts for ts, _ in scans(service)])
    wanted = truth(exchange, service)
    wrong = sum(a != b for ts, payload in told for a, b in zip(payload["closes"], wanted[ts], strict=True))
    assert service._source.counts["backfilled"] > 20
    assert wrong < 0.1 * len(told) * len(NAMES)


def test_a_symbol_whose_messages_are_swallowed_is_asked_for(world_of, exchange):
    """It usually trades: a bar without a trade of it is not believed."""
    exchange = Exchange(NAMES, NOON - 60_000, 0.1, mean_ms=500.0)
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    world.run(60)
    exchange.swallow = lambda symbol, trade: symbol == NAMES[3]
    world.run(40)
    same(exchange, service)
    assert {ask.symbol for ask in service._source._feed.asked if hasattr(ask, "from_id")} == {NAMES[3]}


def test_an_exchange_that_does_not_answer_gives_no_bar_and_then_all_of_them(world_of, exchange):
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    world.run(31)
    exchange.down = exchange.rest_down = True
    before = len(scans(service))
    world.run(40)
    assert len(scans(service)) - before <= 1
    assert service.status == "stale"
    assert any(a.kind is AlertKind.STALE_FEED and "no bars until" in a.text for a in world.told)
    exchange.down = exchange.rest_down = False
    world.run(20)
    same(exchange, service)
    assert service.status == "running"


def test_a_market_in_which_nobody_trades_makes_no_bars(world_of, exchange):
    for symbol in NAMES:
        exchange.delisted[symbol] = NOON + 30_000
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    world.run(70)
    assert scans(service)[-1][0] == NOON + 30_000
    assert service.status == "stale"
    assert any(a.kind is AlertKind.STALE_FEED and "nobody traded" in a.text for a in world.told)


@pytest.mark.parametrize("offset", [-7_000, 4_000])
def test_nothing_is_closed_on_a_wrong_clock_and_all_is_asked_for_when_it_is_right(world_of, exchange, offset):
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    world.run(31)
    exchange.offset_ms = offset
    world.run(1.5)
    before = len(scans(service))
    world.run(20)
    assert service.status == "clock_skew"
    assert len(scans(service)) == before
    assert [a.key for a in world.told if a.kind is AlertKind.CLOCK_SKEW] == ["CLOCK_SKEW"]
    exchange.offset_ms = 0
    world.run(20)
    same(exchange, service)
    assert service.status == "running"


def test_an_exchange_whose_clock_is_wrong_from_the_start_is_not_begun_with(world_of, exchange):
    exchange.offset_ms = 60_000
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    world.run(20)
    assert service.status == "clock_skew"
    assert not scans(service)


def test_a_delisted_symbol_has_no_price_at_once_and_the_universe_says_so(world_of, exchange):
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    world.run(20)
    exchange.delisted[NAMES[5]] = world.clock.market_ms()
    service._source._markets_s = -1e9
    world.run(20)
    told = scans(service)
    assert told[0][1]["closes"][5] is not None
    assert told[-1][1]["closes"][5] is None
    records = list(service.context.journal.records(Kind.UNIVERSE))
    assert records[-1].payload["delisted"] == [NAMES[5]]
    assert records[-1].payload["assets"] == list(NAMES)
    assert any("leave the universe" in a.text for a in world.told)


def test_what_the_exchange_does_not_give_is_a_gap_and_not_a_guess(world_of, exchange):
    world = live_world(world_of, NOON, backfill_s=3.0)
    service = start_live(world, exchange)
    feed = service._source._feed
    feed.ask = lambda ask: feed.asked.append(ask)
    service._source._markets = dict.fromkeys(NAMES, True)
    world.run(22)
    exchange.down = True
    world.run(2)
    exchange.down = False
    world.run(20)
    told = scans(service)
    wanted = truth(exchange, service)
    cells = [(mine, theirs) for ts, payload in told for mine, theirs in zip(payload["closes"], wanted[ts], strict=True)]
    assert all(mine is None or mine == theirs for mine, theirs in cells)
    assert any(a.kind is AlertKind.FEED_GAP for a in world.told)
    assert 1 <= service._source._bars.counts["gap"] <= 3 * len(NAMES)
    assert service.status == "running"


@pytest.mark.parametrize("seconds", [7.3, 21.0, 24.9, 25.3, 38.2])
def test_a_restart_at_any_moment_gives_the_same_bars(world_of, exchange, seconds):
    world = live_world(world_of, NOON)
    service = start_live(world, exchange)
    world.run(seconds)
    world.end(service, killed=True)
    world.run(6.0)
    again = start_live(world, exchange)
    world.run(75.0 - seconds - 6.0)
    other = live_world(world_of, NOON)
    undisturbed = start_live(other, exchange)
    other.run(75.0)
    first = scans(again)[0][0]
    strip = [(ts, {k: v for k, v in p.items() if k != "bar"}) for ts, p in scans(undisturbed) if ts >= first]
    assert [(ts, {k: v for k, v in p.items() if k != "bar"}) for ts, p in scans(again)] == strip
    same(exchange, again)


@pytest.fixture(scope="module")
def two_days():
    """Trades around a midnight and of the day and a half before it."""
    return Exchange(NAMES, MIDNIGHT - 40 * 3_600_000, 41.0, mean_ms=30_000.0)


@pytest.fixture(scope="module")
def night(two_days, tmp_path_factory):
    """A minute scanner from 23:50 over midnight, undisturbed."""
    from daemon_worlds import World

    root = tmp_path_factory.mktemp("night")
    world = live_world(lambda **given: World(root, **given), MIDNIGHT - 600_000, bar_seconds=60)
    service = start_live(world, two_days)
    world.run(1_200)
    yield world, service
    world.close()


def test_a_start_late_in_the_day_takes_the_day_so_far_from_the_exchange_and_ends_it_whole(night, two_days):
    world, service = night
    told = same(two_days, service)
    assert [p["bar"] for _, p in told[:1440]] == list(range(1440))
    assert told[1440][0] == MIDNIGHT + 60_000
    table = read_day(list_days(world.state.days)[0], sidecar=False)
    assert table.complete
    assert table.date == "2025-01-01"
    assert np.isfinite(table.signals["vel_div"]).sum() > 1430
    (ended,) = service.context.journal.records(Kind.DAY_TABLE)
    assert ended.payload == {"date": "2025-01-01", "bars": 1440}


def test_the_days_klines_are_on_disk_and_read_as_the_rows_that_were_scanned(night):
    world, service = night
    store = KlineStore(world.state.feed / "klines")
    assert store.dates() == ("2025-01-01",)
    told = np.array([[np.nan if v is None else v for v in p["closes"]] for _, p in scans(service)[:1440]])
    np.testing.assert_array_equal(store.load("2025-01-01").closes, told)
    assert read_day(list_days(world.state.days)[0], sidecar=False).metadata.sources[0].sha256 == store.load("2025-01-01").sha256


@pytest.mark.parametrize("seconds", [400, 604, 900])
def test_a_minute_scanner_killed_around_midnight_comes_back_with_the_same_records(world_of, two_days, night, seconds):
    world = live_world(world_of, MIDNIGHT - 600_000, bar_seconds=60)
    service = start_live(world, two_days)
    world.run(seconds)
    world.end(service, killed=True)
    world.run(90)
    again = start_live(world, two_days)
    world.run(1_200 - seconds - 90)
    kept = (Kind.SCAN, Kind.DAY_TABLE, Kind.UNIVERSE)
    journals = [[(r.kind, r.ts_ms, r.payload) for r in s.context.journal.records() if r.kind in kept] for s in (again, night[1])]
    assert journals[0] == journals[1]
    files = [(w.state.feed / "klines" / "2025-01-01.parquet").read_bytes() for w in (world, night[0])]
    assert files[0] == files[1]


def test_at_midnight_the_universe_takes_up_what_was_listed_and_lets_go_of_what_was_delisted(world_of, two_days):
    """During the day the symbol that left has no price and the new one no column; both days' rows are the tapes'."""
    gone, new = NAMES[5], NAMES[11]
    exchange = Exchange(NAMES, MIDNIGHT, 0.0)
    exchange.tapes, exchange.stamps = two_days.tapes, two_days.stamps
    exchange.delisted, exchange.listed = {gone: MIDNIGHT - 420_000}, {new: MIDNIGHT - 300_000}
    world = live_world(world_of, MIDNIGHT - 600_000, bar_seconds=60)
    service = start_live(world, exchange)
    world.run(1_200)
    universes = [record.payload["assets"] for record in service.context.journal.records(Kind.UNIVERSE)]
    assert universes[0] == [name for name in NAMES if name != new]
    assert universes[-1] == [name for name in NAMES if name != gone]
    told = scans(service)
    assert [p["bar"] for _, p in told[1440:]] == list(range(len(told) - 1440))
    wanted = truth(exchange, service)
    assert len(told) > 1440 + 8
    assert all(payload["closes"] == wanted[ts] for ts, payload in told if ts > MIDNIGHT)
    assert [payload["closes"][5] is None for ts, payload in told if ts == MIDNIGHT] == [True]
    table = read_day(list_days(world.state.days)[0], sidecar=False)
    assert (table.date, table.complete, gone in table.assets, new in table.assets) == ("2025-01-01", True, True, False)


def test_recorded_trades_give_the_bars_again(night, two_days):
    world, service = night
    world.end(service)
    bars = recorded_bars(world.state.feed / "trades", "2025-01-02", 60, NAMES)
    told = [(ts, p["closes"]) for ts, p in scans_of(world) if ts > MIDNIGHT]
    made = {int(ts) + 60_000: row for ts, row in zip(bars.ts.tolist(), bars.closes, strict=True)}
    proven = 0
    for ts, closes in told:
        there = np.isfinite(made[ts])
        np.testing.assert_array_equal(made[ts][there], np.array(closes, dtype=float)[there])
        proven += int(there.sum())
    assert proven > 0.8 * len(told) * len(NAMES)


def scans_of(world):
    from dolphin.storage.journal import JournalReader, journal_path

    with JournalReader(journal_path(world.state.journals, "scanner")) as journal:
        return [(r.ts_ms, r.payload) for r in journal.records(Kind.SCAN)]


def test_a_name_that_the_exchange_does_not_have_is_a_matter_of_configuration(world_of, exchange):
    world = live_world(world_of, NOON, symbols="A01USDT,BTCUSTD")
    start_live(world, exchange)
    with pytest.raises(ConfigError, match=r"feed\.symbols: BTCUSTD: the exchange has no such perpetual"):
        world.run(5)
