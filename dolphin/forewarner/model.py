"""The two models: risk (chance of a catastrophe, calibrated) and envelope (how much like the trials that went well).

Fitted on one thread from the table alone, so that the same table gives the same bits; nothing is ever pickled.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dolphin.errors import MissingDependency, QualityError
from dolphin.forewarner.condition import CONDITION
from dolphin.forewarner.envelope import ENVELOPE
from dolphin.forewarner.table import TrialTable
from dolphin.types import Array

__all__ = ["FEATURES", "Envelope", "Risk", "catastrophic", "fit_envelope", "fit_risk", "fold", "require_libraries", "went_well"]

FEATURES: Final = (*ENVELOPE, *CONDITION)
LEAST_EVENTS: Final = 8
"""Catastrophes, and trials without, that the classifier and its calibration each need; with fewer the risk is one number."""

LEAST_WELL: Final = 40
"""Trials that went well that an envelope needs; with fewer every score is NaN, which the engine's gate reads as RED."""

LEAST_STARTS: Final = 70
"""Days that must stand behind the condition's part of the envelope: ten for each figure. Lab note: with it, fitted on 19 days of April
2021, 46 % of the trials that went well over the 10 days after scored below 0 instead of 5 %; without it 7 %."""

RISING: Final = ("max_leverage", "max_fraction")
"""Settings with which the probability can only rise."""

type Flags = npt.NDArray[np.bool_]


def catastrophic(table: TrialTable) -> Flags:
    """Honest ledger: max drawdown > 40 % or ROI < -30 %, bool[n]."""
    return np.asarray((table.column("honest_max_drawdown") > 0.40) | (table.column("honest_roi") < -0.30))


def went_well(table: TrialTable) -> Flags:
    """Honest ledger: ended within 20 % drawdown and with a profit factor above 1, bool[n]."""
    return np.asarray((table.column("honest_max_drawdown") <= 0.20) & (table.column("honest_profit_factor") > 1.0))


def fold(table: TrialTable) -> npt.NDArray[np.int64]:
    """int64[n] in 0 ... 4, by trial number: fold 4 calibrates (in a calibration report fold 3 does, and 4 tests)."""
    return table.column("trial").astype(np.int64) % 5


@dataclass(frozen=True)
class Risk:
    """Probability of a catastrophe: boosted trees on ``columns`` of the features, then isotonic steps; or ``base_rate`` alone."""

    base_rate: float
    columns: tuple[int, ...]
    trees: Any = None
    steps: Any = None
    held: int = 0

    def probability(self, features: Array) -> Array:
        """float64[n] in (0, 1): never certain, by one imagined trial on either side of the ``held`` ones that calibrated it."""
        if self.trees is None:
            return np.full(len(features), self.base_rate)
        with one_thread():
            raw = self.trees.predict_proba(features[:, self.columns])[:, 1]
        least = 1.0 / (self.held + 2)
        return np.clip(np.asarray(self.steps.predict(raw), dtype=np.float64), least, 1.0 - least)


def fit_risk(features: Array, events: Flags, held: Flags, columns: tuple[int, ...] = tuple(range(len(FEATURES)))) -> Risk:
    """Trees fitted where not ``held``, isotonic steps where ``held``. Raises ``MissingDependency`` without scikit-learn."""
    count = int(events.sum())
    base = Risk((count + 1) / (len(events) + 2), columns)
    parts = [(events & held).sum(), (~events & held).sum(), (events & ~held).sum(), (~events & ~held).sum()]
    if min(parts) < LEAST_EVENTS:
        return base
    with one_thread():
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.isotonic import IsotonicRegression

        trees = HistGradientBoostingClassifier(
            max_iter=200,
            learning_rate=0.06,
            max_leaf_nodes=12,
            min_samples_leaf=30,
            l2_regularization=5.0,
            early_stopping=False,
            monotonic_cst=[int(FEATURES[k] in RISING) for k in columns],
            random_state=0,
        )
        trees.fit(features[~held][:, columns], events[~held])
        raw = trees.predict_proba(features[held][:, columns])[:, 1]
        steps = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(raw, events[held].astype(np.float64))
    return Risk(base.base_rate, columns, trees, steps, int(held.sum()))


@dataclass(frozen=True)
class Envelope:
    """Gaussian one-class model: ``s = -sqrt((z - m)' C^-1 (z - m))``, z the scaled features, C shrunk (Ledoit and Wolf).

    ``score = (s - low)/(mid - low)``: 0 at the 5th percentile of the trials that went well, 1 at their median, without bound below.
    """

    columns: tuple[int, ...]
    centre: Array
    scale: Array
    shape: Any
    low: float
    mid: float

    def score(self, features: Array) -> Array:
        """float64[n]; NaN where a feature that the model reads is not finite, and everywhere without a model."""
        if self.shape is None:
            return np.full(len(features), np.nan)
        known = np.isfinite(features[:, self.columns]).all(axis=1)
        out = np.full(len(features), np.nan)
        if known.any():
            out[known] = (self._raw(features[known]) - self.low) / (self.mid - self.low)
        return out

    def _raw(self, features: Array) -> Array:
        with one_thread():
            return -np.sqrt(np.asarray(self.shape.mahalanobis((features[:, self.columns] - self.centre) / self.scale)))


def fit_envelope(well: Array) -> Envelope:
    """From the features of the trials that went well, float64[n, 15].

    Settings, and, when the trials start on at least ``LEAST_STARTS`` different days, the condition figures that no trial lacks.
    """
    columns = tuple(range(len(ENVELOPE)))
    if len(well) < LEAST_WELL:
        return Envelope(columns, np.empty(0), np.empty(0), None, 0.0, 1.0)
    if len(np.unique(well[:, len(ENVELOPE) :], axis=0)) >= LEAST_STARTS:
        columns = tuple(int(k) for k in np.flatnonzero(np.isfinite(well).all(axis=0)))
    chosen = well[:, columns]
    centre, scale = chosen.mean(axis=0), chosen.std(axis=0)
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(centre), 1e-6), scale, np.maximum(np.abs(centre) * 0.01, 1e-6))
    with one_thread():
        from sklearn.covariance import LedoitWolf

        shape = LedoitWolf().fit((chosen - centre) / scale)
    model = Envelope(columns, centre, scale, shape, 0.0, 1.0)
    low, mid = np.percentile(model._raw(well), [5.0, 50.0])
    if not mid > low:
        raise QualityError("the trials that went well are all alike: no envelope can be scaled", hint="train on more days")
    return Envelope(columns, centre, scale, shape, float(low), float(mid))


@contextmanager
def one_thread() -> Iterator[None]:
    """Numerical libraries on one thread: sums then have one order."""
    require_libraries()
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def require_libraries() -> None:
    """Raises ``MissingDependency`` without scikit-learn."""
    if importlib.util.find_spec("sklearn") is None:
        raise MissingDependency("scikit-learn is not installed: pip install 'dolphin-nautilus[forewarner]'")
