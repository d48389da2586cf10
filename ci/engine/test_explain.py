"""An explanation ends where the engine ends, at every bar, with the loop's own numbers; a wrong one is refused."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from builders import RandomBook, day

from dolphin import NDAlphaEngine, load_profile
from dolphin.engine import explain
from dolphin.engine.explain import ANSWERS, explain_row
from dolphin.errors import CheckFailed
from dolphin.kernels.irp import compute_ars_nb, compute_irp_nb
from dolphin.types import AssetVerdict, ExitReason, Refusal

MARKETS = {
    "short": {},
    "long": {"direction": 1},
    "book": {"book": RandomBook(1)},
    "velocity exits": {"vd_enabled": True, "tf_enabled": True},
    "returns": {"irp_units": "return"},
    "bitcoin alone": {"use_asset_selection": False},
    "no confirmation": {"use_direction_confirm": False, "lookback": 5, "max_hold_bars": 10},
    "long memory": {"dc_lookback": 49, "min_irp_alignment": 0.1, "dc_leverage_boost": 1.5, "stop_loss_pct": 0.004},
}


def days(bars=300, missing=0.05):
    """Two days; on the second an asset is gone and another has come."""
    first, second = day(seed=3, bars=bars, missing=missing), day(seed=3, bars=bars, missing=missing, day_index=1)
    return first, dataclasses.replace(second, assets=("NEWUSDT", *second.assets[1:]))


def explained(engine, rows, ob=None, direction=-1, posture="APEX", date="2025-01-01"):
    engine.begin_day(date, direction, posture)
    engine.set_universe(rows.assets)
    found = [explain_row(engine, rows, row, ob=ob) for row in range(len(rows.vel_div))]
    return found, engine.end_day()


@pytest.mark.parametrize("case", MARKETS)
def test_every_bar_of_two_days_ends_where_day_mode_ends(case):
    """Codes, exits and entries are those of ``process_rows``, which never saw an explanation; every figure is checked by the call."""
    changes = dict(MARKETS[case])
    book, direction = changes.pop("book", None), changes.pop("direction", -1)
    engine, plain = NDAlphaEngine(load_profile(**changes)), NDAlphaEngine(load_profile(**changes))
    for each in (engine, plain):
        each.set_ob_engine(book)
    for k, rows in enumerate(days()):
        date = f"2025-01-0{k + 1}"
        found, result = explained(engine, rows, book, direction, date=date)
        assert str(result) == str(plain.process_rows(date, rows, direction=direction))
        codes = Counter(x.code for x in found)
        assert {name: n for name, n in codes.items() if name != "NONE"} == result["refusals"]
        assert str([x.exit for x in found if x.exit]) == str(result["trades"])
        assert [x.bar for x in found] == list(range(300 * k, 300 * (k + 1)))
    assert len(plain.trades) > 2
    assert engine.snapshot() == plain.snapshot()


def test_a_refusal_has_one_deciding_question_and_an_entry_none():
    """First reason, and no other: before it everything passed, after it nothing was asked."""
    engine, seen = NDAlphaEngine(load_profile()), set()
    for x in explained(engine, days()[0])[0]:
        answers = [check.answer for check in x.checks]
        assert answers == sorted(answers, key=ANSWERS.index)
        decided = [check.code for check in x.checks if check.answer == "decided"]
        expected = [] if x.code == "NONE" else [x.exit_reason] if x.exit else [x.code]
        assert decided == expected
        seen.add(x.code)
    assert seen >= {"NONE", "IN_POSITION", "EXIT_THIS_BAR", "WARMING_UP", "VOL_REGIME", "NO_SIGNAL", "DC_CONTRADICT"}


def test_numbers_of_a_ranking_are_the_kernels_and_every_asset_has_one_verdict():
    """Profile and score of each asset by the public kernels from its last 50 valid prices; the chosen one leads those that passed."""
    engine, rows = NDAlphaEngine(load_profile()), days()[0]
    verdicts = Counter()
    for x in explained(engine, rows)[0]:
        verdicts.update(c.verdict for c in x.candidates)
        assert len({c.asset for c in x.candidates}) == len(x.candidates) in (0, 12)
        passed = [c for c in x.candidates if c.verdict in ("CHOSEN", "OUTRANKED")]
        assert [c.verdict for c in passed[:1]] == (["CHOSEN"] if passed else [])
        for c in x.candidates:
            prices = rows.closes[: x.row + 1, rows.assets.index(c.asset)]
            prices = prices[(prices > 0) & (prices < math.inf)][-50:]
            if c.verdict == "NO_PRICE" or len(prices) < 50:
                continue
            assert (c.mfe, c.mae, c.efficiency, c.alignment, c.noise, c.latency) == compute_irp_nb(prices, c.action)
            assert math.isnan(c.ars) or c.ars == compute_ars_nb(c.efficiency, c.alignment, c.noise)
    assert set(verdicts) >= {"CHOSEN", "OUTRANKED", "NO_PRICE", "OTHER_WAY", "ALIGNMENT", "LATENCY"}


def market(closes, signal):
    """A day from explicit closes float64[n, 2] and vel_div."""
    rows = day(bars=len(closes), assets=2)
    return dataclasses.replace(rows, closes=closes, vel_div=signal, v50=np.zeros(len(closes)), v750=np.zeros(len(closes)))


def falling(bars=200, entry=150):
    """Two assets, the second falls steadily, one strong SHORT signal at ``entry``."""
    steady = 10 * np.exp(-0.0004 * np.arange(bars))
    signal = np.full(bars, 0.001)
    signal[entry] = -0.04
    return market(np.column_stack([np.full(bars, 5.0), steady]), signal)


@pytest.mark.parametrize(
    ("reason", "changes", "jump"),
    [
        ("FIXED_TP", {}, 0.98),
        ("STOP_LOSS", {"stop_loss_pct": 0.02}, 1.03),
        ("VD_ADVERSE", {"vd_enabled": True}, 1.0),
        ("MAX_HOLD", {"max_hold_bars": 20}, 1.0),
        ("STALE_PRICE", {}, math.nan),
        ("SUBDAY_ACB_NORMALIZATION", {}, 1.0),
        ("HIBERNATE_HALT", {}, 1.0),
        ("TF_EXHAUST", {"tf_enabled": True}, 0.999),
        ("TF_FLIP", {"tf_enabled": True}, 1.001),
    ],
)
def test_each_exit_reason_is_found_with_its_value_and_limit(reason, changes, jump):
    """The market, the breaker or the posture is made to close the position; the question that closed it carries that reason."""
    rows = falling()
    rows.closes[152:, 1] = rows.closes[151, 1] * jump
    rows.vel_div[152:160] = 0.03 if reason == "VD_ADVERSE" else 0.001
    rows.v50[150] = -0.04
    rows.v50[151:] = -0.04 if not reason.startswith("TF") else 0.0 if reason == "TF_EXHAUST" else 0.03
    rows.v50[151] = -0.04
    engine = NDAlphaEngine(load_profile(**changes))
    engine.begin_day("2025-01-01")
    engine.set_universe(rows.assets)
    engine.update_acb_boost(1.3, 0.0)
    closed = None
    for row in range(200):
        if row == 153 and reason == "SUBDAY_ACB_NORMALIZATION":
            engine.update_acb_boost(1.0, 0.0)
        if row == 153 and reason == "HIBERNATE_HALT":
            engine.update_posture("HIBERNATE")
        x = explain_row(engine, rows, row)
        closed = closed or (x if x.exit else None)
    assert closed is not None
    assert closed.exit_reason == closed.exit["reason"] == reason
    decided = [check for check in closed.checks if check.answer == "decided"]
    assert [check.code for check in decided] == [reason]
    assert closed.position["asset"] == rows.assets[1]


def test_every_refusal_and_verdict_that_a_day_can_give_is_given_and_agreed():
    """Halts, an empty account, a young engine, a book against: each code comes up in some day."""
    seen, verdicts = Counter(), Counter()

    def add(found):
        seen.update(x.code for x in found)
        verdicts.update(c.verdict for x in found for c in x.candidates)

    rows = days()[0]
    add(explained(NDAlphaEngine(load_profile()), rows)[0])
    add(explained(NDAlphaEngine(load_profile()), rows, posture="TURTLE")[0])
    add(explained(NDAlphaEngine(load_profile(lookback=10)), rows)[0])
    for seed in range(3):
        engine = NDAlphaEngine(load_profile())
        engine.set_ob_engine(RandomBook(seed))
        add(explained(engine, rows, RandomBook(seed))[0])
    poor = NDAlphaEngine(load_profile())
    poor._state["capital"] = 0.0
    add(explained(poor, rows)[0])
    loud = dataclasses.replace(rows, closes=rows.closes * np.array([1e6] + [1.0] * 11))
    add(explained(NDAlphaEngine(load_profile()), loud)[0])
    add(explained(NDAlphaEngine(load_profile(min_irp_alignment=0.9)), rows)[0])
    stale = falling(300)
    stale.closes[152:170, 1], stale.vel_div[180] = math.nan, -0.04
    add(explained(NDAlphaEngine(load_profile()), stale)[0])
    assert set(seen) == {code.name for code in Refusal}
    assert set(verdicts) == set(AssetVerdict)


def test_an_explanation_that_the_engine_contradicts_is_refused(monkeypatch):
    """A gate, an exit rule and a size that differ from the loop's each raise ``CheckFailed`` naming the bar."""
    rows = falling()
    with monkeypatch.context() as patch:
        patch.setattr(explain, "gate_nb", lambda *values: int(Refusal.NO_SIGNAL))
        with pytest.raises(CheckFailed, match="bar 0: explained as NO_SIGNAL, exit NONE; the engine says WARMING_UP"):
            explained(NDAlphaEngine(load_profile()), rows)
    with monkeypatch.context() as patch:
        patch.setattr(explain, "exit_reason_nb", lambda *values: int(ExitReason.MAX_HOLD))
        with pytest.raises(CheckFailed, match="bar 151: explained as EXIT_THIS_BAR, exit MAX_HOLD; the engine says IN_POSITION"):
            explained(NDAlphaEngine(load_profile()), rows)
    real = explain.size
    with monkeypatch.context() as patch:
        patch.setattr(explain, "size", lambda *values: dataclasses.replace(real(*values), notional=1.0))
        with pytest.raises(CheckFailed, match=r"bar 150: explained with notional 1\.0, the engine entered with"):
            explained(NDAlphaEngine(load_profile()), rows)


def test_a_wrong_book_is_noticed():
    """An engine with a book, explained without it, does not pass as explained."""
    engine = NDAlphaEngine(load_profile())
    engine.set_ob_engine(RandomBook(1))
    with pytest.raises(CheckFailed, match="the engine"):
        explained(engine, days()[0], None)


def test_a_volatility_regime_that_is_given_is_the_one_shown():
    """``vol_ok`` False refuses at once, True opens before the day's hundredth row."""
    engine, rows = NDAlphaEngine(load_profile(lookback=10)), falling()
    engine.begin_day("2025-01-01")
    engine.set_universe(rows.assets)
    for row in range(60):
        x = explain_row(engine, rows, row, vol_ok=row % 2 == 0)
    assert x.code == "VOL_REGIME"
    assert [(c.value, c.limit) for c in x.checks if c.code == "VOL_REGIME"] == [(0, 1)]
