"""From eigenvalues to signals: share, velocity, instability of one window. Source: data.md 3."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dolphin.kernels._jit import kernel
from dolphin.types import Array, Ints

__all__ = ["Signals", "signals_nb"]


class Signals(NamedTuple):
    """Of one window, each [n_bars]: largest eigenvalue, velocity, instability (NaN where it was not asked for), participants."""

    lambda_max: Array
    velocity: Array
    instability: Array
    participants: Ints


@kernel
def signals_nb(raw: Array, info: Array, seen: int, window: int, least: int, before: Array, out: Signals) -> None:
    """``share = lambda / n``; ``velocity = (share - share before) / share before``, NaN where the participants changed;
    ``instability = 1 + ln(||C||_F^2 / n^2) / ln n``, clamped to [0, 1].

    ``raw`` float64[n_bars, 2+]: lambda, ||C||_F^2; ``info`` float64[n_bars, 2+]: participants, changed. ``seen``: rows before the
    first of these; a window is full from row ``window`` on. ``before`` float64[1]: the share before, updated.
    """
    for k in range(raw.shape[0]):
        n = info[k, 0]
        full = seen + k >= window
        out.participants[k] = int(n) if full else 0
        known = full and n >= least
        out.lambda_max[k] = raw[k, 0] if known else np.nan
        share = raw[k, 0] / n if known else np.nan
        out.velocity[k] = (share - before[0]) / before[0] if info[k, 1] == 0.0 else np.nan
        before[0] = share
        out.instability[k] = np.nan
        if known and raw[k, 1] == raw[k, 1]:
            out.instability[k] = min(max(1.0 + math.log(raw[k, 1] / (n * n)) / math.log(n), 0.0), 1.0)
