"""The scanner: closes in, eigenvalue velocities out. ``Scanner.push`` takes one bar, ``Scanner.scan`` many, ``scan_batch`` starts afresh.

For each window W of ``WINDOWS``, with lambda the largest eigenvalue of the correlation matrix of n participants and a = lambda / n::

    velocity(t)    = (a(t) - a(t-1)) / a(t-1)
    vel_div(t)     = velocity_50(t) - velocity_750(t)
    instability(t) = 1 + ln(||C||_F^2 / n^2) / ln n          W = 50 and 150

Row t depends on rows <= t only. At an *anchor*, the first row whose ``bar // 1024`` differs from the row before, everything a window
carries is built afresh from the 750 returns before it, with a fixed start vector. So what follows an anchor is a function of the 751
closes before it and of the rows since, and three things agree bit for bit: a batch cut into any calls, a stream of single rows, and a
scanner that was started later (``rows_needed``). Anchors also cut a batch into pieces for threads; their number changes no bit.

A batch runs in blocks of rows, window after window, so that one packed matrix stays in the cache; ``push`` takes the windows in turn.
Both run the same compiled arithmetic, so the two paths of the specification agree bit for bit, where 1e-11 is asked for; a day
table's ``stream`` or ``blocked`` says under which of the two promises it was written. A second arithmetic for wide universes was
measured at N = 400, 153 us a bar: products of 16 bars at once by BLAS cost what the packed ones do (7 us each) and need more of them;
the W x W dual of the 50-bar window would save 9 %. Source: data.md 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from dolphin.errors import ConfigError, SchemaError
from dolphin.scanner.settings import ANCHOR_BARS
from dolphin.scanner.track import Track
from dolphin.scanner.windows import HISTORY, Panel, check_closes
from dolphin.types import WINDOWS, ScanBatch, ScanRow

__all__ = ["Scanner", "rows_needed", "scan_batch"]

STREAM_ASSETS: Final = 64
"""Widest universe whose batches take path ``stream`` by default."""


def rows_needed(bar: int) -> int:
    """Rows before ``bar`` with which a new scanner has to be fed to go on from ``bar`` bit for bit: 751 before the anchor, and those since.

    Enough for a series with gaps too (fewer rows may do); all rows there are, when there are fewer. More rows change nothing.
    """
    return bar % ANCHOR_BARS + HISTORY + 1


class Scanner:
    """Carries the scan of one universe from row to row. Not safe for two threads at once; ``threads`` of ``scan`` are its own."""

    def __init__(self, n_assets: int, first_bar: int = 0, *, path: str = "stream") -> None:
        """``n_assets`` columns; ``first_bar``: absolute number (``ts // bar_ms``) of the first row unless rows bring their own."""
        if n_assets < 1 or path not in ("stream", "blocked"):
            raise ConfigError(f"Scanner(n_assets={n_assets}, path={path!r}): want n_assets >= 1 and path 'stream' or 'blocked'")
        self.n_assets, self.path = n_assets, path
        self._next_bar = int(first_bar)
        self._panel = Panel.empty(n_assets)
        self._tracks = [Track(window, n_assets) for window in WINDOWS]

    def push(self, closes_row: npt.ArrayLike, bar: int | None = None) -> ScanRow:
        """Scan one row, ``float64[n_assets]`` (not finite or not positive = no price); ``bar`` defaults to the one after the last."""
        row = np.asarray(closes_row, dtype=np.float64)
        number = self._next_bar if bar is None else int(bar)
        one = self.scan(row.reshape(1, -1), np.array([number], dtype=np.int64))
        return ScanRow(
            number,
            float(one.vel_div[0]),
            tuple(one.lambda_max[0].tolist()),
            tuple(one.velocity[0].tolist()),
            (float(one.instability[0, 0]), float(one.instability[0, 1])),
            tuple(one.n_participants[0].tolist()),
        )

    def scan(self, closes: npt.ArrayLike, bars: npt.ArrayLike | None = None, *, threads: int = 1) -> ScanBatch:
        """Scan the next rows ``float64[n, n_assets]`` with absolute bar numbers ``bars`` (default: the next n).

        Raises ``SchemaError`` on a wrong shape, ``QualityError`` when bar numbers do not increase; nothing is taken in then.
        """
        block = check_closes(closes, self.n_assets)
        numbers = self._next_bar + np.arange(len(block), dtype=np.int64) if bars is None else np.asarray(bars, dtype=np.int64)
        if numbers.shape != block.shape[:1]:
            raise SchemaError(f"bars have shape {numbers.shape}, expected [{len(block)}]")
        out = _empty_batch(len(block), self.path)
        if not len(block):
            return out
        last = self._panel.last_bar
        segment = numbers // ANCHOR_BARS
        anchors = np.flatnonzero(np.diff(segment, prepend=segment[0] if last is None else last // ANCHOR_BARS))
        first = self._panel.append(block, numbers)
        self._next_bar = int(numbers[-1]) + 1
        cuts = sorted({0, *anchors.tolist(), len(block)})
        pieces = [(a, b, a in anchors) for a, b in pairwise(cuts)]
        self._run(pieces, first, out, threads)
        np.subtract(out.velocity[:, 0], out.velocity[:, -1], out=out.vel_div)
        return out

    def _run(self, pieces: Sequence[tuple[int, int, bool]], first: int, out: ScanBatch, threads: int) -> None:
        """Scan every piece in every window; an anchored piece starts a track of its own, the last one's goes on."""
        stretch, at = self._panel.stretch(first)
        tracks = self._tracks

        def job(task: tuple[int, tuple[int, int, bool]]) -> Track:
            w, (a, b, anchored) = task
            track = Track(WINDOWS[w], self.n_assets) if anchored else tracks[w]
            track.scan(stretch, at + a, at + b, out, w, a)
            return track

        tasks = [(w, piece) for piece in pieces for w in range(len(WINDOWS))]
        if threads == 1 or len(tasks) == 1:
            done = [job(task) for task in tasks]
        else:
            with ThreadPoolExecutor(threads) as pool:
                done = list(pool.map(job, tasks))
        self._tracks = done[-len(WINDOWS) :]


def scan_batch(
    closes: npt.ArrayLike, first_bar: int = 0, path: str = "auto", *, bars: npt.ArrayLike | None = None, threads: int = 1
) -> ScanBatch:
    """Scan rows ``float64[n_bars, n_assets]`` from a cold start; see ``Scanner``. ``path`` auto = stream up to 64 assets, else blocked."""
    block = np.asarray(closes, dtype=np.float64)
    n_assets = block.shape[1] if block.ndim == 2 else 0
    if path == "auto":
        path = "stream" if n_assets <= STREAM_ASSETS else "blocked"
    return Scanner(n_assets, first_bar, path=path).scan(block, bars, threads=threads)


def _empty_batch(n: int, path: str) -> ScanBatch:
    windows = len(WINDOWS)
    nan = np.full((n, 2 * windows + 3), np.nan)
    return ScanBatch(
        nan[:, 0].copy(),
        nan[:, 1 : windows + 1].copy(),
        nan[:, windows + 1 : 2 * windows + 1].copy(),
        nan[:, 2 * windows + 1 :].copy(),
        np.zeros((n, windows), dtype=np.int64),
        path,
    )
