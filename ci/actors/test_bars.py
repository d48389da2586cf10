"""Bars of single names put together: when a tick is complete, what is dropped, what is missing, and the scan of the result."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import START_MS, names
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.objects import Price, Quantity

from actors.bars import BarAssembler
from dolphin.errors import QualityError
from dolphin.scanner.scan import Scanner

NAMES = ("BTCUSDT", "ETHUSDT", "ADAUSDT")
MINUTE = 60_000_000_000
ONE = Quantity.from_int(1)


def bar(name, minute, close=100.0, off=0):
    """The bar of ``name`` that closes ``minute`` minutes (and ``off`` ns) after the start."""
    ts, price = START_MS * 1_000_000 + minute * MINUTE + off, Price(close, 4)
    return Bar(BarType.from_str(f"{name}-PERP.BINANCE-1-MINUTE-LAST-EXTERNAL"), price, price, price, price, ONE, ts, ts)


def feed(assembler, *bars):
    return [snapshot for one in bars for snapshot in assembler.add(one)]


def test_a_tick_is_complete_when_every_name_has_come_in_any_order():
    assembler = BarAssembler(NAMES, 60)
    assert feed(assembler, bar("ADAUSDT", 1, 3.0), bar("BTCUSDT", 1, 1.0)) == []
    (tick,) = feed(assembler, bar("ETHUSDT", 1, 2.0))
    assert tick.closes.tolist() == [1.0, 2.0, 3.0]
    assert tick.ts_event == tick.ts_init == START_MS * 1_000_000 + MINUTE
    assert tick.assets is assembler._universe
    assert math.isnan(tick.vel_div)


def test_a_bar_of_a_later_tick_completes_the_one_before_with_its_holes():
    assembler = BarAssembler(NAMES, 60)
    (tick,) = feed(assembler, bar("BTCUSDT", 1, 1.0), bar("BTCUSDT", 2, 5.0))
    assert np.array_equal(tick.closes, [1.0, np.nan, np.nan], equal_nan=True)
    (tick,) = feed(assembler, bar("ETHUSDT", 2, 6.0), bar("ADAUSDT", 2, 7.0))
    assert tick.closes.tolist() == [5.0, 6.0, 7.0]


def test_a_lone_name_hands_out_two_ticks_at_once_never_one_twice():
    assembler = BarAssembler(("BTCUSDT",), 60)
    ticks = feed(assembler, bar("BTCUSDT", 1), bar("BTCUSDT", 2), bar("BTCUSDT", 7))
    assert [(t.ts_event - START_MS * 1_000_000) // MINUTE for t in ticks] == [1, 2, 7]
    wide = BarAssembler(NAMES[:2], 60)
    assert len(feed(wide, bar("BTCUSDT", 1))) == 0
    assert len(feed(wide, bar("BTCUSDT", 2), bar("ETHUSDT", 2))) == 2


def test_late_and_repeated_bars_are_dropped_and_counted():
    assembler = BarAssembler(NAMES[:2], 60)
    feed(assembler, bar("BTCUSDT", 5, 1.0), bar("ETHUSDT", 5, 2.0))
    assert feed(assembler, bar("BTCUSDT", 5, 9.0), bar("ETHUSDT", 4, 9.0)) == []
    assert assembler.late == 2
    feed(assembler, bar("BTCUSDT", 6, 1.1))
    assert feed(assembler, bar("BTCUSDT", 6, 9.0), bar("ETHUSDT", 5, 9.0)) == []
    assert assembler.late == 4
    (tick,) = feed(assembler, bar("ETHUSDT", 6, 2.2))
    assert tick.closes.tolist() == [1.1, 2.2]
    feed(assembler, bar("BTCUSDT", 8, 1.3))
    assert feed(assembler, bar("ETHUSDT", 7, 9.0)) == []
    assert assembler.late == 5
    (tick,) = feed(assembler, bar("ETHUSDT", 8, 2.4))
    assert tick.closes.tolist() == [1.3, 2.4]


def test_a_name_outside_the_universe_is_nobodys_business():
    assembler = BarAssembler(NAMES[:1], 60)
    assert feed(assembler, bar("XRPUSDT", 1)) == []
    assert assembler.late == 0


@pytest.mark.parametrize("off", [-1_000_000, 0, 1_000_000], ids=["a millisecond early", "on the minute", "late"])
def test_ticks_are_scanned_under_their_bar_number_with_gaps_and_holes(off):
    """The signal is the scanner's for the same closes under the bar's number ``open // interval``, whatever the venue calls its close."""
    rng = np.random.default_rng(3)
    minutes, universe = [m for m in range(1, 1020) if m % 97 or m > 300], names(12)
    closes = (100.0 * np.exp(np.cumsum(rng.normal(0, 1e-3, (len(minutes), 12)), axis=0))).round(4)
    closes[:, 1:][rng.random((len(minutes), 11)) < 0.02] = np.nan
    assembler, scanner = BarAssembler(universe, 60), Scanner(12)
    bars = [bar(n, m, row[j], off) for m, row in zip(minutes, closes, strict=True) for j, n in enumerate(universe) if row[j] == row[j]]
    ticks = feed(assembler, *bars)
    assert len(ticks) >= len(minutes) - 1
    finite = 0
    for tick, minute, row in zip(ticks, minutes, closes, strict=False):
        scan = scanner.push(row, START_MS // 60_000 + minute - 1)
        expected = scan.vel_div, scan.velocity[0], scan.velocity[-1]
        assert np.array_equal([tick.vel_div, tick.v50, tick.v750], expected, equal_nan=True)
        finite += math.isfinite(tick.vel_div)
    assert finite > 200


def test_bars_of_a_shorter_interval_than_configured_are_refused():
    assembler = BarAssembler(NAMES[:1], 300)
    with pytest.raises(QualityError, match="bar"):
        feed(assembler, bar("BTCUSDT", 1), bar("BTCUSDT", 2), bar("BTCUSDT", 3))
