"""Recorded trades: hourly files that a crash cannot halve, and bars made again from them, only where the record proves them whole."""

from __future__ import annotations

import numpy as np
import pytest
from trade_tapes import oracle_bars, tape

from dolphin.errors import DataError, MalformedFile, QualityError
from dolphin.storage.klines import KlineStore, write_klines
from dolphin.storage.schema import day_start
from dolphin.storage.trade_record import TradeRecord, read_trades, recorded_bars, recorded_days

DATE = "2025-01-02"
START = day_start(DATE)
HOUR = 3_600_000
NAMES = ("AAUSDT", "BBUSDT")


@pytest.fixture
def tapes():
    """Three hours from 22:30 of the day before on."""
    return {name: tape(k, START - HOUR // 2, 3 * HOUR, 9_000.0) for k, name in enumerate(NAMES)}


def recorded(folder, tapes, cut=lambda symbol, trade: True, minutes=7):
    record, rows = TradeRecord(folder), sorted((t.ts_ms, s, t) for s, trades in tapes.items() for t in trades)
    due = rows[0][0] + minutes * 60_000
    for ts_ms, symbol, trade in rows:
        if ts_ms >= due:
            record.flush(ts_ms)
            due += minutes * 60_000
        if cut(symbol, trade):
            record.add(symbol, trade)
    record.flush(rows[-1][0])
    return folder


def test_what_was_recorded_is_read_again_by_day(tmp_path, tapes):
    recorded(tmp_path, tapes)
    assert recorded_days(tmp_path) == ["2025-01-01", DATE]
    for symbol, trades in tapes.items():
        assert read_trades(tmp_path, DATE)[symbol] == [t for t in trades if t.ts_ms >= START]


def test_an_hour_that_is_over_is_one_file_and_the_one_in_progress_is_in_parts(tmp_path, tapes):
    recorded(tmp_path, tapes)
    names = sorted(path.name for path in (tmp_path / DATE).iterdir())
    assert names[:2] == ["00.parquet", "01.parquet"]
    assert names[2:] == [f"02-{k:04d}.parquet" for k in range(1, len(names) - 1)]
    assert len(names) > 4


def test_bars_made_again_are_the_oracles_where_the_record_proves_them(tmp_path, tapes):
    bars = recorded_bars(recorded(tmp_path, tapes), DATE, 60, NAMES)
    assert bars.closes.shape == (1440, 2)
    for place, symbol in enumerate(NAMES):
        last = tapes[symbol][-1].ts_ms // 60_000 - START // 60_000
        wanted = oracle_bars(tapes[symbol], 60_000, START // 60_000 - 30, last + 30, 12)[30:]
        blocks = (bars.opens, bars.highs, bars.lows, bars.closes, bars.volumes)
        np.testing.assert_array_equal(np.array([b[: len(wanted), place] for b in blocks]).T, np.array([bar[:5] for bar in wanted]))
        assert np.isnan(bars.closes[last:, place]).all()


def test_a_trade_that_is_not_recorded_leaves_a_hole_in_the_bars_and_no_guess(tmp_path, tapes):
    lost = tapes["AAUSDT"][600]
    bars = recorded_bars(recorded(tmp_path, tapes, lambda s, t: t != lost), DATE, 60, NAMES)
    whole = recorded_bars(recorded(tmp_path / "whole", tapes), DATE, 60, NAMES)
    row = (lost.ts_ms - START) // 60_000
    differs = np.flatnonzero(np.isnan(bars.closes[:, 0]) & ~np.isnan(whole.closes[:, 0]))
    assert row in differs
    assert len(differs) <= 3
    np.testing.assert_array_equal(bars.closes[:, 1], whole.closes[:, 1])


def test_recorded_bars_are_klines_that_a_store_reads(tmp_path, tapes):
    bars = recorded_bars(recorded(tmp_path, tapes), DATE, 60, NAMES)
    write_klines(tmp_path / "klines", bars)
    day = KlineStore(tmp_path / "klines").load(DATE)
    there = ~np.isnan(bars.closes).all(axis=1)
    np.testing.assert_array_equal(day.closes, bars.closes[there])
    assert day.ts.tolist() == bars.ts[there].tolist()


def test_a_trade_that_is_recorded_twice_counts_once(tmp_path, tapes):
    recorded(tmp_path, tapes)
    recorded(tmp_path, tapes)
    assert read_trades(tmp_path, DATE)["AAUSDT"] == [t for t in tapes["AAUSDT"] if t.ts_ms >= START]


def test_a_day_without_a_record_is_refused_with_the_setting_that_keeps_one(tmp_path):
    with pytest.raises(QualityError, match=r"no trades of 2025-01-02 are recorded.*feed\.record"):
        recorded_bars(tmp_path, DATE, 60, NAMES)


def test_a_damaged_file_is_refused(tmp_path, tapes):
    recorded(tmp_path, tapes)
    path = tmp_path / DATE / "00.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"00\.parquet"):
        read_trades(tmp_path, DATE)
    path.write_bytes(b"PAR1")
    with pytest.raises(MalformedFile, match=r"00\.parquet"):
        read_trades(tmp_path, DATE)
