"""The order-book service: books of all assets every 500 ms, as features into the shards and as ``ob_macro``.

A replay plays recorded days; live books come by CCXT Pro. Without a source the service says ``no_source`` and lives on. Nothing here is
journalled: a book is worth five seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from daemons.books import BookSample, BookSource, RecordedBooks, TrackedBooks
from daemons.grid_book import BOOK, SAMPLE_TS, SNAPSHOT_TS
from daemons.process import main
from daemons.service import Context, Service
from daemons.universe_books import UniverseBooks
from dolphin.grid.features import ShardedFeatureStore
from dolphin.grid.maps import FEATURES, ObMacro, fields
from dolphin.kernels.book_features import MACRO, macro_nb
from dolphin.lane.scan_log import known
from dolphin.types import BOOK_FEATURES, BOOK_STALE_MS, Array

__all__ = ["BookService"]

LIVE_S: Final = 0.5
REPLAY_S: Final = 0.1
"""Seconds between steps in a replay, whose market runs faster."""
AT_ONCE: Final = 16
"""Samples of one step; a replay that runs faster leaves older ones out."""
LONGEST_S: Final = 1.0
"""When a grid is slow, older samples of a step are left out after so long."""


class BookService(Service):
    """Samples of ``source`` into the grid."""

    name: ClassVar[str] = "ob_stream"

    def __init__(self, context: Context, source: BookSource | None = None) -> None:
        super().__init__(context)
        self.source = source if source is not None else _source(context)
        self.every_s = LIVE_S if context.replay is None else REPLAY_S
        self._store = ShardedFeatureStore(context.grid, context.clock.wall_ms)
        self._last: BookSample | None = None

    def step(self) -> None:
        """Publish what was sampled since the last step; the newest macro even when nothing was, so that it tells its age."""
        if self.source is None:
            self.status = "no_source"
            return
        now = self.context.clock.market_ms()
        samples, began = self.source.take(now, AT_ONCE), self.context.clock.monotonic()
        for sample in samples:
            if sample is samples[-1] or self.context.clock.monotonic() - began < LONGEST_S:
                self._store.put_many(BOOK, told_books(sample))
                self.progress()
            self._last = sample
        if samples:
            self.context.metrics.fed()
        if self._last is not None:
            macro = told_macro(self._last, now, self.context.clock.wall_ms())
            self.context.grid.put(FEATURES, "ob_macro", fields(macro))
        self.status = "running" if samples else "quiet"

    def reconnected(self) -> None:
        """Tell the newest books again."""
        if self._last is not None:
            self._store.put_many(BOOK, told_books(self._last))

    def stop(self) -> None:
        if self.source is not None:
            self.source.close()


def told_books(sample: BookSample) -> dict[str, dict[str, Any]]:
    """By symbol what the shards hold: features, times of snapshot and sample; symbols without a book of the last 5 s are left out."""
    fresh = np.flatnonzero((sample.times > 0) & (sample.ts_ms - sample.times <= BOOK_STALE_MS))
    told = {}
    for place, row in zip(fresh.tolist(), sample.features[fresh].tolist(), strict=True):
        values = dict(zip(BOOK_FEATURES, map(known, row), strict=True))
        told[sample.symbols[place]] = {SNAPSHOT_TS: int(sample.times[place]), SAMPLE_TS: sample.ts_ms, **values}
    return told


def told_macro(sample: BookSample, market_ms: int, wall_ms: int) -> ObMacro:
    """What the market's books say together at ``market_ms``, or at the sample's own time while no newer one is due. Medians run over the
    fresh assets: depth against its usual (at most 1), chance that a maker order fills (mean of both sides)."""
    market_ms = sample.ts_ms if market_ms <= sample.until_ms else market_ms
    out, scratch = np.empty(len(MACRO)), np.empty(len(sample.symbols))
    macro_nb(np.ascontiguousarray(sample.features), np.ascontiguousarray(sample.times), market_ms, scratch, out)
    fresh = (sample.times > 0) & (sample.times <= market_ms) & (market_ms - sample.times <= BOOK_STALE_MS)
    quality, buy, sell = (sample.features[fresh, BOOK_FEATURES.index(name)] for name in ("depth_quality", "fill_buy", "fill_sell"))
    depth, fill = _median(quality), _median((buy + sell) / 2.0)
    return ObMacro(
        ts_ms=wall_ms,
        cascade_count=known(out[0]),
        regime_signal=known(out[1]),
        market_imbalance=known(out[2]),
        market_agreement=known(out[3]),
        n_assets=int(out[5]),
        n_stale=int(out[6]),
        depth_quality=None if depth is None else min(1.0, depth),
        fill_probability=fill,
    )


def _median(values: Array) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None


def _source(context: Context) -> BookSource | None:
    """Recorded days in a replay that has some, the exchange's books when live."""
    settings = context.settings
    if context.replay is not None:
        return RecordedBooks(Path(settings.paths.book)) if settings.paths.book else None
    if not settings.feed.live:
        return None
    from daemons.ccxt_books import CcxtFeed
    from daemons.ccxt_client import exchange_client

    def follow(symbols: Sequence[str]) -> BookSource:
        return TrackedBooks(symbols, CcxtFeed(exchange_client(settings.feed), symbols, context.clock.market_ms))

    chosen = settings.feed.chosen
    return follow(chosen) if chosen else UniverseBooks(context.state.journals, follow, context.clock.monotonic)


if __name__ == "__main__":
    main(BookService)
