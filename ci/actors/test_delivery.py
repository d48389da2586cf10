"""Delivery: which quotes come, when, how wide, on which ticks; the barrier; and that days are read as they are needed."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from builders import START_MS, day, names
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nautilus_trader.model.data import CustomData, QuoteTick
from nautilus_trader.model.objects import Quantity

import actors.backtest
from actors.backtest import VenueBacktest
from actors.config import DolphinActorConfig
from actors.data_types import Marker, Snapshot
from actors.delivery import Delivery
from actors.instruments import default_spec, perpetual, perpetuals
from dolphin.config import EngineConfig, VenueConfig
from dolphin.engine.records import DayRows
from dolphin.errors import ConfigError

MINUTE = 60_000_000_000
ASSETS = ("BTCUSDT", "ETHUSDT")


def rows(*closes, day_index=0, assets=ASSETS):
    """A day of the given closes, without signals."""
    block, nothing = np.array(closes, dtype=np.float64), np.full(len(closes), np.nan)
    ts = START_MS + day_index * 86_400_000 + np.arange(1, len(closes) + 1, dtype=np.int64) * 60_000
    return DayRows(assets, block, nothing, nothing, nothing, ts)


def delivery(active, **venue):
    return Delivery(perpetuals(dict.fromkeys(ASSETS, 100.0), "BINANCE"), active, VenueConfig(**venue))


def quotes(chunks):
    return [item for chunk in chunks for item in chunk if type(item) is QuoteTick]


def test_without_an_order_or_a_position_there_are_only_snapshots_each_behind_a_barrier():
    chunks = list(delivery(set()).chunks([rows((1.0, 2.0), (3.0, math.nan)), rows((5.0, 6.0), day_index=1)]))
    assert [[type(item.data) for item in chunk] for chunk in chunks] == [[Snapshot, Marker]] * 3
    assert [chunk[0].ts_init == chunk[1].ts_init for chunk in chunks] == [True] * 3
    assert [chunk[0].data.closes[0] for chunk in chunks] == [1.0, 3.0, 5.0]
    assert chunks[0][0].data.assets is chunks[1][0].data.assets


def test_quotes_are_asked_for_after_the_snapshot_has_been_handled():
    """The active set is read when the barrier is behind: a name added by the snapshot's handler is quoted in the same bar."""
    active = set()
    chunks = delivery(active, latency_ms=7.0).chunks([rows((100.0, 10.0), (101.0, 11.0), (102.0, 12.0))])
    next(chunks)
    active.add("ETHUSDT")
    (quote,) = next(chunks)
    assert str(quote.instrument_id) == "ETHUSDT-PERP.BINANCE"
    assert quote.ts_event == quote.ts_init == START_MS * 1_000_000 + MINUTE + 8_000_000
    next(chunks)
    active.add("BTCUSDT")
    assert [str(q.instrument_id.symbol) for q in next(chunks)] == ["BTCUSDT-PERP", "ETHUSDT-PERP"]
    next(chunks)
    active.clear()
    assert list(chunks) == []


def test_a_name_without_a_price_is_quoted_wide_at_its_last_one_and_never_before_the_first():
    active = {"BTCUSDT", "ETHUSDT"}
    one = delivery(active, spread_bps=4.0, stale_spread_bps=100.0)
    bad = [math.nan, 0.0, -5.0, math.inf]
    chunks = list(one.chunks([rows((100.0, math.nan), *((100.0, b) for b in bad), (100.0, 50.0), *((100.0, b) for b in bad))]))
    eth = [(q.bid_price.as_double(), q.ask_price.as_double()) for q in quotes(chunks) if q.instrument_id.symbol.value == "ETHUSDT-PERP"]
    assert eth == [(49.99, 50.01)] + [(49.75, 50.25)] * 4
    assert one.quoted == {"BTCUSDT": (99.9, 100.1), "ETHUSDT": (49.75, 50.25)}
    assert all(chunks)


def test_a_name_that_left_the_universe_is_quoted_wide():
    active = {"ETHUSDT"}
    days = [rows((100.0, 50.0)), rows((100.0,), day_index=1, assets=("BTCUSDT",))]
    assert [(str(q.bid_price), str(q.ask_price)) for q in quotes(delivery(active).chunks(days))] == [("49.99", "50.01"), ("49.75", "50.25")]


@pytest.mark.parametrize("style", ["market", "maker"])
def test_no_chunk_is_ever_empty_for_an_empty_one_ends_the_whole_stream(style):
    active = {"ETHUSDT"}
    chunks = list(delivery(active, order_style=style).chunks([rows((1.0, math.nan), (1.0, math.nan), (1.0, 2.0))]))
    assert all(chunks)
    assert sum(type(chunk[0]) is CustomData for chunk in chunks) == 3


def test_an_active_name_without_any_price_does_not_end_a_backtest(monkeypatch):
    """Nautilus drops an iterator that hands out an empty chunk, and with it the rest of the run."""
    monkeypatch.setattr(actors.backtest.Delivery, "_quote", lambda *_: None)
    built = VenueBacktest.build(DolphinActorConfig(), [day(bars=300)]).run()
    assert built.actor.desk.totals.orders > 0
    assert built.actor.engine.bar_count == 300
    built.close()


