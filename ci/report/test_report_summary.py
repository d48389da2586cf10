"""summary.json and the hash of the trades."""

from __future__ import annotations

import hashlib
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report import fake

from dolphin.report import Run, build_run, trades_hash
from dolphin.report.hashing import canonical
from dolphin.report.summary import plain

CONTRACT = [
    "schema", "version", "git", "profile", "config_hash", "data", "universe", "bar_seconds", "days", "skipped_days", "bars", "trades",
    "win_rate", "roi", "profit_factor", "sharpe", "max_drawdown", "honest", "by_reason", "by_asset", "by_bucket", "exposure", "acb_mode",
    "flags", "trades_hash", "seconds",
]  # fmt: skip
SAME = {"trades", "win_rate", "roi", "profit_factor", "sharpe", "max_drawdown"}


def test_the_summary_has_the_keys_others_rely_on(run: Run):
    """The keys of interface.md in their order, then ``detail``; honest repeats the headline figures."""
    assert list(run.summary) == [*CONTRACT, "detail"]
    assert run.summary["schema"] == "dolphin.summary/1"
    assert set(run.summary["honest"]) == SAME
    assert run.summary["data"][0].keys() == {"file", "sha256"}
    for group in run.summary["by_reason"].values():
        assert group.keys() == {"trades", "champion", "honest"}
        assert group["champion"].keys() == group["honest"].keys() == {"win_rate", "pnl", "mean_bps"}


def test_champion_never_stands_alone(run: Run):
    """Wherever a figure of the champion ledger is, the honest one is beside it."""

    def walk(value: object) -> None:
        if isinstance(value, dict):
            assert ("champion" in value) == ("honest" in value) or "roi" in value
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(run.summary)


def test_a_run_without_trades_has_a_summary():
    """Null where there is nothing to compute, zero where zero is the answer."""
    bars = fake.market(days=1, assets=3)
    summary = build_run(fake.context(bars), [], bars).summary
    assert summary["trades"] == 0
    assert summary["win_rate"] is summary["honest"]["win_rate"] is summary["profit_factor"] is None
    assert summary["roi"] == summary["honest"]["roi"] == 0.0
    assert summary["by_asset"] == {}
    assert summary["detail"]["costs"]["honest"]["net_bps"] is None
    json.dumps(summary, allow_nan=False)


def test_the_open_position_counts_in_both_returns(run: Run):
    """roi is taken from marked equity, so it differs from the closed trades' sum while a position is open."""
    assert run.summary["detail"]["open_position"] is not None
    assert run.summary["roi"] == run.curves.champion[-1] / 25_000 - 1
    assert run.summary["honest"]["roi"] == run.curves.honest[-1] / 25_000 - 1
    assert run.curves.champion[-1] != run.trades["capital_after"][-1]


def test_missing_minutes_and_refusals_are_kept(month: Run):
    """Two outages of 150 and 285 minutes, by day."""
    lost = {q["date"]: q["missing_minutes"] for q in month.summary["detail"]["quality"] if q["missing"]}
    assert lost == {"2021-04-20": 150, "2021-04-25": 285}
    assert month.summary["detail"]["refusals"]["NO_SIGNAL"] == 24_210


def test_effective_settings_carry_their_origin(run: Run):
    """A flag shows as flag, everything else as default."""
    origin = {row["name"]: row["origin"] for row in run.summary["detail"]["config"]}
    assert origin["engine.seed"] == "flag"
    assert origin["engine.max_leverage"] == "default"


def test_the_hash_is_pinned():
    """Ten significant digits, -0 as 0, NaN as nan; one row by hand."""
    trade = dict.fromkeys(fake.TRADE_FIELDS, 0) | {"asset": "AUSDT", "reason": "FIXED_TP", "date": "2021-04-02", "dc": "NEUTRAL"}
    trade |= {"mc_status": "OFF", "posture": "APEX", "ars": float("nan"), "net_pnl": -0.0, "entry_price": 1 / 3, "exit_ts": 2**53 + 1}
    row = "0 2021-04-02 AUSDT 0 0 0 0 9007199254740993 0.3333333333 0 0 0 0 0 0 0 0 NEUTRAL 0 nan FIXED_TP 0 0 0 0 0 0 0 0 0 OFF APEX"
    assert trades_hash([trade]) == hashlib.sha256((row.replace(" ", "\t") + "\n").encode()).hexdigest()
    assert trades_hash([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_hash_ignores_key_order_and_last_digit_noise(run: Run):
    """Shuffled keys, numpy scalars and noise of 1e-12 on values of nine digits leave it alone."""
    rows = fake.records(run)
    kinds = {name: type(value) for name, value in rows[0].items()}
    short = [{name: float(f"{v:.9g}") if kinds[name] is float else v for name, v in row.items()} for row in rows]
    chance = random.Random(5)
    noisy = []
    for row in short:
        items = [(name, np.float64(v * (1 + 1e-12 * chance.uniform(-1, 1))) if kinds[name] is float else v) for name, v in row.items()]
        chance.shuffle(items)
        noisy.append(dict(items))
    assert trades_hash(noisy) == trades_hash(short)
    assert run.summary["trades_hash"] == trades_hash(rows)


@pytest.mark.parametrize("field", ["asset", "entry_bar", "net_pnl", "reason", "honest_ret", "trade_id"])
def test_the_hash_sees_every_change(run: Run, field: str):
    """A changed string, integer or tenth digit gives another hash."""
    rows = fake.records(run)
    value = rows[3][field]
    rows[3][field] = value + "X" if isinstance(value, str) else value + 1 if isinstance(value, int) else value * (1 + 1e-8)
    assert trades_hash(rows) != run.summary["trades_hash"]


@settings(deadline=None)
@given(value=st.floats(min_value=-1e300, max_value=1e300))
def test_canonical_text_is_a_fixed_point(value: float):
    """Reading canonical text back and writing it again changes nothing, and no zero has a sign."""
    text = canonical(value, "f")
    assert canonical(float(text), "f") == text
    assert text != "-0"


def test_plain_turns_numpy_into_json_values():
    """Scalars, tuples and non-finite values."""
    assert plain({"a": np.float64("nan"), 1: (np.int64(2), float("inf"), np.bool_(True), "x", None)}) == {
        "a": None,
        "1": [2, None, True, "x", None],
    }
