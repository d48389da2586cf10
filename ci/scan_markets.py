"""Closes for scanner tests: seeded markets with one trouble each, and real klines as a block."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def factor_market(bars=1100, assets=14, seed=0, share=0.5, vol=1e-3):
    """One-factor closes float64[bars, assets] with Student-t shocks; ``share`` of the variance is common."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_t(4, (bars, 1)), rng.standard_t(4, (bars, assets))
    beta = 0.7 + 0.6 * rng.random(assets)
    drift = np.exp(0.4 * np.sin(np.arange(bars) / 90.0))[:, None]
    steps = vol * drift * (np.sqrt(share) * beta * common + np.sqrt(1.0 - share) * own)
    return np.exp(rng.normal(1.0, 2.0, assets) + np.cumsum(steps, axis=0))


def troubled_market(bars=1100, seed=0):
    """Missing bars, a freeze, a listing, a delisting, x200 outliers, bad prices and two gaps at once: (closes[bars, 16], bar numbers)."""
    rng = np.random.default_rng(seed + 1000)
    closes = factor_market(bars, 16, seed)
    closes[rng.random(closes.shape) < 0.002] = np.nan
    closes[bars // 2 : bars // 2 + 200, 1] = closes[bars // 2, 1]
    closes[: bars // 5, 2] = np.nan
    closes[3 * bars // 4 :, 3] = np.nan
    for row in rng.integers(60, bars, 4):
        closes[row:, rng.integers(16)] *= np.exp(0.2)
    closes[rng.integers(bars), 4] = 0.0
    closes[rng.integers(bars), 5] = -3.0
    closes[rng.integers(bars), 6] = np.inf
    steps = np.ones(bars, dtype=np.int64)
    steps[rng.integers(100, bars, 2)] = [7, 1500]
    return closes, 10_000 + np.cumsum(steps)


def mirrored(rng, bars):
    """Log returns float64[bars, 20]: five assets of one strong factor, their mirror images, and ten of a weaker one.

    The strong factor's eigenvector is antisymmetric, so a start vector of ones is orthogonal to it but for rounding.
    """
    strong = rng.normal(size=(bars, 1)) + 0.2 * rng.normal(size=(bars, 5))
    weak = 0.6 * rng.normal(size=(bars, 1)) + 0.5 * rng.normal(size=(bars, 10))
    weak -= strong @ np.linalg.lstsq(strong, weak, rcond=None)[0]
    return 1e-3 * np.hstack([strong, -strong, weak])


def real_block(folder: Path, market: str, days: int, skip: int = 0):
    """Closes of real klines pivoted to (closes[n, n_assets], bar numbers): ``days`` files from file ``skip`` on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted((folder / "klines" / market).glob("*.parquet"))[skip : skip + days]
    table = pa.concat_tables([pq.read_table(f, columns=["ts", "symbol", "close"]) for f in files])
    ts, row = np.unique(table["ts"].to_numpy(), return_inverse=True)
    symbol = table["symbol"].combine_chunks().dictionary_encode()
    closes = np.full((len(ts), len(symbol.dictionary)), np.nan)
    closes[row, symbol.indices.to_numpy()] = table["close"].to_numpy()
    return closes, ts // 60_000
