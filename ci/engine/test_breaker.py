"""Circuit breaker: acceptance values, strict comparisons, thresholds that never read a later day, OB-4."""

from __future__ import annotations

import math

import numpy as np
import oracle_safety as oracle
import pytest
from builders import RandomBook, day
from hypothesis import given, settings
from hypothesis import strategies as st

from dolphin import NDAlphaEngine, load_profile
from dolphin.engine.breaker import AdaptiveCircuitBreaker, Factors, base_boost, book_beta_factor, count_signals, day_factors, score
from dolphin.errors import ConfigError, QualityError

DATES = [f"2025-01-{d:02d}" for d in range(1, 29)]
CALM = (0.0001, 50.0, 50.0, 1.0)
NAN = math.nan
EDGES = st.one_of(
    st.sampled_from([-0.0001, 0.0, 80.0, 55.0, 0.8, 0.9, 25.0, 40.0, NAN, math.inf, -math.inf]), st.floats(-0.001, 0.001), st.floats(0, 120)
)
MEDIANS = st.lists(st.one_of(st.floats(-1e-3, 1e-3), st.just(NAN)), min_size=1, max_size=len(DATES))


class Book:
    """A book at one regime with these withdrawal velocities by asset; asked times are kept."""

    def __init__(self, regime, velocity):
        self.regime, self.velocity, self.asked = regime, velocity, []

    def get_macro(self, ts_ms):
        self.asked.append(ts_ms)
        return None if self.regime is None else {"regime_signal": self.regime}

    def get_signal(self, asset, ts_ms):
        value = self.velocity.get(asset)
        return None if value is None else {"withdrawal_velocity": value}


def breaker(medians, **kwargs):
    return AdaptiveCircuitBreaker(dict.fromkeys(DATES, CALM), dict(zip(DATES, medians, strict=False)), **kwargs)


# --------------------------------------------------------------------------------------------------- signals, boost


@pytest.mark.parametrize(
    ("factors", "signals", "boost"),
    [
        ((-0.0002, 85, 20, 0.75), 4.0, 1.804719),
        ((0, 50, 20, 1.0), 0.0, 1.0),
        ((-0.0001, 55, 25, 0.8), 1.5, 1.458145),
        ((0, 55.1, 24.9, 1.0), 1.5, 1.458145),
        ((0, 50, 100, 0.79), 1.0, 1.346574),
        ((-0.00011, 50, 39.9, 0.95), 1.5, 1.458145),
        ((NAN, 85, NAN, math.inf), 1.0, 1.346574),
        ((NAN, NAN, 10, NAN), 0.0, 1.0),
    ],
)
def test_acceptance_values(factors, signals, boost):
    """Strict comparisons; unconfirmed fear counts nothing; what is unknown gives no signal."""
    assert count_signals(*factors) == signals
    assert base_boost(count_signals(*factors)) == pytest.approx(boost, abs=5e-7)


@pytest.mark.parametrize(("signals", "wanted"), [(0.5, 1.0), (1, 1.347), (2, 1.549), (3, 1.693), (NAN, 1.0), (math.inf, 1.0), (-1, 1.0)])
def test_the_boost_begins_at_one_signal(signals, wanted):
    """1 + 0.5*log1p(signals) from 1 on."""
    assert base_boost(signals) == pytest.approx(wanted, abs=5e-4)


@settings(max_examples=500, deadline=None)
@given(factors=st.tuples(EDGES, EDGES, EDGES, EDGES))
def test_signals_equal_the_oracle(factors):
    """Any factors, at and beside the limits; NaN and inf give no signal."""
    plain = [f if math.isfinite(f) else bad for f, bad in zip(factors, (1.0, 0.0, 100.0, 2.0), strict=True)]
    assert count_signals(*factors) == oracle.signals(*plain)
    assert set(score(Factors(*factors))) <= {0.0, 0.5, 1.0}


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(EDGES, EDGES, EDGES, EDGES), min_size=0, max_size=15))
def test_factors_are_medians_of_the_first_ten_scans(rows):
    """Finite values only, each factor by itself; scan 11 and later change nothing."""
    block = np.array(rows).reshape(-1, 4)
    np.testing.assert_array_equal(day_factors(block), oracle.factors(block))
    np.testing.assert_array_equal(day_factors(block), day_factors(np.vstack([block[:10], np.full((int(len(block) >= 10), 4), 7.0)])))


def test_another_shape_of_indicators_is_refused():
    """Four columns in the order of ``Factors``."""
    with pytest.raises(QualityError, match=r"\[3, 5\], wanted \[n_scans, 4\]"):
        day_factors(np.zeros((3, 5)))


# ------------------------------------------------------------------------------------------------------ threshold


