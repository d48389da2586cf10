"""Random draws and funding: the two inputs of the ledgers that come from outside the bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dolphin.kernels.loop import Funding
from dolphin.types import Array, Ints

__all__ = ["FundingSeries", "UniformDraws"]

BLOCK = 1024


class UniformDraws:
    """The stream ``RandomState(seed).random_sample()``, in blocks; its whole state is ``(seed, draws used)``."""

    def __init__(self, seed: int, used: int = 0) -> None:
        self._seed, self._random = seed, np.random.RandomState(seed)
        self._random.random_sample(used)
        self.base = used
        self.values: Array = self._random.random_sample(BLOCK)

    def at(self, used: int) -> UniformDraws:
        """The stream where ``used`` draws are used: this one when it still holds the place, else a new one."""
        return self if self.base <= used <= self.base + len(self.values) else UniformDraws(self._seed, used)

    def refill(self, used: int) -> None:
        """Drop what was used (``used`` counts from the start of the stream), add a block."""
        self.values = np.concatenate([self.values[used - self.base :], self._random.random_sample(BLOCK)])
        self.base = used


@dataclass(frozen=True, slots=True)
class FundingSeries:
    """Funding rates of a run: ``times`` int64[n] ms ascending, ``rates`` float64[n, n_symbols] (fractions, NaN = none)."""

    times: Ints
    symbols: tuple[str, ...]
    rates: Array

    def columns(self, assets: Sequence[str]) -> Funding:
        """The series with its columns as in ``assets``; an asset without a series is all NaN."""
        place = {name: j for j, name in enumerate(self.symbols)}
        rates = np.full((len(self.times), len(assets)), np.nan)
        for j, name in enumerate(assets):
            if name in place:
                rates[:, j] = self.rates[:, place[name]]
        return Funding(np.ascontiguousarray(self.times, dtype=np.int64), rates)


NO_FUNDING = Funding(np.empty(0, dtype=np.int64), np.empty((0, 0)))
