"""Funding payments of a pull: one ``funding.parquet`` beside the klines, with the spans that were asked for in its metadata."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from dolphin.errors import MalformedFile, QualityError
from dolphin.storage.funding import read_funding
from dolphin.storage.parquet import Parquet, write_parquet
from dolphin.storage.publish import publish
from dolphin.storage.schema import clock, date_of
from flows.pull_source import Listing, Source

__all__ = ["FUNDING", "FundingPull"]

FUNDING: Final = "funding.parquet"
FORMAT: Final = "dolphin-funding/1"

type Span = tuple[int, int]
"""``[start, end)`` in ms."""


class FundingPull:
    """Asks for what ``folder``'s file does not cover yet; rates that are there and come again must be the same."""

    def __init__(self, source: Source, listings: Sequence[Listing], span: Span, folder: Path) -> None:
        self._source, self._path = source, folder / FUNDING
        self._spool = folder / ".pull" / "funding"
        self._span = span
        self._rates: dict[tuple[str, int], float] = {}
        self._covered: dict[str, Span] = {}
        if self._path.exists():
            self._read()
        self._listings = [x for x in listings if not self._covers(x.symbol)]

    def jobs(self) -> list[Callable[[], Coroutine[Any, Any, str]]]:
        """One download a symbol; what came is kept, so that a killed pull asks for it once."""
        return [partial(self._ask, listing) for listing in self._listings]

    def publish(self) -> None:
        """Write the file, when anything was asked. Raises ``QualityError`` for a rate beyond 5 % or one that changed."""
        try:
            for listing in self._listings:
                for stamp, rate in json.loads(self._file(listing.symbol).read_text()):
                    self._add(listing.symbol, stamp, rate)
                self._covered[listing.symbol] = self._union(listing.symbol)
            if self._listings and self._rates:
                self._write()
        finally:
            shutil.rmtree(self._spool, ignore_errors=True)

    def counts(self, symbols: Sequence[str]) -> dict[str, int]:
        """Payments within the span by symbol."""
        found = dict.fromkeys(symbols, 0)
        for symbol, stamp in self._rates:
            if symbol in found and self._span[0] <= stamp < self._span[1]:
                found[symbol] += 1
        return found

    def _add(self, symbol: str, stamp: int, rate: float) -> None:
        held = self._rates.setdefault((symbol, stamp), rate)
        if held != rate:
            why = f"{symbol} {date_of(stamp)} {clock(stamp)} was {held}, the exchange now says {rate}"
            raise QualityError(why, path=self._path, column="funding_rate", hint="keep the old file elsewhere, then pull again")

    async def _ask(self, listing: Listing) -> str:
        path = self._file(listing.symbol)
        if not path.exists():
            rows = await self._source.funding(listing, *self._union(listing.symbol))
            path.parent.mkdir(parents=True, exist_ok=True)
            with publish(path) as temporary:
                temporary.write_text(json.dumps(rows))
        return listing.symbol

    def _file(self, symbol: str) -> Path:
        return self._spool / f"{symbol}-{self._span[0]}-{self._span[1]}.json"

    def _covers(self, symbol: str) -> bool:
        held = self._covered.get(symbol)
        return held is not None and held[0] <= self._span[0] and held[1] >= self._span[1]

    def _union(self, symbol: str) -> Span:
        """The asked span and the one that is there, with what lies between them: a covered span has no hole."""
        held = self._covered.get(symbol, self._span)
        return min(held[0], self._span[0]), max(held[1], self._span[1])

    def _read(self) -> None:
        with Parquet(self._path) as file:
            if file.metadata.get("format") != FORMAT:
                raise MalformedFile("was not written by `dolphin data pull`", path=self._path, hint="move it away, or use --no-funding")
            spans = json.loads(file.metadata["covered"])
        held = read_funding(self._path, sorted(spans))
        for column, symbol in enumerate(sorted(spans)):
            self._covered[symbol] = (spans[symbol][0], spans[symbol][1])
            known = np.isfinite(held.rates[:, column])
            stamps, rates = held.ts[known].tolist(), held.rates[known, column].tolist()
            self._rates |= {(symbol, stamp): rate for stamp, rate in zip(stamps, rates, strict=True)}

    def _write(self) -> None:
        rows = sorted(self._rates.items())
        names = sorted({symbol for (symbol, _), _ in rows})
        place = {name: i for i, name in enumerate(names)}
        columns = {
            "ts": np.array([stamp for (_, stamp), _ in rows], dtype=np.int64),
            "symbol": (np.array([place[symbol] for (symbol, _), _ in rows], dtype=np.int32), names),
            "funding_rate": np.array([rate for _, rate in rows]),
        }
        with publish(self._path) as temporary:
            write_parquet(temporary, columns, {"format": FORMAT, "covered": json.dumps(self._covered, sort_keys=True)})
            read_funding(temporary, names)
