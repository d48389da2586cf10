"""Quality of klines: which values are no price, and what was found, counted and named.

Two answers to a bad input. *Refused* (``DataError`` naming file, column and row; nothing of the file is used): what makes the rest
doubtful too, such as damage, wrong columns or types, no rows, a row outside the day, decreasing times, two different rows for one
bar, mixed bar spacing. *Quarantined* (the bar of that asset becomes NaN = "no price", counted under the rule's name): damage to
single values.

============  =======================================================================================================
rule          what happens
============  =======================================================================================================
not_a_price   open, high, low or close NaN, infinite, <= 1e-12 or >= 1e12: the bar has no price
ohlc_order    low above or high below open or close: the bar has no price
jump          a close more than 50 % away from an accepted close at most 3 bars older: no price
duplicate     a row that repeats another one exactly: used once
symbol        a symbol that cannot be an asset column (BTCBUSD): left out
column        an unknown column: ignored
============  =======================================================================================================

**Why ``jump`` looks only back.** The specification quarantines "a jump of more than 50 % in one bar that reverts within 3 bars".
Whether it reverts is known up to three bars later, so a filter that waits for the answer shows a backtest the future. Here every
close is judged by accepted closes alone: a spike of one to three bars never passes, a level that holds is accepted from its
fourth bar on. Dropping future rows changes no earlier value; the price of that is three bars without a price after a jump of
more than 50 % in a minute that was real (none in 30 real days of 64 assets, where the largest was 30 %).
Importing therefore changes no value: the rules run where klines are read, for every source alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolphin.storage.schema import MAX_PRICE, MIN_PRICE, Gap
from dolphin.types import Array, Ints

__all__ = ["EXAMPLES", "JUMP", "JUMP_BARS", "Finding", "QualityReport", "bad_bars", "combine", "findings_of", "withhold_jumps"]

EXAMPLES = 5
"""Findings kept a rule; all are counted."""

JUMP, JUMP_BARS = 0.5, 3

type Prices = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
"""open, high, low, close of the rows of a file, each ``float32[n]`` or ``float64[n]``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One quarantined place: the rule, the file, its row (from 0) and column, and what stood there."""

    rule: str
    path: str
    row: int | None
    column: str
    value: str

    def __str__(self) -> str:
        place = f"column {self.column}" + ("" if self.row is None else f", row {self.row}")
        return f"{self.path}: {place}: {self.rule}: {self.value}"


@dataclass(frozen=True, slots=True)
class QualityReport:
    """What the checks found in one or more files.

    ``counts``: ``(rule, how many)`` sorted by rule. ``examples``: the first few of each. ``gaps``: bars that no symbol has,
    never filled. ``absent``: (bar, symbol) pairs without a row on bars that other symbols have. ``bars``: bars present.
    """

    bars: int = 0
    rows: int = 0
    absent: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    examples: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()

    @property
    def missing_bars(self) -> int:
        """Bars inside the gaps."""
        return sum(gap.bars for gap in self.gaps)

    @property
    def quarantined(self) -> int:
        """Bars of single assets that were turned into "no price"."""
        return sum(count for rule, count in self.counts if rule in ("not_a_price", "ohlc_order", "jump"))

    def count(self, rule: str) -> int:
        """How often ``rule`` was met."""
        return dict(self.counts).get(rule, 0)


def findings_of(rule: str, path: Path | str, places: Iterable[tuple[int | None, str, object]]) -> list[Finding]:
    """Findings of one rule from ``(row, column, value)`` places."""
    return [Finding(rule, str(path), row, column, str(value)[:80]) for row, column, value in places]


def combine(reports: Iterable[QualityReport]) -> QualityReport:
    """One report of many files, in their order; at most ``EXAMPLES`` examples a rule."""
    reports = list(reports)
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(dict(report.counts))
    return QualityReport(
        bars=sum(r.bars for r in reports),
        rows=sum(r.rows for r in reports),
        absent=sum(r.absent for r in reports),
        counts=tuple(sorted(counts.items())),
        examples=_first_of_each(f for r in reports for f in r.examples),
        gaps=tuple(gap for r in reports for gap in r.gaps),
    )


def bad_bars(prices: Prices, path: Path | str) -> tuple[npt.NDArray[np.bool_], list[tuple[str, int]], list[Finding]]:
    """Rows whose open, high, low, close break ``not_a_price`` or ``ohlc_order``: mask ``bool[n]``, counts, examples.

    Each row is judged by its own four values.
    """
    opened, high, low, close = prices
    good = (low > MIN_PRICE) & (high < MAX_PRICE)
    good &= low <= np.minimum(opened, close)
    good &= high >= np.maximum(opened, close)
    bad = ~good
    rows = np.flatnonzero(bad)
    if not len(rows):
        return bad, [], []
    some = np.stack([values[rows] for values in prices], axis=1).astype(np.float64)
    broken = ~((some > MIN_PRICE) & (some < MAX_PRICE))
    no_price = np.flatnonzero(broken.any(axis=1))
    disorder = np.flatnonzero(~broken.any(axis=1))
    names = ("open", "high", "low", "close")
    first = ((i, int(np.argmax(broken[i]))) for i in no_price[:EXAMPLES])
    examples = findings_of("not_a_price", path, ((int(rows[i]), names[k], some[i, k]) for i, k in first))
    wrong = ((i, "low" if some[i, 2] > min(some[i, 0], some[i, 3]) else "high") for i in disorder[:EXAMPLES])
    examples += findings_of("ohlc_order", path, ((int(rows[i]), c, "o h l c = {} {} {} {}".format(*some[i])) for i, c in wrong))
    return bad, [("not_a_price", len(no_price)), ("ohlc_order", len(disorder))], examples


def withhold_jumps(closes: Array, bars: Ints) -> list[tuple[int, int, float]]:
    """Turn every close that breaks ``jump`` into NaN, in place; return ``(row, column, value)`` of each.

    A close p at bar b is withheld when |p/q - 1| > 0.5 for the last accepted close q of its asset and q is at most 3 bars old.
    ``closes``: float64[n_bars, n_assets], NaN = no price. ``bars``: int64[n_bars], ascending bar numbers of the rows.
    Causal: depends on ``closes[:t+1]`` only.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        wide = np.fmax.reduce(closes, axis=0) > 0.999 * (1 + JUMP) * np.fmin.reduce(closes, axis=0)
    withheld: list[tuple[int, int, float]] = []
    for column in np.flatnonzero(wide).tolist():
        withheld += [(row, column, value) for row, value in _jumps(closes[:, column], bars)]
    for row, column, _ in withheld:
        closes[row, column] = np.nan
    return withheld