@settings(max_examples=300, deadline=None)
@given(medians=MEDIANS, mode=st.sampled_from(["as_of", "full_sample"]))
def test_thresholds_equal_the_oracle(medians, mode):
    """60th percentile, linear; days without a median do not count."""
    acb = breaker(medians, mode=mode)
    for date in DATES:
        wanted = oracle.threshold(dict(zip(DATES, medians, strict=False)), date, mode)
        assert acb.threshold(date) == pytest.approx(wanted, rel=1e-12, abs=1e-18, nan_ok=True)


@settings(max_examples=200, deadline=None)
@given(medians=MEDIANS, cut=st.integers(0, len(DATES)))
def test_as_of_never_reads_a_later_day(medians, cut):
    """Dropping all days from ``cut`` on changes no threshold up to it and no answer before it."""
    whole, short = breaker(medians), breaker(medians[:cut])
    for i, date in enumerate(DATES[: cut + 1]):
        np.testing.assert_equal(short.threshold(date), whole.threshold(date))
        if i < cut:
            np.testing.assert_equal(short.get_dynamic_boost_for_date(date), whole.get_dynamic_boost_for_date(date))


def test_full_sample_looks_ahead_and_says_so():
    """The same day under both modes; only full_sample moves when the future does."""
    past = [0.0, 1.0, 2.0, 3.0, 4.0, 2.5]
    as_of, full = breaker([*past, 9.0, 9.0]), breaker([*past, 9.0, 9.0], mode="full_sample")
    assert as_of.get_dynamic_boost_for_date(DATES[5])["beta"] == 0.8
    assert full.get_dynamic_boost_for_date(DATES[5])["beta"] == 0.2
    assert (as_of.flags, full.flags) == ((), ("acb_full_sample",))
    assert full.get_dynamic_boost_for_date(DATES[5])["mode"] == "full_sample"


def test_fewer_than_five_earlier_days_give_the_low_beta():
    """Day 5 has four earlier ones, day 6 five."""
    acb = breaker([0.0, 0.0, 0.0, 0.0, 9.0, 9.0])
    days = [acb.get_dynamic_boost_for_date(d) for d in DATES[:6]]
    assert [d["beta"] for d in days] == [0.2] * 5 + [0.8]
    assert math.isnan(days[4]["w750_threshold"])
    assert days[5]["w750_threshold"] == 0.0


def test_at_the_threshold_beta_is_high():
    """Not below is enough."""
    assert breaker([1.0] * 6).get_dynamic_boost_for_date(DATES[5])["beta"] == 0.8


# --------------------------------------------------------------------------------------------------------- answers


def test_the_answer_has_the_specified_names():
    """{boost, beta, signals, factors, w750_vel, w750_threshold, mode}."""
    acb = AdaptiveCircuitBreaker({DATES[5]: (-0.0002, 85, 20, 0.75)}, dict(zip(DATES, [0, 1, 2, 3, 4, 2.5], strict=False)))
    answer = acb.get_dynamic_boost_for_date(DATES[5])
    assert list(answer) == ["boost", "beta", "signals", "factors", "w750_vel", "w750_threshold", "mode"]
    assert answer["boost"] == pytest.approx(1.804719, abs=1e-6)
    assert answer["factors"] == {"funding_btc": -0.0002, "dvol_btc": 85.0, "fng": 20.0, "taker": 0.75}
    assert (answer["beta"], answer["signals"], answer["w750_vel"]) == (0.8, 4.0, 2.5)
    assert answer["w750_threshold"] == pytest.approx(2.4)
    assert acb.warnings == []


def test_a_missing_date_is_neutral_and_leaves_one_warning(capsys):
    """Boost 1.0, beta 0.2 whatever the book says; recorded once, printed never."""
    acb = breaker([1.0] * 6, assets=("A",))
    for _ in range(2):
        answer = acb.get_dynamic_boost_for_date("2024-06-01", Book(1, {"A": -0.5}))
    assert (answer["boost"], answer["beta"], answer["signals"]) == (1.0, 0.2, 0.0)
    assert acb.warnings == ["2024-06-01: no indicators and no eigenvalue velocities: boost 1, beta 0.2"]
    assert capsys.readouterr() == ("", "")


def test_a_day_that_is_half_known_names_the_missing_half():
    """Each half keeps its own default."""
    acb = AdaptiveCircuitBreaker({DATES[7]: (-0.0002, 85, 20, 0.75), DATES[6]: (NAN,) * 4}, dict.fromkeys(DATES[:7], 1.0))
    no_velocity, no_factors = (acb.get_dynamic_boost_for_date(d) for d in (DATES[7], DATES[6]))
    assert (no_velocity["boost"] > 1.8, no_velocity["beta"]) == (True, 0.2)
    assert (no_factors["boost"], no_factors["beta"]) == (1.0, 0.8)
    assert acb.warnings == [f"{DATES[7]}: no eigenvalue velocities: beta 0.2", f"{DATES[6]}: no indicators: boost 1"]


