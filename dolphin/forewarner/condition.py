"""Market condition of a day: statistics of its correlation matrices, known when the day is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from dolphin.types import Array

__all__ = ["CONDITION", "day_condition"]

CONDITION: Final[Mapping[str, tuple[str, bool]]] = {
    "lambda_share_50": ("lambda_share_50", False),
    "lambda_share_750": ("lambda_share_750", False),
    "velocity_50": ("v50_lambda_max_velocity", True),
    "velocity_750": ("v750_lambda_max_velocity", True),
    "drift_750": ("v750_lambda_max_velocity", False),
    "instability_50": ("instability_50", False),
    "instability_150": ("instability_150", False),
}
"""Figure -> (column of the day table, whether of its absolute values). Each figure is the median over the day's finite values."""


def day_condition(signals: Mapping[str, Array]) -> Array:
    """float64[7], the figures of ``CONDITION``; NaN where the day has no such column or no finite value of it."""
    return np.array([_median(signals[column], absolute) if column in signals else np.nan for column, absolute in CONDITION.values()])


def _median(values: Array, absolute: bool) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(np.abs(finite) if absolute else finite)) if len(finite) else np.nan
