"""Terms under which a position is marked: what each ledger would book if it were closed now. See ``dolphin.kernels.marked``."""

from __future__ import annotations

import numpy as np

from dolphin.config import EngineConfig
from dolphin.types import Array

__all__ = ["champion_terms", "honest_terms"]


def honest_terms(config: EngineConfig, direction: Array, entry: Array, stake: Array, before: Array, after: Array) -> Array:
    """float64[n, 6] (reference price, exit slippage, other costs, size, capital before and after) of the honest ledger.

    ``stake`` = fraction times leverage; funding is not booked before the exit.
    """
    reference = entry * (1.0 + direction * config.honest_slippage)
    slip, cost = np.full_like(entry, config.honest_slippage), np.full_like(entry, 2.0 * config.honest_taker_fee)
    return np.stack([reference, slip, cost, before * stake, before, after], axis=1)


def champion_terms(config: EngineConfig, entry: Array, notional: Array, before: Array, after: Array) -> Array:
    """The same of the champion ledger: its mean entry and exit fees, and no credits."""
    rate = sum(q * config.maker_fee + (1 - q) * config.taker_fee for q in (config.maker_entry_rate, config.maker_exit_rate))
    slip, cost = np.full_like(entry, config.exit_slippage), np.full_like(entry, rate)
    return np.stack([entry, slip, cost, notional, before, after], axis=1)
