"""IRP (Impulse Response Profiling): how cleanly an asset has moved over its last 50 prices. Source: specification of the engine, 5.

The block kernel walks all assets of a window ``float64[n_prices, n_assets]`` at once, row by row (time-major rows vectorise over assets).
One pass serves both directions: the path of the opposite one is the exact negative, so its excursions are the swapped ones.
"""

from __future__ import annotations

import math

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.types import Array

__all__ = ["compute_ars_nb", "compute_irp_nb", "irp_block_nb", "irp_latency_nb", "irp_profile_nb"]


@kernel
def irp_block_nb(window: Array, sign: float, returns: bool, path: Array, features: Array) -> None:
    """Path statistics of every asset for steps ``r[i] = (p[i+1] - p[i]) * sign`` (divided by ``p[i]`` when ``returns``).

    ``window`` float64[n_prices, n_assets]; ``path`` float64[n_assets] is scratch. Writes ``features`` float64[5, n_assets]:
    max of cumsum(r), min of cumsum(r), #(r > 0), #(r < 0), population variance of r. Depends on the window only.
    """
    top, low, up, down, square = features[0], features[1], features[2], features[3], features[4]
    n_steps, n = window.shape[0] - 1, window.shape[1]
    for j in range(n):
        path[j] = 0.0
        top[j] = -np.inf
        low[j] = np.inf
        up[j] = 0.0
        down[j] = 0.0
        square[j] = 0.0
    for i in range(n_steps):
        before, now = window[i], window[i + 1]
        for j in range(n):
            r = (now[j] - before[j]) * sign
            if returns:
                r /= before[j]
            c = path[j] + r
            path[j] = c
            top[j] = c if c > top[j] else top[j]
            low[j] = c if c < low[j] else low[j]
            up[j] += 1.0 if r > 0.0 else 0.0
            down[j] += 1.0 if r < 0.0 else 0.0
    for i in range(n_steps):
        before, now = window[i], window[i + 1]
        for j in range(n):
            r = (now[j] - before[j]) * sign
            if returns:
                r /= before[j]
            deviation = r - path[j] / n_steps
            square[j] += deviation * deviation
    for j in range(n):
        square[j] /= n_steps


@kernel
def irp_latency_nb(window: Array, asset: int, sign: float, returns: bool, mfe: float) -> int:
    """1-based index of the first cumulative step at or above ``0.1 * mfe``; 50 when ``mfe <= 0``."""
    if not mfe > 0.0:
        return 50
    c = 0.0
    for i in range(window.shape[0] - 1):
        r = (window[i + 1, asset] - window[i, asset]) * sign
        if returns:
            r /= window[i, asset]
        c += r
        if c >= 0.1 * mfe:
            return i + 1
    return 50


@kernel
def compute_irp_nb(price_segment: Array, direction: int) -> tuple[float, float, float, float, float, int]:
    """Impulse response of one asset: ``(mfe, mae, efficiency, alignment, noise, latency)``.

    ``c = cumsum((p[i+1] - p[i]) * direction)``; mfe = max(c); mae = |min(min(c), 0)|; efficiency = mfe / (mae + 1e-6);
    alignment = share of positive steps; noise = population variance of the steps; latency as in ``irp_latency_nb``.
    ``price_segment`` float64[n], n >= 2, USDT.
    """
    return irp_profile_nb(price_segment, direction, False)


@kernel
def irp_profile_nb(price_segment: Array, direction: int, returns: bool) -> tuple[float, float, float, float, float, int]:
    """``compute_irp_nb``; with ``returns`` each step is divided by the price before it."""
    window = price_segment.reshape(-1, 1)
    path, features = np.empty(1), np.empty((5, 1))
    irp_block_nb(window, float(direction), returns, path, features)
    mfe, mae = features[0, 0], abs(min(features[1, 0], 0.0))
    alignment = features[2, 0] / (window.shape[0] - 1)
    return mfe, mae, mfe / (mae + 1e-6), alignment, features[4, 0], irp_latency_nb(window, 0, float(direction), returns, mfe)


@kernel
def compute_ars_nb(efficiency: float, alignment: float, noise: float) -> float:
    """Asset response score: ``0.5*log1p(efficiency) + 0.35*alignment - 0.15*noise*1000``. Efficiency > -1."""
    return 0.5 * math.log1p(efficiency) + 0.35 * alignment - 0.15 * noise * 1000
