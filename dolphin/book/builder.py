"""One asset's order book out of a venue's messages: snapshot, update, bbo (best bid and offer), trade.

A bad message changes nothing that is served: it is counted under its ``BookVerdict`` and the last good book stays, with its time, until
it is stale. After a lost or malformed update the book waits for the next snapshot; a book that an update crossed waits until a later
one uncrosses it. Nothing here reads a clock: times are the messages' own, int64 ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dolphin.kernels.book_features import check_snapshot_nb
from dolphin.kernels.book_sides import apply_changes_nb, check_changes_nb, top_levels_nb
from dolphin.types import BOOK_LEVELS, Array, BookVerdict

__all__ = ["BookBuilder", "L2Message", "TopOfBook"]

_ROOM = 256


@dataclass(frozen=True, slots=True)
class TopOfBook:
    """The last good book: ``ts_ms`` of its last message, ``bids`` and ``asks`` float64[n, 2] of (price, size), best first."""

    ts_ms: int
    bids: Array
    asks: Array


@dataclass(frozen=True, slots=True)
class L2Message:
    """One message of a venue: ``kind`` snapshot, update, bbo or trade; ``ts_ms`` when it was received; ``rows`` float64[n, 3] of
    (side, price, size), side +1 = bid or buy, -1 = ask or sell."""

    venue: str
    symbol: str
    kind: str
    ts_ms: int
    rows: Array


class BookBuilder:
    """The book of one asset, ``depth`` levels a side of it served.

    ``counts``: messages by what became of them (``BookVerdict`` names, and ``trade``, ``bbo_disagrees``).
    """

    def __init__(self, depth: int = BOOK_LEVELS) -> None:
        self.depth = depth
        self.counts: Counter[str] = Counter()
        self._keys, self._sizes = np.empty((2, _ROOM)), np.empty((2, _ROOM))
        self._held = np.zeros(2, dtype=np.int64)
        self._following = self._good = self._moved = False
        self._ts_ms = 0
        self._seq: int | None = None
        self._last: TopOfBook | None = None

    @property
    def following(self) -> bool:
        """Whether a valid snapshot came and no update after it was lost."""
        return self._following

    @property
    def last_good(self) -> TopOfBook | None:
        """The newest book that was whole and not crossed; None before the first snapshot."""
        self._keep()
        return self._last

    def take(self, message: L2Message) -> BookVerdict:
        """Hand a message to the method of its kind; one of an unknown kind, or a bbo without both sides, is NOT_FINITE."""
        rows = message.rows
        bids, asks = rows[rows[:, 0] > 0, 1:], rows[rows[:, 0] < 0, 1:]
        if message.kind == "snapshot":
            return self.snapshot(message.ts_ms, bids, asks)
        if message.kind == "update":
            return self.update(message.ts_ms, rows)
        if message.kind == "bbo" and len(bids) == len(asks) == 1:
            return self.bbo(message.ts_ms, float(bids[0, 0]), float(asks[0, 0]))
        if message.kind == "trade":
            return max([self.trade(message.ts_ms, price, size) for _, price, size in rows.tolist()], default=BookVerdict.EMPTY)
        return self._count(BookVerdict.NOT_FINITE)

    def snapshot(self, ts_ms: int, bids: Any, asks: Any, seq: int | None = None) -> BookVerdict:
        """Replace the whole book by ``bids``, ``asks`` (pairs of price and size, any order). A bad one is refused and the old book stays.

        ``seq`` numbers must not fall while the book is followed; after a loss any number starts a new count.
        """
        best_bids, best_asks = _best_first(bids, 1.0), _best_first(asks, -1.0)
        if best_bids is None or best_asks is None:
            return self._count(BookVerdict.NOT_FINITE)
        verdict = BookVerdict(check_snapshot_nb(best_bids, best_asks))
        if verdict is BookVerdict.OK and (ts_ms < self._ts_ms or ts_ms <= 0 or (self._following and _behind(seq, self._seq))):
            verdict = BookVerdict.OUT_OF_ORDER
        if verdict is not BookVerdict.OK:
            return self._count(verdict)
        self._make_room(max(len(best_bids), len(best_asks)), keep=False)
        for i, (levels, sign) in enumerate(((best_bids, 1.0), (best_asks, -1.0))):
            n = len(levels)
            self._keys[i, :n], self._sizes[i, :n], self._held[i] = sign * levels[::-1, 0], levels[::-1, 1], n
        self._following, self._seq = True, None
        self._accept(ts_ms, seq)
        return self._count(BookVerdict.OK)

    def update(self, ts_ms: int, changes: Any, seq: int | None = None, previous: int | None = None) -> BookVerdict:
        """Apply ``changes``: rows of (side, price, size), side +1 = bid, -1 = ask, size 0 = remove.

        ``seq``: the venue's number of this message, ``previous``: of the one before (default ``seq - 1``). One that was seen is
        OUT_OF_ORDER and ignored; a step is a GAP, after which the book waits for a snapshot, as after a malformed message and, where
        there are no numbers, after one whose time lies before the last.
        """
        if not self._following:
            return self._count(BookVerdict.NO_SNAPSHOT)
        if _behind(seq, self._seq, same=True):
            return self._count(BookVerdict.OUT_OF_ORDER)
        if seq is None and ts_ms < self._ts_ms:
            return self._lose(BookVerdict.OUT_OF_ORDER)
        if seq is not None and self._seq is not None and (seq - 1 if previous is None else previous) != self._seq:
            return self._lose(BookVerdict.GAP)
        rows = _matrix(changes, 3)
        verdict = BookVerdict.NOT_FINITE if rows is None else BookVerdict(check_changes_nb(rows))
        if rows is None or verdict is not BookVerdict.OK:
            return self._lose(verdict)
        self._make_room(int(self._held.max()) + len(rows), keep=True)
        self._keep()  # before the arrays move: this message may cross the book
        apply_changes_nb(self._keys, self._sizes, self._held, rows)
        return self._count(self._accept(ts_ms, seq))

    def bbo(self, ts_ms: int, bid: float, ask: float) -> BookVerdict:
        """Compare the venue's best bid and offer with the book: a disagreement is counted, nothing is changed."""
        touch = [_matrix([(price, 1.0)], 2) for price in (bid, ask)]
        verdict = BookVerdict.NOT_FINITE
        if touch[0] is not None and touch[1] is not None:
            verdict = BookVerdict(check_snapshot_nb(touch[0], touch[1]))
        if verdict is BookVerdict.OK and self._good and (self._keys[0, self._held[0] - 1], -self._keys[1, self._held[1] - 1]) != (bid, ask):
            self.counts["bbo_disagrees"] += 1
        return self._count(verdict)

    def trade(self, ts_ms: int, price: float, size: float) -> BookVerdict:
        """Count a trade; it does not change the book (the venue's own update does)."""
        row = _matrix([(1.0, price, size)], 3)
        verdict = BookVerdict.NOT_FINITE if row is None else BookVerdict(check_changes_nb(row))
        self.counts["trade"] += verdict is BookVerdict.OK
        return self._count(verdict)

    def _accept(self, ts_ms: int, seq: int | None) -> BookVerdict:
        """The arrays changed: are they a book?"""
        self._ts_ms, self._seq = max(ts_ms, self._ts_ms), self._seq if seq is None else seq
        n, m = self._held
        verdict = BookVerdict.EMPTY if n == 0 or m == 0 else BookVerdict.OK
        if verdict is BookVerdict.OK and self._keys[0, n - 1] >= -self._keys[1, m - 1]:
            verdict = BookVerdict.CROSSED
        self._good = self._moved = verdict is BookVerdict.OK
        return verdict

    def _keep(self) -> None:
        if self._good and self._moved:
            out = np.empty((2, self.depth, 2))
            top_levels_nb(self._keys, self._sizes, self._held, out)
            self._last, self._moved = TopOfBook(self._ts_ms, out[0, : self._held[0]], out[1, : self._held[1]]), False

    def _lose(self, verdict: BookVerdict) -> BookVerdict:
        self._keep()
        self._following = self._good = False
        return self._count(verdict)

    def _count(self, verdict: BookVerdict) -> BookVerdict:
        self.counts[verdict.name] += 1
        return verdict

    def _make_room(self, levels: int, *, keep: bool) -> None:
        if levels <= self._keys.shape[1]:
            return
        wide = np.empty((2, 2 * levels)), np.empty((2, 2 * levels))
        if keep:
            for new, old in zip(wide, (self._keys, self._sizes), strict=True):
                new[:, : old.shape[1]] = old
        self._keys, self._sizes = wide


def _matrix(rows: Any, width: int) -> Array | None:
    """``rows`` as float64[n, width]; None when they are no numbers or not of that width."""
    try:
        matrix = np.ascontiguousarray(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if matrix.size == 0:
        return np.empty((0, width))
    return matrix if matrix.ndim == 2 and matrix.shape[1] == width else None


def _best_first(levels: Sequence[tuple[float, float]] | Array, sign: float) -> Array | None:
    rows = _matrix(levels, 2)
    return None if rows is None else np.ascontiguousarray(rows[np.argsort(-sign * rows[:, 0], kind="stable")])


def _behind(seq: int | None, last: int | None, *, same: bool = False) -> bool:
    return seq is not None and last is not None and (seq < last or (same and seq == last))
