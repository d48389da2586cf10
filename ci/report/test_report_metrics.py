"""Figures against hand-computed values, at their edges, and against laws."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report import fake

from dolphin.report import Run, build_run, metrics
from dolphin.report.costs import cost_table
from dolphin.report.inputs import DAY_MS, trade_columns

DAY0 = fake.START_MS // DAY_MS


def columns(nets: list[float], honest: list[float] | None = None, start: float = 1000.0):
    """Trades with the given profits, champion and honest, on 100 USDT each."""
    honest = nets if honest is None else honest
    template = fake.trades(fake.market(1, 4))[0][0]
    rows, capital, honest_capital = [], start, start
    for k, (net, other) in enumerate(zip(nets, honest, strict=True)):
        capital, honest_capital = capital + net, honest_capital + other
        values = {
            "notional": 100.0,
            "net_pnl": net,
            "capital_after": capital,
            "honest_ret": other / 100,
            "honest_capital_after": honest_capital,
        }
        rows.append({**template, "entry_bar": 2 * k, "exit_bar": 2 * k + 1, **values})
    return trade_columns(rows)


def test_headline_figures_equal_hand_computed_values():
    """Profits +30, -10, +20, -20 on 1000: win rate 1/2, factor 50/30; equity 1000 1100 990 1089: drawdown 10 %."""
    trades, equity, day = columns([30, -10, 20, -20]), np.array([1000.0, 1100.0, 990.0, 1089.0]), np.array([0, 1, 2, 3])
    figures = metrics.figures(trades, "champion", equity, day, 1000.0)
    returns = np.array([0.0, 0.1, -0.1, 0.1])
    assert figures["trades"] == 4
    assert figures["win_rate"] == 0.5
    assert figures["profit_factor"] == pytest.approx(5 / 3)
    assert figures["roi"] == pytest.approx(0.089)
    assert figures["max_drawdown"] == pytest.approx(0.1)
    assert figures["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(365))


def test_further_figures_equal_hand_computed_values():
    """The same trades on 100 USDT each: +3000, -1000, +2000, -2000 bps."""
    more = metrics.trade_figures(columns([30, -10, -5, 20]), "honest", np.array([1000.0, 900, 950, 1001]), np.array([0, 0, 1, 1]), 1000.0)
    assert more["mean_trade_bps"] == pytest.approx(875)
    assert more["median_trade_bps"] == pytest.approx(750)
    assert (more["mean_win_bps"], more["mean_loss_bps"]) == (pytest.approx(2500), pytest.approx(-750))
    assert (more["best_trade_bps"], more["worst_trade_bps"]) == (pytest.approx(3000), pytest.approx(-1000))
    assert (more["longest_losing_streak"], more["longest_drawdown_bars"]) == (2, 2)
    assert more["end_equity"] == 1001
    returns = np.array([-0.1, 1001 / 900 - 1])
    assert more["volatility"] == pytest.approx(returns.std(ddof=1) * math.sqrt(365))


def test_what_cannot_be_computed_is_null():
    """No trade; one day; no variance; no losing trade; ruin: None, and never NaN or infinite."""
    empty = metrics.figures(columns([]), "honest", np.full(3, 1000.0), np.array([0, 1, 2]), 1000.0)
    assert empty == {"trades": 0, "win_rate": None, "roi": 0.0, "profit_factor": None, "sharpe": None, "max_drawdown": 0.0}
    one_day = metrics.figures(columns([5]), "honest", np.array([1000.0, 1005.0]), np.array([0, 0]), 1000.0)
    assert one_day["sharpe"] is None
    assert one_day["profit_factor"] is None
    steady = metrics.figures(columns([5]), "champion", 1000 * 1.01 ** np.arange(1, 5), np.arange(4), 1000.0)
    assert steady["sharpe"] is None
    ruin = metrics.figures(columns([-1500]), "champion", np.array([-500.0, -400.0]), np.array([0, 1]), 1000.0)
    assert ruin["sharpe"] is None
    assert ruin["max_drawdown"] == 1.0
    assert metrics.figures(columns([]), "champion", np.empty(0), np.empty(0, dtype=np.int64), 1000.0)["roi"] == 0.0
    assert metrics.trade_figures(columns([]), "champion", np.empty(0), np.empty(0, dtype=np.int64), 1000.0)["mean_trade_bps"] is None


def test_a_bar_closing_at_midnight_belongs_to_the_day_it_opened():
    """1440 one-minute bars from 00:00 are one day, the last of them closing at 00:00 of the next."""
    bars = fake.market(days=1)
    assert set(bars.day) == {DAY0}
    assert bars.ts_ms[-1] % DAY_MS == 0


def test_daily_and_monthly_rows_add_up(month: Run):
    """Daily profits sum to the whole, in each ledger; months chain the days; trades are counted once."""
    days, months = month.summary["detail"]["daily"], month.summary["detail"]["monthly"]
    for ledger, equity in (("champion", month.curves.champion), ("honest", month.curves.honest)):
        assert sum(d[ledger]["pnl"] for d in days) == pytest.approx(equity[-1] - 25_000)
        assert sum(m[ledger]["pnl"] for m in months) == pytest.approx(equity[-1] - 25_000)
        assert math.prod(1 + d[ledger]["return"] for d in days) == pytest.approx(math.prod(1 + m[ledger]["return"] for m in months))
        assert days[-1][ledger]["equity"] == equity[-1]
        assert max(d[ledger]["drawdown"] for d in days) == pytest.approx(metrics.drawdown(equity, 25_000).max())
    assert sum(d["trades"] for d in days) == sum(m["trades"] for m in months) == month.summary["trades"]
    assert sum(d["bars"] for d in days) == month.summary["bars"]
    assert [m["month"] for m in months] == ["2021-04", "2021-05"]


def test_groups_add_up(month: Run):
    """Every grouping holds every trade once and sums to the same profit in each ledger."""
    detail = month.summary["detail"]
    net = {"champion": month.trades["net_pnl"].sum(), "honest": month.trades["honest_capital_after"][-1] - 25_000}
    for groups in (
        month.summary["by_reason"],
        month.summary["by_asset"],
        month.summary["by_bucket"],
        detail["by_hour"],
        detail["by_direction"],
    ):
        assert sum(g["trades"] for g in groups.values()) == month.summary["trades"]
        for ledger, total in net.items():
            assert sum(g[ledger]["pnl"] for g in groups.values()) == pytest.approx(total)


def test_exposure_figures_equal_hand_computed_values():
    """Four bars: flat, short half, long one, flat."""
    figures = metrics.exposure_figures(np.array([0.0, -0.5, 1.0, 0.0]))
    assert figures == {"in_position": 0.5, "long": 0.25, "short": 0.25, "mean": 0.375, "mean_open": 0.75, "max": 1.0}
    assert metrics.exposure_figures(np.zeros(3))["mean_open"] is None


def test_the_specified_short_splits_into_its_costs():
    """SHORT 100 -> 99.05, notional 5000, maker credit at entry only 0.62 > .374540 but .950714 and .731994 miss: net 44.1895."""
    template = fake.trades(fake.market(1, 4))[0][0]
    honest_ret = -(99.05 * 1.0002 - 100 * 0.9998) / (100 * 0.9998) - 0.001
    trade = {
        **template, "direction": -1, "entry_price": 100.0, "exit_price": 99.05 * 1.0002, "notional": 5000.0, "fraction": 0.1,
        "leverage": 2.0, "reason": "FIXED_TP", "gross_pnl": 47.5095, "fees": 3.32, "net_pnl": 44.1895, "capital_after": 25_044.1895,
        "honest_ret": honest_ret, "honest_capital_after": 25_000 * (1 + 0.2 * honest_ret),
    }  # fmt: skip
    costs = cost_table(trade_columns([trade]), fake.ENGINE)
    champion = {"price_move": 47.5, "slippage": -0.9905, "credits": 1.0, "fees": -3.32, "funding": 0.0, "net": 44.1895, "volume": 10_000}
    assert {k: costs["champion"][k] for k in champion} == pytest.approx(champion, abs=1e-9)
    assert costs["champion"]["net_bps"] == pytest.approx(88.379)
    assert costs["honest"]["price_move"] == pytest.approx(47.5)
    assert costs["honest"]["fees"] == pytest.approx(-5.0)
    assert costs["honest"]["funding"] == pytest.approx(0.0, abs=1e-9)
    assert costs["honest"]["net"] == pytest.approx(5000 * honest_ret)


def test_funding_is_what_costs_do_not_explain():
    """10 bps of the stake received: funding +10 bps; with the flag funding_missing it may not be called funding."""
    template = fake.trades(fake.market(1, 4))[0][0]
    honest_ret = -(99 * 1.0002 - 100 * 0.9998) / (100 * 0.9998) - 0.001 + 0.001
    values = {"direction": -1, "entry_price": 100.0, "exit_price": 99 * 1.0002, "fraction": 0.1, "leverage": 2.0, "reason": "MAX_HOLD"}
    trade = template | values | {"honest_ret": honest_ret, "honest_capital_after": 25_000 * (1 + 0.2 * honest_ret)}
    assert cost_table(trade_columns([trade]), fake.ENGINE)["honest"]["funding"] == pytest.approx(5.0)
    assert cost_table(trade_columns([trade]), fake.ENGINE, ["funding_missing"])["honest"]["funding"] == 0.0


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**20), direction=st.sampled_from([-1, 1]))
def test_cost_parts_sum_to_the_net_and_nothing_is_nan(seed: int, direction: int):
    """In each ledger; and the whole summary is JSON without NaN."""
    bars = fake.market(days=1, assets=4, seed=seed)
    trades, left_open = fake.trades(bars, direction=direction, seed=seed)
    run = build_run(fake.context(bars, left_open, direction=direction), trades, bars)
    for table in run.summary["detail"]["costs"].values():
        parts = sum(table[name] for name in ("price_move", "slippage", "credits", "fees", "funding"))
        assert parts == pytest.approx(table["net"], abs=1e-7)
    assert json.loads(json.dumps(run.summary, allow_nan=False)) == run.summary


def test_champion_credits_come_to_about_four_basis_points(month: Run):
    """0.62*2 + 0.5*2 + 0.4*5 = 4.24 bps in expectation: the note on the page says +4.2."""
    assert month.summary["detail"]["costs"]["champion"]["credits_bps"] == pytest.approx(4.24, abs=0.6)
