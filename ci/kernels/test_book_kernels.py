"""Book features against the plain oracle, the prefix property, laws, and snapshots that must be refused."""

from __future__ import annotations

import math

import numpy as np
import oracle_book as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolphin.kernels.book_features import BOOK_STATE, MACRO, RING, check_snapshot_nb, macro_nb, update_book_nb, update_books_nb
from dolphin.kernels.book_sides import apply_changes_nb, check_changes_nb, top_levels_nb
from dolphin.kernels.order_book import adjust_confidence_nb, market_multiplier_nb
from dolphin.kernels.synthetic_book import autoregress_nb
from dolphin.types import BOOK_FEATURES, BookVerdict

F = {name: k for k, name in enumerate(BOOK_FEATURES)}


def new_state(n=1):
    return np.zeros(n, dtype=BOOK_STATE)


def book(rng, levels=20, mid=100.0, step=1.5e-4, thin=1.0):
    """A valid snapshot; with large steps the far levels lie beyond 20 bps."""
    bids = mid * (1 - np.cumsum(rng.uniform(0.2, 1, levels)) * step)
    asks = mid * (1 + np.cumsum(rng.uniform(0.2, 1, levels)) * step)
    sizes = np.exp(rng.normal(0, 1, (2, levels))) * thin
    return np.stack([bids, sizes[0]], axis=1), np.stack([asks, sizes[1]], axis=1)


def tape(seed, n, step_ms, gap=0.0):
    """Snapshots with wandering mid and depth; now and then a gap of seconds to minutes."""
    rng = np.random.default_rng(seed)
    ts, mid, thin, out = 1_000_000, 100.0, 0.0, []
    for _ in range(n):
        ts += int(step_ms * rng.uniform(0.8, 1.2)) + (int(rng.integers(1, 700_000)) if rng.random() < gap else 0)
        mid *= 1 + rng.normal(0, 5e-4)
        thin = 0.95 * thin + rng.normal(0, 0.15)
        out.append((ts, *book(rng, int(rng.integers(1, 25)), mid, thin=math.exp(thin), step=rng.choice([1e-4, 1e-3, 5e-3]))))
    return out


def run(snapshots):
    state, rows = new_state(), []
    for ts, bids, asks in snapshots:
        assert update_book_nb(state, 0, ts, bids, asks) == 0
        rows.append(state[0]["features"].copy())
    return state, np.array(rows)


@pytest.mark.parametrize(
    ("n", "step_ms", "gap"), [(1500, 500, 0.0), (400, 500, 0.02), (400, 3_000, 0.05), (1600, 60, 0.001), (300, 20_000, 0.0)]
)
def test_every_feature_equals_the_oracle_at_every_snapshot(n, step_ms, gap):
    """Ten minutes at 500 ms and beyond, gaps, slow feeds, and one so fast that the ring ends the window."""
    plain = oracle.OracleBook(RING)
    state = new_state()
    for k, (ts, bids, asks) in enumerate(tape(n + step_ms, n, step_ms, gap)):
        assert update_book_nb(state, 0, ts, bids, asks) == 0
        assert plain.update(ts, bids.tolist(), asks.tolist()) == "OK"
        if k < 100 or k % 7 == 0 or k > n - 50:
            np.testing.assert_allclose(state[0]["features"], plain.features(), rtol=1e-11, atol=1e-9, err_msg=f"snapshot {k}")


def test_the_sorted_window_stays_the_multiset_of_the_ring():
    """Equal depths and every order of values leave and enter without a trace."""
    rng = np.random.default_rng(3)
    state, depths = new_state(), []
    for k in range(3_000):
        size = float(rng.integers(1, 4))
        bids, asks = np.array([[99.99, size]]), np.array([[100.01, size]])
        update_book_nb(state, 0, 1 + 500 * k, bids, asks)
        depths.append(state[0]["features"][F["depth"]])
    s = state[0]
    assert s["n"] - s["first"] == 1200
    np.testing.assert_array_equal(s["ordered"][:1200], np.sort(depths[-1200:]))


def test_dropping_future_snapshots_changes_no_past_feature():
    """Prefix property, bit for bit."""
    snapshots = tape(5, 400, 500, 0.01)
    whole = run(snapshots)[1]
    for stop in (1, 5, 59, 61, 250):
        np.testing.assert_array_equal(run(snapshots[:stop])[1], whole[:stop])


