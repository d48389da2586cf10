"""Kernels of the scanner, each against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from scan_markets import mirrored

from dolphin.kernels.comoments import frobenius_nb, packed_size
from dolphin.kernels.eigen import KRYLOV, definite_nb, largest_nb
from dolphin.kernels.moments import INFO, TRACKED, Moments, Rows, moments_nb
from dolphin.kernels.scan_stream import Memory, scan_stream_nb

SIDES = [16, 24, 48, 104]


def index(i):
    return np.uint64(i)


def packed(matrix):
    """Rows of a symmetric matrix from column ``i & ~7`` on."""
    return np.concatenate([row[i & ~7 :] for i, row in enumerate(matrix)])


def symmetric(n, seed=0):
    a = np.random.default_rng(seed).normal(size=(n, n))
    return a + a.T


def scan(returns, least=2, entropy=True):
    """Scan one window that is as long as ``returns`` float64[window, n] (NaN = missing): (lambda, ||C||_F^2, unproven), moments."""
    window, assets = returns.shape
    n = max(16, -(-assets // 8) * 8)
    rows = np.zeros((window + 1, n))
    rows[1:, :assets] = np.nan_to_num(returns)
    missing = np.vstack([np.ones((1, assets), bool), np.isnan(returns)])
    full = missing.all(axis=1)
    row, asset = np.nonzero(missing & ~full[:, None])
    starts = np.searchsorted(row, np.arange(window + 2))
    moments = Moments(np.zeros((2, n)), np.zeros((2, n)), np.zeros((1, len(INFO))))
    panel = Rows(rows, full, starts, asset)
    moments_nb(panel, window, window + 1, window, True, np.zeros((TRACKED, n)), moments)
    size = packed_size(n)
    memory = Memory(*(np.zeros(s) for s in (size, size, size, (KRYLOV, n), (KRYLOV, n), (3, n), (3, n), 3)))
    out = np.zeros((1, 3))
    scan_stream_nb(panel, window, window + 1, window, entropy, least, moments, memory, out)
    return out[0], moments


@pytest.mark.parametrize("n", SIDES)
def test_the_norm_is_that_of_the_scaled_centred_matrix(n):
    """||D (P - w m m^T) D||_F^2."""
    rng = np.random.default_rng(3)
    matrix, scale, mean = symmetric(n), rng.random((2, n)), rng.random((2, n))
    want = np.linalg.norm(np.outer(scale[1], scale[1]) * (matrix - 50.0 * np.outer(mean[1], mean[1]))) ** 2
    assert frobenius_nb(packed(matrix), scale, mean, index(1), 50.0, np.zeros((3, n))) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("n", SIDES)
@pytest.mark.parametrize("carried", [False, True])
def test_the_largest_eigenvalue_from_any_start(n, carried):
    """Started far from the eigenvector, with or without the start's product, Lanczos ends at LAPACK's value and vector."""
    rng = np.random.default_rng(n)
    data = rng.normal(size=(200, n)) + 0.4 * rng.normal(size=(200, 1))
    scale, mean = np.ones((1, n)), data.mean(axis=0)[None]
    matrix = data.T @ data
    values, vectors = np.linalg.eigh(matrix - 200.0 * np.outer(mean, mean))
    work, products = np.zeros((3, n)), np.zeros((KRYLOV, n))
    work[1] = rng.normal(size=n)
    products[0] = matrix @ work[1]
    norm = work[1] @ work[1]
    arguments = (
        packed(matrix),
        scale,
        mean,
        index(0),
        200.0,
        norm,
        carried,
        np.zeros((KRYLOV, n)),
        products,
        work,
        np.zeros((3, n)),
        1e-13,
    )
    theta, done, _ = largest_nb(*arguments)
    assert done
    assert theta == pytest.approx(values[-1], rel=1e-12)
    assert abs(work[0] @ vectors[:, -1]) / np.linalg.norm(work[0]) == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(products[0], matrix @ work[0], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("n", SIDES)
def test_a_start_at_the_eigenvector_needs_no_step(n):
    """A converged start leaves after one look, its product carried unchanged."""
    rng = np.random.default_rng(n)
    data = rng.normal(size=(200, n)) + 0.6 * rng.normal(size=(200, 1))
    matrix = data.T @ data
    values, vectors = np.linalg.eigh(matrix)
    work, products = np.zeros((3, n)), np.zeros((KRYLOV, n))
    work[1], products[0] = 3.0 * vectors[:, -1], 3.0 * matrix @ vectors[:, -1]
    scale, mean, tri = np.ones((1, n)), np.zeros((1, n)), np.zeros((3, n))
    theta, done, _ = largest_nb(packed(matrix), scale, mean, index(0), 200.0, 9.0, True, np.zeros((KRYLOV, n)), products, work, tri, 1e-13)
    assert done
    assert theta == pytest.approx(values[-1], rel=1e-13)
    assert not products[1:].any()


@pytest.mark.parametrize("n", SIDES)
def test_a_spectrum_without_a_gap_is_still_solved(n):
    """Equally spaced eigenvalues and a poor start: many restarts, the same value as LAPACK's."""
    rng = np.random.default_rng(n)
    basis = np.linalg.qr(rng.normal(size=(n, n)))[0]
    matrix = (basis * np.linspace(1.0, 2.0, n)) @ basis.T
    work = np.zeros((3, n))
    work[1] = 1.0
    buffers = np.zeros((KRYLOV, n)), np.zeros((KRYLOV, n)), work, np.zeros((3, n))
    theta, done, _ = largest_nb(packed(matrix), np.ones((1, n)), np.zeros((1, n)), index(0), 0.0, float(n), False, *buffers, 1e-20)
    assert done
    assert theta == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("n", SIDES)
