"""The scanner of data.md 3, written from the page in plain numpy and LAPACK: one matrix a bar, nothing carried, slow; and comparisons."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

WINDOWS = (50, 150, 300, 750)


def returns(closes, bars):
    """Log return by row and asset, NaN unless both closes are prices and exactly one bar apart."""
    good = np.isfinite(closes) & (closes > 0)
    out = np.full(closes.shape, np.nan)
    for t in range(1, len(closes)):
        both = good[t] & good[t - 1]
        if bars[t] - bars[t - 1] == 1:
            out[t, both] = np.log(closes[t, both] / closes[t - 1, both])
    return out


def correlation(window):
    """Pearson correlation of a window's participants, and who they are; a missing return counts as the participant's mean."""
    members, columns = [], []
    for j in range(window.shape[1]):
        there = np.isfinite(window[:, j])
        x = window[there, j]
        if len(x) < 0.9 * len(window) or (x == 0.0).all() or np.var(x) <= 1e-18:
            continue
        filled = np.where(there, window[:, j], x.mean())
        columns.append(filled - filled.mean())
        members.append(j)
    c = np.array([a / math.sqrt(a @ a) for a in columns]) if columns else np.empty((0, len(window)))
    return c @ c.T, tuple(members)


def bar(rets, t, window):
    """(participants, lambda, ||C||_F^2) of the window that ends at row t, or None when it is not full."""
    if t < window:
        return None
    c, members = correlation(rets[t - window + 1 : t + 1])
    if len(members) < 10:
        return members, math.nan, math.nan
    values = np.linalg.eigvalsh(c)
    return members, values[-1], (values**2).sum()


def scan_rows(closes, bars, rows):
    """{t: {lambda_max[4], velocity[4], instability[2], n_participants[4], vel_div}} for the chosen rows."""
    rets = returns(closes, bars)
    out = {}
    for t in rows:
        lam, vel, inst, count = [], [], [], []
        for window in WINDOWS:
            now, before = bar(rets, t, window), bar(rets, t - 1, window)
            members, value, square = now or ((), math.nan, math.nan)
            n = len(members)
            lam.append(value)
            count.append(n)
            same = before is not None and before[0] == members
            old = before[1] / n if same and n else math.nan
            vel.append((value / n - old) / old if same and n else math.nan)
            if window in WINDOWS[:2]:
                inst.append(1.0 - (-math.log(square / n**2)) / math.log(n) if math.isfinite(square) else math.nan)
        out[t] = {"lambda_max": lam, "velocity": vel, "instability": inst, "n_participants": count, "vel_div": vel[0] - vel[3]}
    return out


def near_oracle(batch, closes, bars, rows, relative=1e-11):
    """Compare chosen rows of a ScanBatch with the oracle."""
    for t, want in scan_rows(closes, bars, rows).items():
        np.testing.assert_array_equal(batch.n_participants[t], want["n_participants"], err_msg=f"row {t}")
        np.testing.assert_allclose(batch.lambda_max[t], want["lambda_max"], rtol=relative, atol=0, err_msg=f"row {t}")
        for field in ("velocity", "vel_div", "instability"):
            np.testing.assert_allclose(getattr(batch, field)[t], want[field], rtol=0, atol=1e-10, err_msg=f"{field}, row {t}")


def same_bits(left, right, cut=slice(None), other=None):
    """Compare rows ``cut`` of one ScanBatch with rows ``other`` (default: the same) of another, bit for bit, NaN included."""
    for field in dataclasses.fields(left):
        if field.name != "path":
            a, b = getattr(left, field.name)[cut], getattr(right, field.name)[cut if other is None else other]
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(
                np.ascontiguousarray(a).view(np.int64), np.ascontiguousarray(b).view(np.int64), err_msg=field.name
            )