def test_features_by_hand():
    """Depth counts within 20 bps inclusive and 20 levels; the first snapshot knows no past."""
    bids = np.array([[99.9, 10.0], [99.8, 5.0], [99.7, 1000.0]])
    asks = np.array([[100.1, 4.0], [100.3, 1000.0]])
    state = new_state()
    assert update_book_nb(state, 0, 1, bids, asks) == 0
    f = dict(zip(BOOK_FEATURES, state[0]["features"].tolist(), strict=True))
    bid_depth, ask_depth = 99.9 * 10 + 99.8 * 5, 100.1 * 4
    assert f["imbalance"] == pytest.approx((bid_depth - ask_depth) / (bid_depth + ask_depth))
    assert f["imbalance_ma5"] == f["imbalance"]
    assert (f["imbalance_persistence"], f["depth_quality"], f["mid"]) == (1.0, 1.0, 100.0)
    assert f["spread_bps"] == pytest.approx(20.0)
    assert f["fill_buy"] == pytest.approx(0.62 - 0.30 * f["imbalance"] - 0.02 * 19)
    assert f["fill_sell"] == pytest.approx(min(0.95, 0.62 + 0.30 * f["imbalance"] - 0.02 * 19))
    assert math.isnan(f["withdrawal_velocity"])
    assert math.isnan(f["mid_move_bps"])


def test_a_spread_wider_than_the_reach_has_no_depth_and_no_imbalance():
    """Both depths 0 -> imbalance 0; its quality is unknown, not infinite."""
    state = new_state()
    for k in range(80):
        assert update_book_nb(state, 0, 1 + k * 500, np.array([[90.0, 1.0]]), np.array([[110.0, 1.0]])) == 0
    f = state[0]["features"]
    assert f[F["imbalance"]] == f[F["imbalance_ma5"]] == f[F["depth"]] == 0.0
    assert f[F["imbalance_persistence"]] == 1.0
    assert math.isnan(f[F["depth_quality"]])
    assert math.isnan(f[F["withdrawal_velocity"]])


BAD = {
    "no bids": (lambda b, a: (b[:0], a), "EMPTY"),
    "no asks": (lambda b, a: (b, a[:0]), "EMPTY"),
    "NaN size": (lambda b, a: (put(b, 3, 1, math.nan), a), "NOT_FINITE"),
    "NaN price": (lambda b, a: (b, put(a, 0, 0, math.nan)), "NOT_FINITE"),
    "infinite price": (lambda b, a: (b, put(a, 19, 0, math.inf)), "NOT_FINITE"),
    "infinite size": (lambda b, a: (put(b, 0, 1, math.inf), a), "NOT_FINITE"),
    "notional overflows": (lambda b, a: (put(b, 0, 1, 1e308), a), "NOT_FINITE"),
    "negative size": (lambda b, a: (b, put(a, 5, 1, -1.0)), "BAD_SIZE"),
    "size zero": (lambda b, a: (put(b, 0, 1, 0.0), a), "BAD_SIZE"),
    "negative price": (lambda b, a: (put(b, 19, 0, -1.0), a), "BAD_SIZE"),
    "price twice": (lambda b, a: (put(b, 4, 0, b[3, 0]), a), "DUPLICATE"),
    "worst first": (lambda b, a: (b[::-1].copy(), a), "UNORDERED"),
    "asks disordered": (lambda b, a: (b, put(a, 4, 0, a[2, 0])), "UNORDERED"),
    "crossed": (lambda b, a: (put(b, 0, 0, a[1, 0]), a), "CROSSED"),
    "locked": (lambda b, a: (put(b, 0, 0, a[0, 0]), a), "CROSSED"),
}


def put(levels, row, column, value):
    changed = levels.copy()
    changed[row, column] = value
    return changed


@pytest.mark.parametrize(("spoil", "why"), BAD.values(), ids=BAD)
def test_a_bad_snapshot_is_named_and_changes_nothing(spoil, why):
    """The last good one stays, to the bit; the next good one goes on."""
    snapshots = tape(7, 30, 500)
    snapshots = [(ts, *book(np.random.default_rng(k))) for k, (ts, _, _) in enumerate(snapshots)]
    clean, _ = run(snapshots)
    state, _ = run(snapshots[:-1])
    before = state.tobytes()
    ts, bids, asks = snapshots[-1]
    bids, asks = (np.ascontiguousarray(x) for x in spoil(bids, asks))
    assert BookVerdict(update_book_nb(state, 0, ts, bids, asks)).name == why
    assert state.tobytes() == before
    assert update_book_nb(state, 0, ts, *snapshots[-1][1:]) == 0
    assert state.tobytes() == clean.tobytes()


def test_a_snapshot_that_is_not_later_is_out_of_order():
    """Equal or earlier times change nothing."""
    state, _ = run(tape(1, 5, 500))
    before, rng = state.tobytes(), np.random.default_rng(0)
    for ts in (int(state[0]["ts"]), int(state[0]["ts"]) - 1, 0, -5):
        assert update_book_nb(state, 0, ts, *book(rng)) == BookVerdict.OUT_OF_ORDER
    assert state.tobytes() == before


