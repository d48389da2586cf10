"""Recorded order-book features, one file a day: ``YYYY-MM-DD.parquet`` in a folder of its own.

A row is one asset at one sample: ``ts`` (int64 ms), ``symbol``, ``snapshot_ts`` (int64 ms, the snapshot behind it), then the features of
``BOOK_FEATURES`` (float64; NaN = not known yet). Rows are ordered by ts and symbol; an asset without a snapshot of the last 5 s has no
row. Metadata: format, sample_ms, symbols, rows, source, and a digest over all of it and the values. Published by temporary file,
fsync and rename. A file that is not ours, was changed, or breaks a rule of the recording is refused with the place named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.book.day import BookDay, check_book_day
from dolphin.book.provider import TableOrderBook
from dolphin.errors import MalformedFile, QualityError, SchemaError
from dolphin.storage.digest import digest
from dolphin.storage.parquet import MAX_CELLS, Parquet, release_memory, write_parquet
from dolphin.storage.publish import publish
from dolphin.storage.schema import SYMBOL, file_date
from dolphin.types import BOOK_FEATURES, Array, Ints

__all__ = ["FORMAT", "RecordedOrderBook", "read_book_day", "write_book_day"]

FORMAT = "dolphin-book/1"

_INTS = ("ts", "snapshot_ts")
_KINDS = dict.fromkeys(_INTS, "int64") | {"symbol": "string"} | dict.fromkeys(BOOK_FEATURES, "float")


def write_book_day(folder: Path | str, day: BookDay) -> Path:
    """Publish a day in ``folder``; returns the path. Raises ``QualityError`` or ``SchemaError`` on what ``read_book_day`` would refuse."""
    folder = Path(folder)
    path = folder / f"{day.date}.parquet"
    check_book_day(day, path)
    _check_symbols(day.symbols, path)
    rows, column = np.nonzero(day.snapshot_ts > 0)
    if not len(rows):
        raise QualityError("the day has no snapshot", path=path)
    codes = _sorted_codes(day.symbols)[column]
    order = np.lexsort((codes, rows))
    rows, column, codes = rows[order], column[order], codes[order]
    values = np.ascontiguousarray(day.features[rows, column].T)
    ints = (day.ts[rows], day.snapshot_ts[rows, column])
    columns: dict[str, Any] = {"ts": ints[0], "symbol": (codes, sorted(day.symbols)), "snapshot_ts": ints[1]}
    columns |= dict(zip(BOOK_FEATURES, values, strict=True))
    facts = {"sample_ms": str(day.sample_ms), "symbols": json.dumps(day.symbols), "rows": str(len(rows)), "source": day.source}
    folder.mkdir(parents=True, exist_ok=True)
    with publish(path) as temporary:
        write_parquet(temporary, columns, {"format": FORMAT, **facts, "digest": _digest(day.date, facts, ints, codes, values)})
    return path


def read_book_day(path: Path | str) -> BookDay:
    """Read and check a day. Raises ``MalformedFile``, ``SchemaError`` or ``QualityError`` naming file, column and row."""
    path = Path(path)
    date = file_date(path)
    with Parquet(path) as file:
        if file.metadata.get("format") != FORMAT:
            raise MalformedFile(f"is not a recording of order books ({FORMAT})", path=path)
        file.require(tuple(_KINDS), _KINDS)
        facts = {name: file.metadata.get(name, "") for name in ("sample_ms", "symbols", "rows", "source")}
        symbols, sample_ms = _facts(facts, path)
        table = file.read(tuple(_KINDS))
        ts, snapshots = (file.numbers(table, name) for name in _INTS)
        codes, names = file.texts(table, "symbol")
        values = np.array([file.numbers(table, name) for name in BOOK_FEATURES], dtype=np.float64)
    release_memory()
    ranks = _ranks(codes, names, symbols, path)
    if file.metadata.get("digest") != _digest(date, facts, (ts, snapshots), ranks, values):
        raise MalformedFile("the values are not those that were written", path=path, hint="record the day again")
    day = _dense(BookDay(date, sample_ms, symbols, ts, snapshots, values, facts["source"]), ranks, path)
    check_book_day(day, path)
    for array in (day.ts, day.snapshot_ts, day.features):
        array.setflags(write=False)
    return day


class RecordedOrderBook(TableOrderBook):
    """Provider of recorded days: the last sample not later than the bar, nothing older than 5 s, never a later row.

    Every file is read and checked here, so that a bad one stops the run before it starts; a day without a file is unknown = neutral.
    Holds 104 bytes a sample and symbol.
    """

    def __init__(self, folder: Path | str, dates: Sequence[str], direction: int = -1) -> None:
        paths = [Path(folder) / f"{date}.parquet" for date in dates]
        self.missing = tuple(date for date, path in zip(dates, paths, strict=True) if not path.exists())
        """Days that have no file."""
        super().__init__([read_book_day(path) for path in paths if path.exists()], direction)


def _check_symbols(symbols: Sequence[str], path: Path) -> None:
    bad = [name for name in symbols if not isinstance(name, str) or not SYMBOL.fullmatch(name)]
    if bad or len(set(symbols)) < len(symbols) or not symbols:
        raise SchemaError(f"symbols are not distinct names like BTCUSDT: {(bad or list(symbols))[:3]}", path=path, column="symbol")


def _sorted_codes(symbols: Sequence[str]) -> Ints:
    place = {name: i for i, name in enumerate(sorted(symbols))}
    return np.array([place[name] for name in symbols], dtype=np.int64)


def _facts(facts: dict[str, str], path: Path) -> tuple[tuple[str, ...], int]:
    try:
        symbols, sample_ms = tuple(json.loads(facts["symbols"])), int(facts["sample_ms"])
    except (ValueError, TypeError) as error:
        raise MalformedFile("the metadata is damaged", path=path, hint="record the day again") from error
    _check_symbols(symbols, path)
    return symbols, sample_ms


def _ranks(codes: Any, names: Sequence[str], symbols: Sequence[str], path: Path) -> Ints:
    """Place of every row's symbol among the sorted ``symbols``."""
    place = {name: i for i, name in enumerate(sorted(symbols))}
    table = np.array([place.get(name, -1) for name in names], dtype=np.int64)
    ranks: Ints = table[codes]
    if ranks.min() < 0:
        raise SchemaError("is not among the day's symbols", path=path, column="symbol", row=int(np.argmin(ranks)))
    return ranks


