"""Small markets and books for tests: seeded, explicit, no files."""

from __future__ import annotations

import numpy as np

from dolphin.engine.records import DayRows

START_MS = 1_735_689_600_000


def names(n):
    return tuple(["BTCUSDT", "ETHUSDT", *(f"A{i:03d}USDT" for i in range(n - 2))][:n])


def day(seed=0, bars=400, assets=12, missing=0.0, signal_std=0.02, day_index=0, start=None):
    """A random day whose vel_div opens both lanes often; ``missing`` share of prices spoilt (NaN, 0, negative, inf)."""
    rng = np.random.default_rng([seed, day_index])
    level = np.exp(rng.normal(1, 1.5, assets)) if start is None else start
    closes = level * np.exp(np.cumsum(rng.standard_t(4, (bars, assets)) * 0.0012, axis=0))
    spoilt = rng.random((bars, assets)) < missing
    closes[spoilt] = rng.choice([np.nan, 0.0, -1.0, np.inf], spoilt.sum())
    v50, v750 = rng.normal(0, signal_std, bars), rng.normal(0, signal_std / 10, bars)
    vel_div = v50 - v750
    vel_div[rng.random(bars) < 0.02] = np.nan
    ts = START_MS + day_index * 86_400_000 + np.arange(1, bars + 1, dtype=np.int64) * 60_000
    return DayRows(names(assets), closes, vel_div, v50, v750, ts)


def bar_args(rows, i):
    """Arguments of ``process_bar`` for row i."""
    prices = dict(zip(rows.assets, rows.closes[i].tolist(), strict=True))
    return float(rows.vel_div[i]), prices, float(rows.v50[i]), float(rows.v750[i]), int(rows.ts_ms[i])


class RandomBook:
    """Order-book provider with reproducible values by asset and time; some assets are unknown at times."""

    def __init__(self, seed=0):
        self.seed = seed

    def _rng(self, asset, ts):
        return np.random.default_rng([self.seed, ts // 1000, *map(ord, asset)])

    def get_signal(self, asset, ts_ms):
        r = self._rng(asset, ts_ms)
        if r.random() < 0.05:
            return None
        return {"imbalance_ma5": r.uniform(-0.6, 0.6), "imbalance_persistence": r.random(), "withdrawal_velocity": r.uniform(-0.5, 0.3)}

    def get_placement(self, asset, ts_ms):
        r = self._rng(asset + "p", ts_ms)
        return None if r.random() < 0.05 else {"depth_quality": r.uniform(0, 2), "fill_probability": r.uniform(0.05, 0.95)}

    def get_macro(self, ts_ms):
        r = self._rng("macro", ts_ms)
        return {
            "cascade_count": int(r.random() < 0.1), "regime_signal": int(r.integers(-1, 2)), "market_imbalance": r.uniform(-0.6, 0.6),
            "market_agreement": r.random(),
        }  # fmt: skip

    def get_market_multiplier(self, direction, ts_ms):
        r = self._rng("mult", ts_ms)
        return None if r.random() < 0.1 else r.uniform(0.85, 1.2)