def test_a_day_can_be_told_in_pieces():
    """The running day: factors first, velocities later, and the newer value counts."""
    acb = breaker([1.0] * 5)
    acb.set_day(DATES[5], factors=(-0.0002, 85, 20, 0.75))
    assert acb.get_dynamic_boost_for_date(DATES[5])["beta"] == 0.2
    acb.set_day(DATES[5], w750_vel=0.5)
    acb.set_day(DATES[5], w750_vel=2.0)
    answer = acb.get_dynamic_boost_for_date(DATES[5])
    assert (answer["beta"], answer["signals"], acb.threshold(DATES[6])) == (0.8, 4.0, 1.0)


@pytest.mark.parametrize("date", ["2025-1-1", "2025-02-30", "20250101", "2025-W01-1", "", None])
def test_what_is_no_date_is_refused(date):
    """At the door and when asked."""
    with pytest.raises(QualityError, match="is not a date"):
        AdaptiveCircuitBreaker({}, {}).set_day(date)
    with pytest.raises(QualityError, match="is not a date"):
        AdaptiveCircuitBreaker({}, {}).get_dynamic_boost_for_date(date)


def test_an_unknown_mode_is_refused():
    """Only the two that exist."""
    with pytest.raises(ConfigError, match=r"mode = 'future': expected as_of or full_sample"):
        AdaptiveCircuitBreaker({}, {}, mode="future")


# ------------------------------------------------------------------------------------------------------------ OB-4


@pytest.mark.parametrize(
    ("regime", "velocity", "wanted"),
    [
        (1, {"A": -0.5, "B": -0.3, "C": 0.1, "D": 0.0}, 1.125),
        (1, dict.fromkeys("ABCD", -0.21), 1.25),
        (1, dict.fromkeys("ABCD", -0.20), 1.0),
        (1, {"A": -0.5}, 1.0625),
        (1, {"A": NAN, "B": None}, 1.0),
        (0, dict.fromkeys("ABCD", -0.5), 1.0),
        (-1, dict.fromkeys("ABCD", -0.5), 1.0),
        (None, dict.fromkeys("ABCD", -0.5), 1.0),
    ],
)
def test_ob4_scales_beta_by_the_share_of_thinning_books(regime, velocity, wanted):
    """Only in regime 1; an unknown asset does not withdraw; the book is read as of the start of the day unless told."""
    book = Book(regime, velocity)
    assert book_beta_factor(book, "ABCD", 0) == wanted
    acb = breaker([1.0] * 6, assets="ABCD")
    assert acb.get_dynamic_boost_for_date(DATES[5], book)["beta"] == pytest.approx(0.8 * wanted)
    acb.get_dynamic_boost_for_date(DATES[5], book, ts_ms=5)
    assert book.asked == [0, 1_736_121_600_000, 5]


def test_without_book_or_universe_beta_stays():
    """None and an empty universe are neutral."""
    assert book_beta_factor(None, "ABCD", 0) == book_beta_factor(Book(1, {}), (), 0) == 1.0


def test_a_universe_by_date_is_that_days_own():
    """A later listing does not dilute an earlier day's share; a day without a universe is not scaled."""
    book = Book(1, dict.fromkeys("AB", -0.5))
    acb = breaker([1.0] * 8, assets={DATES[5]: "AB", DATES[6]: "ABCD"})
    betas = [acb.get_dynamic_boost_for_date(date, book)["beta"] for date in DATES[5:8]]
    assert betas == pytest.approx([0.8 * 1.25, 0.8 * 1.125, 0.8])


def test_the_engine_takes_boost_and_beta_of_the_day():
    """Attached to the loop: the day's result shows what the breaker said, a book included."""
    engine, book, rows = NDAlphaEngine(load_profile()), RandomBook(3), day(bars=150)
    acb = AdaptiveCircuitBreaker(dict.fromkeys(DATES, (-0.0002, 85, 20, 0.75)), dict.fromkeys(DATES, 1.0), assets=rows.assets)
    engine.set_acb(acb)
    engine.set_ob_engine(book)
    result = engine.process_rows(DATES[9], rows)
    wanted = acb.get_dynamic_boost_for_date(DATES[9], book)
    assert (result["boost"], result["beta"]) == (wanted["boost"], wanted["beta"])
    assert result["boost"] == pytest.approx(1.804719, abs=1e-6)
    assert 0.8 <= result["beta"] <= 1.0
