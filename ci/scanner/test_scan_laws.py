"""Laws of the scan: one result however rows arrive, nothing from the future, nothing from the number of threads."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_scan import same_bits
from scan_markets import factor_market, troubled_market

from dolphin.errors import ConfigError, QualityError, SchemaError
from dolphin.scanner import track, windows
from dolphin.scanner.scan import Scanner, rows_needed, scan_batch
from dolphin.types import ScanBatch

BARS = 1000
MARKETS = [(closes[:BARS], bars[:BARS]) for closes, bars in (troubled_market(seed=s) for s in range(3))]
BATCHES = [scan_batch(closes, bars=bars, path="stream") for closes, bars in MARKETS]


def gather(rows):
    """ScanBatch of pushed rows."""
    return ScanBatch(
        np.array([r.vel_div for r in rows]), np.array([r.lambda_max for r in rows]), np.array([r.velocity for r in rows]),
        np.array([r.instability for r in rows]), np.array([r.n_participants for r in rows]), "stream",
    )  # fmt: skip


def test_a_stream_of_single_rows_equals_the_batch():
    """``push`` row by row is the batch, bit for bit, over gaps, anchors and participants that come and go."""
    closes, bars = MARKETS[0]
    scanner = Scanner(closes.shape[1])
    rows = [scanner.push(row, int(bar)) for row, bar in zip(closes, bars, strict=True)]
    assert [r.bar for r in rows] == bars.tolist()
    same_bits(BATCHES[0], gather(rows))


@settings(max_examples=25, deadline=None)
@given(market=st.integers(0, 2), cuts=st.lists(st.integers(1, BARS - 1), max_size=6), single=st.integers(0, BARS - 40))
def test_any_chunks_give_the_same_bits(market, cuts, single):
    """However a batch is cut into calls, and wherever single pushes lie between them, no bit changes."""
    closes, bars = MARKETS[market]
    edges = sorted({0, *cuts, single, single + 40, BARS})
    scanner = Scanner(closes.shape[1])
    for a, b in pairwise(edges):
        if single <= a < single + 40:
            part = gather([scanner.push(closes[t], int(bars[t])) for t in range(a, b)])
        else:
            part = scanner.scan(closes[a:b], bars[a:b])
        same_bits(BATCHES[market], part, slice(a, b), slice(None))


@settings(max_examples=25, deadline=None)
@given(market=st.integers(0, 2), row=st.integers(1, BARS - 1), extra=st.integers(0, 60))
def test_a_scanner_started_later_goes_on_with_the_same_bits(market, row, extra):
    """Fed with the last ``rows_needed`` rows (or more), a new scanner continues the old one exactly."""
    closes, bars = MARKETS[market]
    start = max(0, row - rows_needed(int(bars[row])) - extra)
    late = scan_batch(closes[start:], bars=bars[start:], path="stream")
    same_bits(BATCHES[market], late, slice(row, None), slice(row - start, None))


def test_a_scanner_started_just_before_an_anchor_needs_751_rows():
    """From the first row of a segment on, exactly 751 closes before it are enough; 750 are not."""
    closes = factor_market(1100, 12, seed=3)
    first = 1024 - 800
    whole = scan_batch(closes, first)
    assert rows_needed(1024) == 751
    late = scan_batch(closes[49:], first + 49)
    same_bits(whole, late, slice(800, None), slice(751, None))
    short = scan_batch(closes[50:], first + 50)
    assert np.isnan(short.vel_div[750])


@settings(max_examples=12, deadline=None)
@given(market=st.integers(0, 2), stop=st.integers(1, BARS - 1), seed=st.integers(0, 9))
def test_the_future_changes_no_past_value(market, stop, seed):
    """Dropping or replacing rows after ``stop`` leaves every earlier value as it was."""
    closes, bars = MARKETS[market]
    same_bits(BATCHES[market], scan_batch(closes[:stop], bars=bars[:stop], path="stream"), slice(0, stop), slice(None))
    other = closes.copy()
    other[stop:] *= np.exp(np.random.default_rng(seed).normal(0, 0.05, other[stop:].shape))
    same_bits(BATCHES[market], scan_batch(other, bars=bars, path="stream"), slice(0, stop), slice(0, stop))


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_number_of_threads_changes_no_bit(threads):
    """Pieces end where anchors are, not where threads are."""
    closes = factor_market(3300, 12, seed=8)
    same_bits(scan_batch(closes, 77), scan_batch(closes, 77, threads=threads))


@pytest.mark.parametrize("assets", [12, 24])
def test_where_arrays_lie_changes_no_bit(monkeypatch, assets):
    """Any neighbours at the distance that ``aligned`` keeps: the compiled guards choose the same loops.

    Without a distance the kernels of 2026-11-21 11:41 changed bits in 18 of 60 placements.
    """
    closes, arena, rng = factor_market(1100, assets, seed=assets), windows.aligned((12_000_000,))[0], np.random.default_rng(assets)
    taken = []

    def placed(shape):
        size, apart = -(-math.prod(shape) // 8) * 8, windows._APART
        low, high = min((a for a, _ in taken), default=6_000_000), max((b for _, b in taken), default=6_000_000)
        near = [place for a, b in rng.permutation(taken)[:4].tolist() for place in (b + apart, a - apart - size)] if taken else []
        free = (at for at in near if all(at + size + apart <= a or b + apart <= at for a, b in taken))
        at = next(free, high + apart if rng.random() < 0.5 else low - apart - size)
        assert 0 <= at <= arena.size - size
        taken.append((at, at + size))
        arena[at : at + size] = 0.0
        return arena[at : at + math.prod(shape)].reshape(shape)

    whole = scan_batch(closes)
    for module in (windows, track):
        monkeypatch.setattr(module, "aligned", lambda *shapes: [placed(shape) for shape in shapes])
    for _ in range(8):
        taken.clear()
        same_bits(whole, scan_batch(closes))


@pytest.mark.parametrize("assets", [12, 100])
def test_the_blocked_path_agrees_with_the_stream(assets):
    """Within 1e-11 relative; above 64 assets it is the default of a batch."""
    closes = factor_market(900, assets, seed=2)
    stream, blocked, default = (scan_batch(closes, path=p) for p in ("stream", "blocked", "auto"))
    assert (stream.path, blocked.path, default.path) == ("stream", "blocked", "stream" if assets <= 64 else "blocked")
    np.testing.assert_allclose(stream.lambda_max, blocked.lambda_max, rtol=1e-11, atol=0)
    np.testing.assert_allclose(stream.instability, blocked.instability, rtol=0, atol=1e-11)


def test_bars_default_to_contiguous_numbers():
    """``first_bar`` counts on; giving the same numbers as ``bars`` changes nothing."""
    closes = factor_market(800, 12)
    same_bits(scan_batch(closes, 5000), scan_batch(closes, bars=np.arange(5000, 5800)))
    scanner = Scanner(12, 5000)
    assert [scanner.push(row).bar for row in closes[:3]] == [5000, 5001, 5002]


def test_rows_that_do_not_follow_are_refused():
    """Bar numbers increase, within a call and from call to call; the message names the row, and nothing was taken in."""
    closes = factor_market(30, 12)
    with pytest.raises(QualityError, match="column bars, row 2: bar 5 does not come after bar 6"):
        scan_batch(closes[:3], bars=[4, 6, 5])
    scanner = Scanner(12, 10)
    scanner.scan(closes[:20])
    with pytest.raises(QualityError, match="row 0: bar 29 does not come after bar 29"):
        scanner.push(closes[20], 29)
    assert scanner.push(closes[20]).bar == 30


def test_blocks_of_another_shape_are_refused():
    """A row has as many closes as the scanner has assets."""
    with pytest.raises(SchemaError, match=r"closes have shape \(1, 11\), expected \[n_bars, 12\]"):
        Scanner(12).push(np.ones(11))
    with pytest.raises(SchemaError, match="bars have shape"):
        Scanner(12).scan(np.ones((3, 12)), [1, 2])
    with pytest.raises(ConfigError, match="path='fast'"):
        scan_batch(np.ones((3, 12)), path="fast")
    with pytest.raises(ConfigError, match="n_assets=0"):
        scan_batch(np.ones((3, 0)))


def test_no_rows_give_no_rows():
    """An empty block is legal and leaves the scanner as it was."""
    scanner = Scanner(12, 7)
    assert len(scanner.scan(np.empty((0, 12))).vel_div) == 0
    assert scanner.push(np.ones(12)).bar == 7