def _dense(flat: BookDay, ranks: Ints, path: Path) -> BookDay:
    """Rows of the file to blocks of samples by symbols."""
    ts, row = np.unique(flat.ts, return_inverse=True)
    if len(ts) * len(flat.symbols) * len(BOOK_FEATURES) > MAX_CELLS:
        raise MalformedFile("declares more samples and symbols than a day has", path=path)
    cell = row * len(flat.symbols) + ranks
    again = np.flatnonzero(np.diff(cell) <= 0)
    if len(again):
        raise QualityError("a row is repeated or out of order", path=path, column="ts", row=int(again[0]) + 1)
    column = np.argsort(_sorted_codes(flat.symbols))[ranks]
    snapshots = np.zeros((len(ts), len(flat.symbols)), dtype=np.int64)
    features: Array = np.full((len(flat.symbols), len(ts), len(BOOK_FEATURES)), np.nan).swapaxes(0, 1)
    snapshots[row, column] = flat.snapshot_ts
    features[row, column] = flat.features.T
    return BookDay(flat.date, flat.sample_ms, flat.symbols, ts, snapshots, features, flat.source)


def _digest(date: str, facts: dict[str, str], ints: tuple[Ints, Ints], ranks: Ints, values: Array) -> str:
    parts = [FORMAT, date, *(f"{name}={value}" for name, value in sorted(facts.items())), *map(digest, ints), digest(ranks), digest(values)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