def test_a_maker_order_gets_the_same_quote_once_more_before_the_next_bar():
    first, again = quotes(delivery({"BTCUSDT"}, order_style="maker", latency_ms=5.0).chunks([rows((100.0, 1.0))]))
    assert again.ts_event - first.ts_event == 6_000_000
    assert (again.bid_price, again.ask_price) == (first.bid_price, first.ask_price)


def test_a_latency_longer_than_a_bar_is_refused():
    with pytest.raises(ConfigError, match=r"venue\.latency_ms = 60000\.0: the quotes of a bar would come after the next bar"):
        list(delivery({"BTCUSDT"}, latency_ms=60_000.0).chunks([rows((100.0, 1.0), (100.0, 1.0))]))


@settings(deadline=None, max_examples=300)
@given(st.floats(-6, 6), st.sampled_from([0.0, 0.01, 4.0, 1000.0]), st.floats(0.2, 5.0))
@example(0.0, 0.0, 1.0)
@example(-6.0, 4.0, 1.0)
@example(5.0, 0.01, 1.0)
def test_the_close_lies_between_bid_and_ask_and_both_lie_on_ticks(exponent, spread_bps, drift):
    """bid <= close <= ask, each within a tick of close * (1 -+ half spread), never zero; with a spread bid < ask."""
    instrument = perpetual(default_spec("ETHUSDT", 10.0**exponent), "BINANCE")
    close = 10.0**exponent * drift
    one = Delivery({"ETHUSDT": instrument}, {"ETHUSDT"}, VenueConfig(spread_bps=spread_bps))
    (quote,) = quotes(one.chunks([rows((close,), assets=("ETHUSDT",))]))
    tick, dust = float(instrument.price_increment), 2e-6 * float(instrument.price_increment)
    bid, ask = quote.bid_price.as_double(), quote.ask_price.as_double()
    assert bid - dust <= close <= ask + dust
    assert abs(bid - close * (1 - 5e-5 * spread_bps)) < tick + dust
    assert abs(ask - close * (1 + 5e-5 * spread_bps)) < 2 * tick
    assert bid > 0.0
    assert bid < ask or not spread_bps
    for price in (quote.bid_price, quote.ask_price):
        assert price.as_decimal() % instrument.price_increment.as_decimal() == 0
    assert one.quoted["ETHUSDT"] == (bid, ask)


def test_the_book_is_deep_enough_for_a_million_and_never_beyond_what_nautilus_can_count():
    instrument = perpetual(default_spec("ETHUSDT", 1e-9), "BINANCE")
    for close, depth in ((1e-9, 1e13), (1e-3, 1e9), (1e5, 1e6)):
        (quote,) = quotes(Delivery({"ETHUSDT": instrument}, {"ETHUSDT"}, VenueConfig()).chunks([rows((close,), assets=("ETHUSDT",))]))
        assert quote.bid_size == quote.ask_size == Quantity(depth, instrument.size_precision)
    assert instrument.size_increment.as_decimal() == Decimal(1)


def test_days_are_read_as_they_come():
    taken = []

    def days():
        for k in range(3):
            taken.append(k)
            yield rows((100.0, 1.0), (100.0, 1.0), day_index=k)

    chunks = delivery(set()).chunks(days())
    seen = []
    for _ in chunks:
        seen.append(taken[-1])
    assert seen == [0, 1, 1, 2, 2, 2]  # one bar ahead: a quote may lie on the way to the next close


def test_every_fill_of_a_run_is_exactly_the_quote_of_its_bar():
    """An order sent at a close meets the quote of that close, at close + latency + 1 ms, whatever else is quoted."""
    rows_of_day = day(seed=4, bars=500)
    built = VenueBacktest.build(DolphinActorConfig(engine=EngineConfig(max_hold_bars=10)), [rows_of_day]).run()
    closes = {int(ts): dict(zip(names(12), row, strict=True)) for ts, row in zip(rows_of_day.ts_ms, rows_of_day.closes, strict=True)}
    fills = [e for o in built.engine.cache.orders() for e in o.events if type(e).__name__ == "OrderFilled"]
    assert len(fills) > 20
    for fill in fills:
        assert (fill.ts_event - 2_000_000) // 1_000_000 in closes
        close = closes[(fill.ts_event - 2_000_000) // 1_000_000][fill.instrument_id.symbol.value.removesuffix("-PERP")]
        instrument = built.engine.cache.instrument(fill.instrument_id)
        side = -1.0 if fill.is_sell else 1.0
        assert abs(fill.last_px.as_double() - close * (1 + side * 2e-4)) < float(instrument.price_increment) * 1.001
        assert side * (fill.last_px.as_double() - close) > 0.0
    built.close()


def test_only_a_backtest_that_wants_it_lets_prices_drift_while_an_order_is_under_way():
    """Half a bar under way, half of the way to the next close; a paper lane, which cannot know it, has the close."""
    bars = [rows((100.0, 1.0), (110.0, 1.0))]
    still, moved = (quotes(delivery({"BTCUSDT"}, latency_ms=29_999.0, drift=drift).chunks(bars))[0] for drift in (False, True))
    assert (still.bid_price.as_double(), still.ask_price.as_double()) == (99.9, 100.1)
    assert (moved.bid_price.as_double(), moved.ask_price.as_double()) == (104.9, 105.1)