LEVEL = st.tuples(
    st.sampled_from([99.0, 99.5, 100.0, 100.5, -1.0, 0.0, math.nan, math.inf]), st.sampled_from([1.0, 2.0, 0.0, -1.0, math.nan])
)


@settings(max_examples=300, deadline=None)
@given(bids=st.lists(LEVEL, max_size=4), asks=st.lists(LEVEL, max_size=4))
def test_the_verdict_equals_the_oracle_on_any_levels(bids, asks):
    """Nothing slips through and nothing good is refused."""
    arrays = [np.array(levels, dtype=float).reshape(-1, 2) for levels in (bids, asks)]
    assert BookVerdict(check_snapshot_nb(*arrays)).name == oracle.verdict(bids, asks)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), step_ms=st.sampled_from([100, 500, 4_000]), gap=st.sampled_from([0.0, 0.1]))
def test_features_stay_in_their_bounds(seed, step_ms, gap):
    """Imbalances in [-1, 1], persistence in [0, 1], quality in [0, 3], fill in [0.05, 0.95], withdrawal >= -1."""
    rows = run(tape(seed, 150, step_ms, gap))[1]
    for name, low, high in (("imbalance", -1, 1), ("imbalance_ma5", -1, 1), ("imbalance_persistence", 0, 1), ("fill_buy", 0.05, 0.95),
                            ("fill_sell", 0.05, 0.95)):  # fmt: skip
        assert ((rows[:, F[name]] >= low) & (rows[:, F[name]] <= high)).all(), name
    for name, low, high in (("depth_quality", 0, 3), ("withdrawal_velocity", -1, math.inf)):
        values = rows[:, F[name]][np.isfinite(rows[:, F[name]])]
        assert ((values >= low) & (values <= high)).all(), name


def test_swapping_the_sides_turns_the_sign():
    """A mirrored book has the opposite imbalance, the same depth, and buy and sell change places."""
    rng = np.random.default_rng(2)
    left, right = new_state(), new_state()
    for k in range(100):
        away, sizes = np.cumsum(rng.uniform(0.01, 0.02, 10)), np.exp(rng.normal(0, 1, (2, 10)))
        down, up = 1 - away / 100, 1 + away / 100
        update_book_nb(left, 0, 1 + 500 * k, np.stack([down, sizes[0] / down], 1), np.stack([up, sizes[1] / up], 1))
        update_book_nb(right, 0, 1 + 500 * k, np.stack([down, sizes[1] / down], 1), np.stack([up, sizes[0] / up], 1))
    f, g = left[0]["features"], right[0]["features"]
    assert f[F["imbalance_ma5"]] == pytest.approx(-g[F["imbalance_ma5"]])
    assert f[F["fill_buy"]] == pytest.approx(g[F["fill_sell"]])
    for name in ("depth", "withdrawal_velocity", "depth_quality", "imbalance_persistence"):
        assert f[F[name]] == pytest.approx(g[F[name]])


def test_many_assets_at_once_equal_one_by_one():
    """Assets do not touch each other; one without a snapshot this time keeps what it had."""
    rng = np.random.default_rng(4)
    n, many, single = 7, new_state(7), new_state(7)
    levels, verdicts = np.zeros((n, 2, 20, 2)), np.zeros(n, dtype=np.int64)
    for k in range(60):
        held = rng.integers(1, 21, (n, 2))
        ts = np.where(rng.random(n) < 0.2, 0, 1_000 + 500 * k)
        for i in range(n):
            sides = book(rng, 20)
            levels[i, 0], levels[i, 1] = sides
            if ts[i]:
                update_book_nb(single, i, ts[i], sides[0][: held[i, 0]].copy(), sides[1][: held[i, 1]].copy())
        update_books_nb(many, ts, levels, held, verdicts)
        assert not verdicts.any()
    assert many.tobytes() == single.tobytes()


