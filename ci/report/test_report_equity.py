"""Equity bar by bar, against hand-computed marks and against its laws."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report import fake

from dolphin.config import load_profile
from dolphin.errors import QualityError, SchemaError
from dolphin.report import Bars, Run, mark_to_market
from dolphin.report.inputs import trade_columns
from dolphin.report.metrics import drawdown

NAN = float("nan")


def small(prices: list[float], direction: int = -1, left: int | None = 3) -> tuple[Bars, list[dict[str, object]], dict[str, object]]:
    """One asset, a position of 5000 USDT (fraction 0.1, leverage 2) from bar 1, closed at bar ``left`` for a loss of 10 in both ledgers."""
    ts = fake.START_MS + 60_000 * np.arange(1, len(prices) + 1)
    bars = Bars(ts_ms=ts, names=("AUSDT",), closes=np.array(prices)[:, None], vel_div=np.zeros(len(prices)))
    position = {
        "trade_id": 0, "asset": "AUSDT", "direction": direction, "entry_bar": 1, "entry_ts": int(ts[1]), "entry_price": prices[1],
        "notional": 5000.0, "leverage": 2.0, "fraction": 0.1, "bucket": 1, "vel_div": -0.03, "strength": 0.5, "confidence": 0.7,
        "dc": "NEUTRAL", "irp_alignment": 0.5, "ars": 1.0, "boost": 1.0, "beta": 0.0, "mc_status": "OFF", "posture": "APEX",
    }  # fmt: skip
    closed = position | {
        "exit_bar": left, "exit_ts": int(ts[min(left or 0, len(ts) - 1)]), "exit_price": 100.0, "reason": "MAX_HOLD", "bars_held": 2,
        "gross_pnl": 0.0, "fees": 10.0, "net_pnl": -10.0, "capital_after": 24_990.0, "honest_ret": -0.002,
        "honest_capital_after": 24_990.0, "date": "2021-04-02",
    }  # fmt: skip
    return bars, [closed] if left is not None else [], position


def test_marks_of_a_short_equal_hand_computed_values():
    """SHORT from 100 at 99: champion 5000*((100 - 99*1.0002)/100 - 6.64 bps), honest 25000*(1 + 0.2*ret)."""
    bars, trades, _ = small([100, 100, 99, 98, 97])
    curves = mark_to_market(trade_columns(trades), bars, fake.ENGINE)
    champion = 25_000 + 5000 * ((100 - 99 * 1.0002) / 100 - 6.64e-4)
    honest_ret = -(99 * 1.0002 - 100 * 0.9998) / (100 * 0.9998) - 0.001
    assert curves.champion == pytest.approx([25_000, 25_000 + 5000 * (-0.0002 - 6.64e-4), champion, 24_990, 24_990], rel=1e-14)
    assert curves.honest[2:] == pytest.approx([25_000 * (1 + 0.2 * honest_ret), 24_990, 24_990], rel=1e-14)
    assert curves.exposure == pytest.approx([0, -0.2, -0.2, 0, 0])


def test_a_long_gains_when_the_price_rises():
    """LONG from 100 at 101, still open: both ledgers above start, exposure positive."""
    bars, trades, position = small([100, 100, 101], direction=1, left=None)
    curves = mark_to_market(trade_columns(trades), bars, fake.ENGINE, position)
    assert curves.champion[2] == pytest.approx(25_000 + 5000 * ((101 * 0.9998 - 100) / 100 - 6.64e-4))
    assert curves.honest[2] == pytest.approx(25_000 * (1 + 0.2 * ((101 * 0.9998 - 100.02) / 100.02 - 0.001)))
    assert curves.exposure[1:] == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("hole", [NAN, 0.0, -1.0, float("inf")])
def test_a_bar_without_price_is_marked_at_the_last_known_one(hole: float):
    """No price keeps the mark of the bar before, up to the entry price itself."""
    bars, _, position = small([100, 100, 99, hole, hole], left=None)
    marks = mark_to_market(trade_columns([]), bars, fake.ENGINE, position)
    assert marks.champion[3] == marks.champion[4] == marks.champion[2]
    assert marks.honest[4] == marks.honest[2] != marks.honest[1]


def test_the_honest_mark_follows_its_configured_costs():
    """Twice the taker fee costs 2 * 5 bps of the stake more."""
    bars, _, position = small([100, 100, 99], left=None)
    cheap = mark_to_market(trade_columns([]), bars, fake.ENGINE, position)
    dear = mark_to_market(trade_columns([]), bars, load_profile(honest_taker_fee=0.001), position)
    assert cheap.honest[2] - dear.honest[2] == pytest.approx(25_000 * 0.2 * 0.001)
    assert dear.champion == pytest.approx(cheap.champion)


def test_an_exit_after_the_last_bar_shows_on_the_last_bar():
    """A halt on a day without bars is recorded one bar behind the end."""
    bars, trades, _ = small([100, 100, 99], left=3)
    curves = mark_to_market(trade_columns(trades), bars, fake.ENGINE)
    assert curves.champion[-1] == 24_990
    assert curves.exposure[-1] == 0


def test_a_position_over_midnight_is_marked_on_both_days(run: Run):
    """Exposure does not fall to zero at midnight while a trade holds over it."""
    over = [t for t in fake.records(run) if t["entry_bar"] < 1440 <= t["exit_bar"]]
    assert over, "the fake run holds over midnight"
    assert np.all(run.curves.exposure[over[0]["entry_bar"] : over[0]["exit_bar"]] == -over[0]["fraction"] * over[0]["leverage"])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**20), direction=st.sampled_from([-1, 1]), hold=st.integers(1, 200))
def test_the_curves_end_at_the_ledgers(seed: int, direction: int, hold: int):
    """Without an open position: champion end = start + sum of net, honest end = the last honest capital; drawdown in [0, 1]."""
    bars = fake.market(days=1, assets=4, seed=seed)
    trades, _ = fake.trades(bars, direction=direction, seed=seed, hold=hold)
    curves = mark_to_market(trade_columns(trades), bars, fake.ENGINE)
    assert curves.champion[-1] == pytest.approx(25_000 + sum(t["net_pnl"] for t in trades), rel=1e-12)
    assert curves.honest[-1] == (trades[-1]["honest_capital_after"] if trades else 25_000)
    flat = curves.exposure == 0
    assert set(curves.champion[flat]) <= {25_000, *(t["capital_after"] for t in trades)}
    for equity in (curves.champion, curves.honest):
        fall = drawdown(equity, 25_000)
        assert np.all((fall >= 0) & (fall <= 1))


@settings(deadline=None, max_examples=15)
@given(cut=st.integers(1, 1440))
def test_dropping_future_bars_changes_no_past_value(cut: int):
    """The curves of the first ``cut`` bars are the first ``cut`` values of the whole, bit for bit."""
    bars = fake.market(days=1, assets=4, seed=3)
    trades, left_open = fake.trades(bars)
    whole = mark_to_market(trade_columns(trades), bars, fake.ENGINE, left_open)
    done = [t for t in trades if t["exit_bar"] < cut]
    running = [t for t in [*trades, *([left_open] if left_open else [])] if t["entry_bar"] < cut <= t.get("exit_bar", cut)]
    head = Bars(ts_ms=bars.ts_ms[:cut], names=bars.names, closes=bars.closes[:cut], vel_div=bars.vel_div[:cut])
    part = mark_to_market(trade_columns(done), head, fake.ENGINE, running[0] if running else None)
    for name in ("champion", "honest", "exposure"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[:cut])


def test_a_month_with_600_trades_is_marked_within_50_ms():
    """43,200 bars and 600 trades: processor time, best of five."""
    bars = fake.market(days=30, assets=30)
    trades = trade_columns(fake.trades(bars, hold=60)[0][:600])
    assert len(trades["asset"]) == 600
    took = []
    for _ in range(5):
        begin = time.process_time()
        mark_to_market(trades, bars, fake.ENGINE)
        took.append(time.process_time() - begin)
    assert min(took) < 0.050


def test_no_bars_give_no_curve():
    """An empty run is legal."""
    none = Bars(ts_ms=np.empty(0, dtype=np.int64), names=(), closes=np.empty((0, 0)), vel_div=np.empty(0))
    assert len(mark_to_market(trade_columns([]), none, fake.ENGINE).champion) == 0


def test_bad_input_is_refused_with_its_place():
    """Unknown asset, bar outside, overlap, missing or extra field, times that do not rise: each named."""
    bars, trades, position = small([100, 100, 99, 98])
    with pytest.raises(SchemaError, match="XUSDT, row 0: a traded asset without closes"):
        mark_to_market(trade_columns([{**trades[0], "asset": "XUSDT"}]), bars, fake.ENGINE)
    with pytest.raises(QualityError, match="column entry_bar, row 0: bar 7 outside the run's 4 bars"):
        mark_to_market(trade_columns([{**trades[0], "entry_bar": 7, "exit_bar": 9}]), bars, fake.ENGINE)
    with pytest.raises(QualityError, match="column entry_bar, row 1: trade enters before"):
        trade_columns([trades[0], trades[0]])
    with pytest.raises(QualityError, match="column exit_bar, row 0: trade leaves before"):
        trade_columns([{**trades[0], "exit_bar": 0}])
    with pytest.raises(SchemaError, match="column surprise, row 0"):
        trade_columns([{**trades[0], "surprise": 1}])
    with pytest.raises(SchemaError, match="column fees, row 0"):
        trade_columns([{k: v for k, v in trades[0].items() if k != "fees"}])
    with pytest.raises(SchemaError, match="column leverage: open position without this field"):
        mark_to_market(trade_columns([]), bars, fake.ENGINE, {k: v for k, v in position.items() if k != "leverage"})
    with pytest.raises(QualityError, match="column ts_ms, row 2: time does not rise"):
        Bars(ts_ms=np.array([5, 6, 6]), names=(), closes=np.empty((3, 0)), vel_div=np.zeros(3))
    with pytest.raises(QualityError, match="column ts_ms, row 0: time is unknown"):
        Bars(ts_ms=np.array([0, 6]), names=(), closes=np.empty((2, 0)), vel_div=np.zeros(2))
    with pytest.raises(SchemaError, match=r"column closes: shape \(3, 1\), expected \(3, 0\)"):
        Bars(ts_ms=np.array([5, 6, 7]), names=(), closes=np.empty((3, 1)), vel_div=np.zeros(3))
