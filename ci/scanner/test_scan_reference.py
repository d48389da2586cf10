"""The 512-bit judge: encloses what it should, and notices what is wrong."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from scan_markets import factor_market, real_block, troubled_market

from dolphin.errors import MissingDependency
from dolphin.scanner.reference import audit, correlation_balls, enclose_largest
from dolphin.scanner.scan import scan_batch
from dolphin.scanner.settings import SETTINGS, settings_hash

flint = pytest.importorskip("flint", reason="python-flint is absent: pip install 'dolphin-nautilus[audit]'")


def test_a_known_matrix_is_enclosed():
    """[[1, .6], [.6, 1]] has 1.6: the enclosure holds it and is narrower than 1e-60."""
    with flint.ctx.workprec(512):
        six = flint.arb(6) / 10
        found = enclose_largest(flint.arb_mat([[flint.arb(1), six], [six, flint.arb(1)]]))
        assert found.proof == "frobenius"
        assert bool(found.lower <= flint.arb(16) / 10)
        assert bool(flint.arb(16) / 10 <= found.upper)
        assert float(found.upper - found.lower) < 1e-60


def test_a_matrix_without_a_leader_is_still_bounded_from_above():
    """Two equal blocks fail the norm certificate; positive definiteness proves the bound."""
    block = np.kron(np.eye(2), np.full((5, 5), 0.5) + 0.5 * np.eye(5))
    with flint.ctx.workprec(512):
        found = enclose_largest(flint.arb_mat(block.tolist()))
        assert found.proof == "definite"
        assert bool(found.lower <= 3)
        assert bool(found.upper >= 3)
        assert float(found.upper - found.lower) < 1e-11


def test_balls_contain_the_float_matrix_up_to_its_rounding():
    """Entries agree with the oracle's within a few ulp, missing returns included."""
    from oracle_scan import correlation, returns

    closes, bars = troubled_market(400, seed=2)
    with flint.ctx.workprec(512):
        matrix, columns = correlation_balls(closes[200:351], bars[200:351])
        values = np.array([[float(matrix[i, j].mid()) for j in range(len(columns))] for i in range(len(columns))])
        assert max(float(e.rad()) for e in matrix.entries()) < 1e-140
    want, members = correlation(returns(closes[200:351], bars[200:351])[1:])
    assert tuple(columns.tolist()) == members
    np.testing.assert_allclose(values, want, atol=1e-13)


def test_a_scan_passes_its_audit():
    """Every window of sampled bars lies in its enclosure; the same seed draws the same bars."""
    closes, bars = troubled_market(900, seed=1)
    rows = audit(closes, bars, sample=3, seed=5)
    assert len({row.row for row in rows}) == 3
    assert {row.window for row in rows} >= {50, 150, 300}
    assert all(row.inside for row in rows)
    assert max(abs(row.relative_error) for row in rows) < 1e-12
    assert rows == audit(closes, bars, sample=3, seed=5)


def test_a_wrong_eigenvalue_is_found():
    """One part in 1e9 is enough."""
    closes = factor_market(120, 12)
    batch = scan_batch(closes)
    wrong = dataclasses.replace(batch, lambda_max=batch.lambda_max * (1.0 + 1e-9))
    rows = audit(closes, None, sample=2, scanned=wrong)
    assert rows
    assert not any(row.inside for row in rows)
    assert rows[0].relative_error == pytest.approx(1e-9, rel=1e-3)


@pytest.mark.real_data
def test_a_real_day_passes_its_audit(shared_data):
    """Two bars of a real day, all windows."""
    closes, bars = real_block(shared_data, "spot_1m_2021-04", 1)
    rows = audit(closes, bars, sample=2, seed=3)
    assert len(rows) >= 6
    assert all(row.inside and row.proof == "frobenius" for row in rows)


def test_without_the_extra_the_message_names_it(monkeypatch):
    """python-flint is optional."""
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(MissingDependency, match=r"pip install 'dolphin-nautilus\[audit\]'"):
        audit(factor_market(60, 12))


def test_the_settings_hash_changes_with_a_setting(monkeypatch):
    """A cache is keyed by everything a scan depends on."""
    before = settings_hash()
    assert len(before) == 16
    monkeypatch.setitem(SETTINGS, "anchor_bars", 512)
    assert settings_hash() != before
