"""One window's way through the rows: state of the kernels, shares, velocities, and the proof where the kernel has none."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from dolphin.kernels.comoments import packed_size
from dolphin.kernels.eigen import KRYLOV
from dolphin.kernels.moments import INFO, TRACKED, Moments, Rows, moments_nb
from dolphin.kernels.scan_stream import OUTPUT, Memory, scan_stream_nb
from dolphin.scanner.settings import MIN_PARTICIPANTS
from dolphin.scanner.windows import Stretch, aligned, padded, window_correlation
from dolphin.types import WINDOWS, Array, ScanBatch

__all__ = ["ENTROPY_WINDOWS", "Track"]

ENTROPY_WINDOWS: Final = WINDOWS[:2]
"""Windows whose instability is wanted."""

_CHUNK = 256
"""Rows between the two kernels: few enough for the cache, many enough that calls do not count."""


class Track:
    """State of one window from row to row; a new one starts at its first full window."""

    def __init__(self, window: int, n_assets: int) -> None:
        n = padded(n_assets)
        self.window, self.n_assets = window, n_assets
        self._fresh = True
        self._share = math.nan
        packed, basis, by_bar = (packed_size(n),), (KRYLOV, n), (_CHUNK + 1, n)
        self._sums, *moments = aligned((TRACKED, n), by_bar, by_bar, (_CHUNK, len(INFO)))
        self._moments = Moments(*moments)
        self._memory = Memory(*aligned(packed, packed, packed, basis, basis, (3, n), (3, n), (3,)))

    def scan(self, stretch: Stretch, start: int, stop: int, out: ScanBatch, column: int, at: int) -> None:
        """Scan rows ``start <= t < stop`` and write column ``column`` of ``out`` from its row ``at`` on.

        A new track looks at row start - 1 too, when its window is full there, so that the first velocity does not depend on what came
        before.
        """
        first = max(start - 1, self.window - stretch.base) if self._fresh else start
        if first >= stop:
            return
        values, heads = self._kernels(stretch.rows, first, stop)
        participants, changed = heads[:, 0], heads[:, 1] > 0.0
        for k in np.flatnonzero(values[:, 2]):
            values[k, 0] = _largest(stretch.window(first + int(k), self.window))
        with np.errstate(all="ignore"):
            share = values[:, 0] / participants
            before = np.concatenate([[self._share], share[:-1]])
            velocity = (share - before) / before
            instability = np.clip(1.0 + np.log(values[:, 1] / participants**2) / np.log(participants), 0.0, 1.0)
        velocity[changed] = np.nan
        self._share, self._fresh = float(share[-1]), False
        lead = max(0, start - first)
        target = slice(at + first + lead - start, at + stop - start)
        out.lambda_max[target, column] = values[lead:, 0]
        out.velocity[target, column] = velocity[lead:]
        out.n_participants[target, column] = participants[lead:]
        if self.window in ENTROPY_WINDOWS:
            out.instability[target, ENTROPY_WINDOWS.index(self.window)] = instability[lead:]

    def _kernels(self, rows: Rows, first: int, stop: int) -> tuple[Array, Array]:
        """``OUTPUT`` and the first columns of ``INFO`` (participants, changed) of rows ``first <= t < stop``."""
        n = stop - first
        values, heads = aligned((n, len(OUTPUT)), (n, 2))
        scale, mean, info = self._moments
        entropy = self.window in ENTROPY_WINDOWS
        for at in range(0, n, _CHUNK):
            part = slice(at, min(at + _CHUNK, n))
            start, end, rest = first + at, first + part.stop, part.stop - at
            moments_nb(rows, start, end, self.window, self._fresh and at == 0, self._sums, self._moments)
            scan_stream_nb(rows, start, end, self.window, entropy, MIN_PARTICIPANTS, self._moments, self._memory, values[part])
            heads[part] = info[:rest, :2]
            scale[0], mean[0] = scale[rest], mean[rest]
        return values, heads


def _largest(returns: Array) -> float:
    """The largest eigenvalue of the window ``returns``, where the kernel's is known not to be it.

    LAPACK's answer on the matrix built afresh. Its last bits depend on its threads and on the CPU; the kernel proves its own values by
    elimination, so that they do not show (no bar of 60 real days, of white noise or of mirrored markets came here).
    """
    return float(np.linalg.eigvalsh(window_correlation(returns)[0])[-1])