def test_a_bound_is_accepted_above_the_largest_eigenvalue_only(n):
    """sigma I - C is positive definite just above lambda_max, and not just below it or below a larger eigenvalue."""
    rng = np.random.default_rng(n)
    data, scale, mean = rng.normal(size=(200, n)), 0.1 + rng.random((2, n)), 0.1 * rng.normal(size=(2, n))
    scale[1, 3] = 0.0
    matrix = data.T @ data
    values = np.linalg.eigvalsh(np.outer(scale[1], scale[1]) * (matrix - 200.0 * np.outer(mean[1], mean[1])))
    held, factor = packed(matrix), np.zeros(packed_size(n))
    for sigma, above in ((values[-1] * (1 + 1e-11), True), (values[-1] * (1 - 1e-11), False), (values[-2] * (1 + 1e-11), False)):
        assert definite_nb(held, scale, mean, index(1), 200.0, sigma, factor) == above


def test_two_assets_with_correlation_sixty_percent_share_eighty():
    """lambda of [[1, .6], [.6, 1]] is 1.6, its share of 2 is .8."""
    basis = np.linalg.qr(np.random.default_rng(4).normal(size=(50, 3)) + np.array([50.0, 0.0, 0.0]))[0]
    first = basis[:, 1] - basis[:, 1].mean()
    second = basis[:, 2] - basis[:, 2].mean()
    first /= np.linalg.norm(first)
    second -= first * (first @ second)
    second /= np.linalg.norm(second)
    out, moments = scan(np.column_stack([first, 0.6 * first + 0.8 * second]) * 1e-2)
    assert moments.info[0, 0] == 2.0
    assert out[0] / 2.0 == pytest.approx(0.8, rel=1e-13)
    assert out[1] == pytest.approx(2.0 + 2.0 * 0.36, rel=1e-13)


@pytest.mark.parametrize("assets", [2, 5, 11, 40, 100])
@pytest.mark.parametrize("missing", [0.0, 0.03])
def test_one_window_equals_the_textbook(assets, missing):
    """Eigenvalue and norm for universes narrower and wider than the window is long; a missing return counts as the asset's mean."""
    rng = np.random.default_rng(assets)
    returns = rng.normal(size=(50, assets)) * 1e-3 + 2e-4 + 1e-3 * rng.normal(size=(50, 1))
    returns[rng.random(returns.shape) < missing] = np.nan
    returns[7] = np.nan
    out, moments = scan(returns)
    part = np.isfinite(returns).sum(axis=0) >= 45
    there = np.isfinite(returns)
    centred = np.where(there, returns - np.nanmean(returns, axis=0), 0.0)[:, part]
    unit = centred / np.linalg.norm(centred, axis=0)
    values = np.linalg.eigvalsh(unit.T @ unit)
    assert moments.info[0, 0] == part.sum()
    assert out[0] == pytest.approx(values[-1], rel=2e-12)
    assert out[1] == pytest.approx((values**2).sum(), rel=1e-12)
    np.testing.assert_allclose(moments.mean[1, :assets][part], np.nanmean(returns, axis=0)[part], rtol=1e-12)
    np.testing.assert_allclose(moments.scale[1, :assets][part], 1.0 / np.linalg.norm(centred, axis=0), rtol=1e-12)
    assert not moments.scale[1, assets:].any()


def test_two_equal_blocks_are_told_apart_by_elimination():
    """No bound separates their two eigenvalues; the larger is found, to full precision, and proven."""
    rng = np.random.default_rng(6)
    returns = np.hstack([rng.normal(size=(150, 1)) + 0.3 * rng.normal(size=(150, 10)) for _ in range(2)])
    out, _ = scan(returns)
    values = np.linalg.eigvalsh(np.corrcoef(returns.T))
    assert values[-2] > 0.9 * values[-1]
    assert out[2] == 0.0
    assert out[0] == pytest.approx(values[-1], rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_a_start_that_misses_the_largest_eigenvector_is_put_right(seed):
    """Pairs of mirrored returns hide their factor from the start vector of ones; the value found is the largest all the same."""
    returns = mirrored(np.random.default_rng(seed), 50)
    out, _ = scan(returns)
    assert out[0] == pytest.approx(np.linalg.eigvalsh(np.corrcoef(returns.T))[-1], rel=1e-12)
    assert out[2] == 0.0


def test_too_few_participants_give_no_eigenvalue():
    """Below ``least`` there is NaN and nothing to prove."""
    out, _ = scan(np.random.default_rng(7).normal(size=(50, 5)), least=6)
    assert np.isnan(out[:2]).all()
    assert out[2] == 0.0