def _jumps(prices: Array, bars: Ints) -> list[tuple[int, float]]:
    with np.errstate(invalid="ignore", over="ignore"):
        steps = [prices[lag:] / prices[:-lag] for lag in range(1, min(JUMP_BARS, len(prices) - 1) + 1)]
        if not any(((step > 1 + JUMP) | (step < 1 - JUMP)).any() for step in steps):
            return []
    found: list[tuple[int, float]] = []
    accepted, when = np.nan, 0
    for row in np.flatnonzero(np.isfinite(prices)).tolist():
        price, bar = float(prices[row]), int(bars[row])
        if abs(price / accepted - 1.0) > JUMP and bar - when <= JUMP_BARS:
            found.append((row, price))
        else:
            accepted, when = price, bar
    return found


def _first_of_each(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    kept: list[Finding] = []
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.rule] += 1
        if seen[finding.rule] <= EXAMPLES:
            kept.append(finding)
    return tuple(kept)


def report_of(
    *, bars: int, rows: int, absent: int, counts: Sequence[tuple[str, int]], examples: Iterable[Finding], gaps: tuple[Gap, ...]
) -> QualityReport:
    """A report in canonical form: rules sorted, zero counts left out, few examples each."""
    kept = tuple(sorted((rule, count) for rule, count in counts if count))
    return QualityReport(bars=bars, rows=rows, absent=absent, counts=kept, examples=_first_of_each(examples), gaps=gaps)
