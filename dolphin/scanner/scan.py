"""Scanner: closes to rolling correlation matrices to vel_div, one bar at a time or in batches, bit for bit alike.

For W in 50, 150, 300, 750 over the last W one-bar log returns: lambda_W = largest eigenvalue of the participants' correlation matrix,
share a_W = lambda_W / n, velocity v_W(t) = (a_W(t) - a_W(t-1)) / a_W(t-1), ``vel_div = v50 - v750``.

State is taken afresh where the absolute bar number enters a new block of 1024 (``ANCHOR``), beginning with the row before. What comes
out at row t is therefore a function of the last ``ROWS_BEFORE`` rows, however they arrive. Causal: row t depends on rows <= t only.
Source: specification of the data, 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from dolphin.errors import QualityError
from dolphin.kernels.eigen import KRYLOV
from dolphin.kernels.moments import INFO, TRACKED, Moments, Rows, moments_nb
from dolphin.kernels.scan_stream import OUTPUT, TOLERANCE, Memory, scan_stream_nb
from dolphin.kernels.velocity import Signals, signals_nb
from dolphin.scanner.reference import window_eigenvalue
from dolphin.scanner.returns import one_bar_returns, packed_rows, padded_width
from dolphin.types import WINDOWS, Array, Ints, ScanBatch, ScanRow

__all__ = ["ANCHOR", "LEAST", "ROWS_BEFORE", "SCANNER_VERSION", "Scanner", "scan_batch", "settings_hash"]

SCANNER_VERSION: Final = 1
ANCHOR: Final = 1024
LEAST: Final = 10
"""Fewest participants; below, there is no signal."""

DEPTH: Final = WINDOWS[-1] + 2
"""Rows above a block that its first row needs."""

ROWS_BEFORE: Final = ANCHOR + DEPTH
"""Rows before a row that decide what comes out at it."""

LIVE_ROWS: Final = DEPTH + 1024
ENTROPY_WINDOWS: Final = 2


def settings_hash() -> str:
    """First 16 hexadecimal digits of a sha256 over everything that decides a scan; day tables carry it."""
    settings = f"{SCANNER_VERSION}|{WINDOWS}|{ANCHOR}|{LEAST}|{TOLERANCE}"
    return hashlib.sha256(settings.encode()).hexdigest()[:16]


class _Window:
    """State of one window between rows."""

    def __init__(self, window: int, n_assets: int, entropy: bool) -> None:
        n = padded_width(n_assets)
        self.window, self.n_assets, self.entropy = window, n_assets, entropy
        self.track = np.zeros((TRACKED, n))
        self.scale, self.mean = np.zeros((2, n))
        self.before = np.full(1, np.nan)
        shapes = ((n, n), (n, n), (KRYLOV, n), (KRYLOV, n), (2, n), (3, KRYLOV + 1), (3,))
        self.memory = Memory(*(np.zeros(shape) for shape in shapes))

    def run(self, rows: Rows, start: int, stop: int, seen: int, fresh: bool) -> Signals:
        """Scan rows ``start .. stop - 1``; ``seen`` = real rows before ``start``; ``fresh`` forgets everything older."""
        n_bars, n = stop - start, rows.returns.shape[1]
        moments = Moments(np.empty((n_bars + 1, n)), np.empty((n_bars + 1, n)), np.empty((n_bars, len(INFO))))
        moments.scale[0], moments.mean[0] = self.scale, self.mean
        raw = np.empty((n_bars, len(OUTPUT)))
        if fresh:
            self.memory.carried[:] = 0.0
            self.before[0] = np.nan
        moments_nb(rows, start, stop, self.window, fresh, self.track, moments)
        scan_stream_nb(rows, start, stop, self.window, self.entropy, LEAST, moments, self.memory, raw)
        for k in np.flatnonzero(raw[:, 2]).tolist():
            raw[k, 0] = window_eigenvalue(_with_gaps(rows, start + k + 1 - self.window, start + k + 1, self.n_assets))
        if not self.entropy:
            raw[:, 1] = np.nan
        out = Signals(np.empty(n_bars), np.empty(n_bars), np.empty(n_bars), np.empty(n_bars, dtype=np.int64))
        signals_nb(raw, moments.info, seen, self.window, LEAST, self.before, out)
        self.scale[:], self.mean[:] = moments.scale[-1], moments.mean[-1]
        return out


def _with_gaps(rows: Rows, start: int, stop: int, n_assets: int) -> Array:
    """Returns of the rows, missing ones NaN again."""
    returns = rows.returns[start:stop, :n_assets].copy()
    returns[rows.full[start:stop]] = np.nan
    entries = slice(rows.gap_start[start], rows.gap_start[stop])
    row = np.repeat(np.arange(stop - start), np.diff(rows.gap_start[start : stop + 1]))
    returns[row, rows.gap_asset[entries]] = np.nan
    return returns


def _windows(n_assets: int) -> list[_Window]:
    return [_Window(w, n_assets, k < ENTROPY_WINDOWS) for k, w in enumerate(WINDOWS)]


def _batch(parts: Sequence[Signals], path: str) -> ScanBatch:
    velocity = np.column_stack([part.velocity for part in parts])
    return ScanBatch(
        vel_div=velocity[:, 0] - velocity[:, -1],
        lambda_max=np.column_stack([part.lambda_max for part in parts]),
        velocity=velocity,
        instability=np.column_stack([part.instability for part in parts[:ENTROPY_WINDOWS]]),
        n_participants=np.column_stack([part.participants for part in parts]),
        path=path,
    )


def scan_batch(closes: Array, first_bar: int = 0, path: str = "auto", *, bars: Ints | None = None, threads: int = 1) -> ScanBatch:
    """Scan ``closes`` float64[n_bars, n_assets]; a close that is not finite and > 0 is missing.

    ``bars``: absolute bar number of each row (timestamp // bar length), rising; default ``first_bar``, ``first_bar + 1``, ...
    Rows whose bar numbers are not neighbours have no return between them. The result does not depend on ``threads``.
    Raises ``QualityError`` when bar numbers do not rise.
    """
    closes = np.ascontiguousarray(closes, dtype=np.float64)
    numbers = np.arange(first_bar, first_bar + len(closes), dtype=np.int64) if bars is None else np.asarray(bars, dtype=np.int64)
    if len(numbers) != len(closes) or (np.diff(numbers) <= 0).any():
        raise QualityError("bar numbers must be one a row and rise", column="bars")
    if not len(closes):
        return _batch([Signals(*np.empty((3, 0)), np.empty(0, dtype=np.int64)) for _ in WINDOWS], "stream")
    rows = packed_rows(one_bar_returns(closes, numbers), DEPTH)
    edges = [0, *(np.flatnonzero(np.diff(numbers // ANCHOR)) + 1).tolist(), len(closes)]

    def block(task: tuple[int, int]) -> Signals:
        k, w = task
        start, stop = edges[k], edges[k + 1]
        window = _Window(WINDOWS[w], closes.shape[1], w < ENTROPY_WINDOWS)
        found = window.run(rows, DEPTH + start - 1, DEPTH + stop, start - 1, fresh=True)
        return Signals(*(values[1:] for values in found))

    tasks = [(k, w) for k in range(len(edges) - 1) for w in range(len(WINDOWS))]
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(block, tasks))
    else:
        found = [block(task) for task in tasks]
    parts = [Signals(*(np.concatenate(values) for values in zip(*found[w :: len(WINDOWS)], strict=True))) for w in range(len(WINDOWS))]
    return _batch(parts, "stream")


class Scanner:
    """The scanner of live bars: ``push`` a row of closes, get its ``ScanRow``. Equals ``scan_batch(path="stream")`` bit for bit.

    To resume at a bar, push the last ``ROWS_BEFORE`` rows again and drop what comes out.
    """

    def __init__(self, n_assets: int, first_bar: int = 0) -> None:
        self.n_assets, self._next_bar, self._seen = n_assets, first_bar, 0
        self._windows = _windows(n_assets)
        self._last = np.full(n_assets, np.nan)
        self._last_bar = first_bar - 1
        self._end = DEPTH
        self._rows = packed_rows(np.empty((0, n_assets)), LIVE_ROWS)

    def push(self, closes: Array, bar: int | None = None) -> ScanRow:
        """Scan one more bar. ``closes`` float64[n_assets]; ``bar`` absolute bar number, default the next one.

        Raises ``QualityError`` when the bar number does not rise or the row has another length.
        """
        number = self._next_bar if bar is None else int(bar)
        row = np.asarray(closes, dtype=np.float64)
        if row.shape != (self.n_assets,):
            raise QualityError(f"a row of shape {row.shape} for {self.n_assets} assets", column="closes")
        if self._seen and number <= self._last_bar:
            raise QualityError(f"bar {number} after bar {self._last_bar}", column="bar")
        anchor = not self._seen or number // ANCHOR != self._last_bar // ANCHOR
        self._append(one_bar_returns(np.stack([self._last, row]), np.array([self._last_bar, number], dtype=np.int64))[1])
        end = self._end
        start = end - 2 if anchor else end - 1
        found = [w.run(self._rows, start, end, self._seen - (end - 1 - start), fresh=anchor) for w in self._windows]
        self._last, self._last_bar, self._next_bar = row.copy(), number, number + 1
        self._seen += 1
        velocity = tuple(float(part.velocity[-1]) for part in found)
        return ScanRow(
            bar=number,
            vel_div=velocity[0] - velocity[-1],
            lambda_max=tuple(float(part.lambda_max[-1]) for part in found),
            velocity=velocity,
            instability=(float(found[0].instability[-1]), float(found[1].instability[-1])),
            n_participants=tuple(int(part.participants[-1]) for part in found),
        )

    def _append(self, returns: Array) -> None:
        if self._end == LIVE_ROWS:
            self._rows = self._kept(self._end - DEPTH)
            self._end = DEPTH
        new = packed_rows(returns[None, :])
        r, entries = self._end, len(new.gap_asset)
        rows = self._rows
        rows.returns[r], rows.full[r] = new.returns[0], new.full[0]
        rows.gap_start[r + 1] = rows.gap_start[r] + entries
        if rows.gap_start[r + 1] > len(rows.gap_asset):
            rows = self._rows = rows._replace(gap_asset=np.concatenate([rows.gap_asset, np.zeros(LIVE_ROWS + entries, dtype=np.int64)]))
        rows.gap_asset[rows.gap_start[r] : rows.gap_start[r + 1]] = new.gap_asset
        self._end += 1

    def _kept(self, first: int) -> Rows:
        """A fresh buffer that begins with the last ``DEPTH`` rows."""
        old, keep = self._rows, slice(first, self._end)
        rows = packed_rows(np.empty((0, self.n_assets)), LIVE_ROWS)
        rows.returns[:DEPTH], rows.full[:DEPTH] = old.returns[keep], old.full[keep]
        rows.gap_start[: DEPTH + 1] = old.gap_start[first : self._end + 1] - old.gap_start[first]
        return rows._replace(gap_asset=old.gap_asset[old.gap_start[first] : old.gap_start[self._end]].copy())