@pytest.mark.parametrize("seed", range(30))
def test_macro_equals_the_oracle(seed):
    """Shares and medians over the fresh assets, NaN where nothing is known."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 40))
    features = rng.normal(0, 0.4, (n, len(BOOK_FEATURES)))
    features[:, F["depth_quality"]] = rng.uniform(0.5, 1.6, n)
    features[:, F["mid_move_bps"]] = rng.normal(0, 40, n)
    features[rng.random(features.shape) < rng.choice([0.0, 0.1, 0.9])] = math.nan
    if seed % 3 == 0:
        features[:, F["withdrawal_velocity"]] = rng.uniform(-0.01, 0.1, n)
    now = 1_000_000
    ts = now - rng.choice([0, 400, 5_000, 5_001, 90_000, -1, now], n, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    out = np.empty(len(MACRO))
    macro_nb(features, ts.astype(np.int64), now, np.empty(n), out)
    np.testing.assert_allclose(out, oracle.macro(features, ts, now), rtol=1e-12)


def test_macro_at_its_thresholds():
    """40 % of the assets below -0.20 is a withdrawing market, calm needs both medians; a cascade needs all three signs."""
    n, ts, now = 5, np.full(5, 1_000, dtype=np.int64), 1_000
    quiet = np.zeros((n, len(BOOK_FEATURES)))
    quiet[:, F["depth_quality"]] = 1.0

    def macro(**columns):
        features, out = quiet.copy(), np.empty(len(MACRO))
        for name, values in columns.items():
            features[:, F[name]] = values
        macro_nb(features, ts, now, np.empty(n), out)
        return dict(zip(MACRO, out.tolist(), strict=True))

    assert macro()["regime_signal"] == -1
    assert macro(depth_quality=0.99)["regime_signal"] == 0
    assert macro(withdrawal_velocity=-0.02)["regime_signal"] == 0
    assert macro(withdrawal_velocity=[-0.3, -0.3, 0, 0, 0])["regime_signal"] == 1
    assert macro(withdrawal_velocity=[-0.3, -0.2, 0, 0, 0])["regime_signal"] == -1
    fall = {"withdrawal_velocity": [-0.5, -0.5, -0.5, -0.4, -0.5], "imbalance_ma5": [-0.4, 0.4, -0.3, -0.4, -0.4]}
    assert macro(**fall, mid_move_bps=[-30, 30, -30, -30, -25])["cascade_count"] == 2
    assert macro(**fall, mid_move_bps=[30, -30, -30, -30, math.nan])["cascade_count"] == 0
    assert macro(imbalance_ma5=[0.2, 0.2, 0.2, -0.1, 0])["market_agreement"] == 0.6


@settings(max_examples=100, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from([-1.0, 1.0]), st.integers(1, 12).map(float), st.sampled_from([0.0, 1.0, 2.5])), min_size=1, max_size=60
    )
)
def test_sides_equal_a_dictionary(changes):
    """Any order of sets and removals leaves what a dict would hold, best first."""
    keys, sizes, counts = np.empty((2, 64)), np.empty((2, 64)), np.zeros(2, dtype=np.int64)
    plain = {1.0: {}, -1.0: {}}
    rows = np.array(changes)
    assert check_changes_nb(rows) == 0
    apply_changes_nb(keys, sizes, counts, rows)
    for side, price, size in changes:
        plain[side][price] = size
        if size == 0.0:
            del plain[side][price]
    out = np.full((2, 5, 2), math.nan)
    top_levels_nb(keys, sizes, counts, out)
    for i, side in enumerate((1.0, -1.0)):
        best = sorted(plain[side].items(), key=lambda level, side=side: -side * level[0])
        assert counts[i] == len(best)
        assert [tuple(level) for level in out[i, : len(best)].tolist()] == best[:5]


@pytest.mark.parametrize(
    ("change", "why"),
    [((1.0, math.nan, 1.0), "NOT_FINITE"), ((1.0, 1.0, math.inf), "NOT_FINITE"), ((0.0, 1.0, 1.0), "BAD_SIZE"),
     ((1.0, 0.0, 1.0), "BAD_SIZE"), ((-1.0, 5.0, -0.5), "BAD_SIZE"), ((math.nan, 5.0, 1.0), "BAD_SIZE")],
)  # fmt: skip
def test_a_bad_change_is_named(change, why):
    """A change is finite, has a side, a positive price and a size that is not negative."""
    assert BookVerdict(check_changes_nb(np.array([[1.0, 1.0, 1.0], change]))).name == why


@settings(max_examples=200, deadline=None)
@given(confidence=st.floats(0.5, 0.9), eff=st.floats(-1, 1), unknown=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_half_known_book_is_neutral(confidence, eff, unknown):
    """An imbalance without its persistence or agreement moves nothing, nor the other way round."""
    assert adjust_confidence_nb(confidence, eff, unknown) == confidence
    assert adjust_confidence_nb(confidence, math.nan, eff) == confidence
    assert market_multiplier_nb(eff, unknown) == 1.0
    assert market_multiplier_nb(math.nan, abs(eff)) == 1.0


def test_the_autoregression_equals_its_recursion():
    """x <- keep*x + sqrt(1 - keep^2)*shock."""
    shocks = np.random.default_rng(0).standard_normal(50)
    x, want = 0.3, []
    for shock in shocks:
        x = 0.9 * x + math.sqrt(1 - 0.81) * shock
        want.append(x)
    assert autoregress_nb(shocks, 0.9, 0.3) == pytest.approx(want[-1])
    np.testing.assert_allclose(shocks, want)
