"""Trades of the demo exchange are its klines: each bar comes out of them exactly, ids have no hole, any part can be made again."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from demo_exchanges import small_market

from daemons.exchange.candles import Candles
from daemons.exchange.instruments import decimals_of, text_of
from daemons.exchange.sources import kline_bars
from daemons.exchange.tape import Bars, Tape, bars_of
from dolphin.errors import ConfigError, QualityError


@pytest.fixture(scope="module")
def bars() -> Bars:
    return small_market(assets=5)


def aggregated(tape: Tape, row: int) -> dict[int, tuple[int, ...]]:
    """Open, high, low, close, volume of a row, by symbol, from its trades."""
    found: dict[int, list[tuple[int, int]]] = {}
    for n, _, ticks, lots, _, _ in tape.row(row).rows():
        found.setdefault(n, []).append((ticks, lots))
    return {
        n: (t[0][0], max(x for x, _ in t), min(x for x, _ in t), t[-1][0], sum(q for _, q in t)) for n, t in found.items()
    }  # fmt: skip


def test_trades_aggregate_to_every_kline_exactly(bars):
    tape = Tape(bars, seed=1)
    for row in range(len(bars.ts)):
        found = aggregated(tape, row)
        assert sorted(found) == np.flatnonzero(bars.there[row]).tolist()
        for n, values in found.items():
            assert values == (*bars.ticks[:, row, n].tolist(), int(bars.lots[row, n]))


def test_a_bar_of_the_archive_is_the_same_number(bars):
    """Ticks and lots as text are the floats of the source, digit by digit."""
    from dolphin.synthetic.market import SyntheticMarket

    day = next(iter(SyntheticMarket(assets=5, days=2)))
    for n, instrument in enumerate(bars.instruments):
        rows = np.flatnonzero(np.isfinite(day.close[:, n]))
        assert [float(instrument.price(int(t))) for t in bars.ticks[3, rows, n]] == day.close[rows, n].tolist()
        assert [float(instrument.quantity(int(q))) for q in bars.lots[rows, n]] == day.volume[rows, n].tolist()


def test_ids_count_every_trade_and_times_stay_inside_the_bar(bars):
    tape = Tape(bars, seed=1)
    last = dict.fromkeys(range(5), 0)
    for row in range(200):
        trades = tape.row(row)
        assert (np.diff(trades.ms) >= 0).all()
        assert ((trades.ms >= bars.ts[row]) & (trades.ms < bars.ts[row] + bars.bar_ms)).all()
        for n, number, *_ in trades.rows():
            assert number == last[n] + 1
            assert tape.row_of_trade(n, number) == row
            last[n] = number


def test_the_same_row_is_made_again_and_another_seed_makes_another(bars):
    one, again, other = (Tape(bars, seed).row(700) for seed in (1, 1, 2))
    assert all(np.array_equal(getattr(one, name), getattr(again, name)) for name in one.__dataclass_fields__)
    assert not np.array_equal(one.ms, other.ms)


def test_a_bar_without_volume_has_a_kline_and_no_trade():
    ts = np.arange(3, dtype=np.int64) * 60_000
    price, volume = np.full((3, 1), 2.5), np.array([[10.0], [0.0], [4.0]])
    tape = Tape(bars_of(["BTCUSDT"], 60_000, ts, [price] * 4, volume), seed=1)
    assert [len(tape.row(row)) for row in range(3)] == [6, 0, 6]
    candles = Candles(tape).between(0, 60_000, 0, 120_000, 180_000)
    assert [(c.ohlc[3], c.lots, c.trades) for c in candles] == [(25, 100, 6), (25, 0, 0), (25, 40, 6)]
    assert tape.row(2).id.tolist() == list(range(7, 13))


def test_longer_klines_join_shorter_ones(bars):
    candles = Candles(Tape(bars, seed=1))
    start = int(bars.ts[0])
    five = candles.between(0, 300_000, start, start, start + 300_000)[0]
    ones = candles.between(0, 60_000, start, start + 240_000, start + 300_000)
    assert five.ohlc == (ones[0].ohlc[0], max(c.ohlc[1] for c in ones), min(c.ohlc[2] for c in ones), ones[-1].ohlc[3])
    assert (five.lots, five.quote, five.trades) == tuple(sum(getattr(c, name) for c in ones) for name in ("lots", "quote", "trades"))


def test_the_kline_under_way_knows_no_trade_of_later(bars):
    tape = Tape(bars, seed=1)
    trades = [row for row in tape.row(10).rows() if row[0] == 0]
    now = trades[2][4]
    candle = Candles(tape).between(0, 60_000, int(bars.ts[10]), now, now)[0]
    assert (candle.trades, candle.lots, candle.ohlc[3]) == (3, sum(t[3] for t in trades[:3]), trades[2][2])


NUMBERS = [(5, 0, "5"), (5, 3, "0.005"), (12_345, 2, "123.45"), (-7, 1, "-0.7"), (10**15 + 1, 8, "10000000.00000001")]


@pytest.mark.parametrize(("units", "decimals", "text"), NUMBERS)
def test_numbers_become_decimal_text_without_rounding(units, decimals, text):
    assert text_of(units, decimals) == text
    assert Decimal(text) == Decimal(units).scaleb(-decimals)


def test_prices_that_were_stored_as_float32_keep_their_decimals():
    assert decimals_of(np.array([19.863, 19.8771], dtype=np.float32).astype(np.float64), "price") == 4


def test_a_price_with_endless_decimals_is_refused():
    with pytest.raises(QualityError, match="price of X: has more than 8 decimals"):
        decimals_of(np.array([1 / 3]), "price of X")


@pytest.mark.real_data
def test_a_day_of_the_archive_is_played_exactly(shared_data):
    bars, date = kline_bars(shared_data / "klines" / "perp_1m_2025-05", 4, "2025-05-06", 1)
    tape = Tape(bars, seed=3)
    assert date == "2025-05-06"
    for row in range(0, len(bars.ts), 97):
        for n, values in aggregated(tape, row).items():
            assert values == (*bars.ticks[:, row, n].tolist(), int(bars.lots[row, n]))
    with pytest.raises(ConfigError, match="is no day of"):
        kline_bars(shared_data / "klines" / "perp_1m_2025-05", 4, "2020-01-01", 1)
