"""One file of klines, long format: ``ts`` (int64 ms, bar OPEN), ``symbol``, ``open high low close volume``; columns in any order.

``quote_volume trades taker_buy_volume`` are kept where a source tells them.

Files of our own carry ``bar_seconds``, the hashes of their sources and a digest of every column in the parquet metadata, so that
damage which the page checksums cannot see (the footer) is refused too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolphin.errors import MalformedFile, SchemaError
from dolphin.storage.checks import Prices
from dolphin.storage.digest import digest
from dolphin.storage.parquet import Parquet, write_parquet
from dolphin.storage.schema import FLOW_COLUMNS, KLINE_COLUMNS, PRICE_COLUMNS, checked_bar_seconds
from dolphin.types import Array, Ints

__all__ = ["FORMAT", "KlineRows", "read_rows", "read_symbols", "write_rows"]

FORMAT = "dolphin-klines/1"

_KINDS = {"ts": "int64", "symbol": "string", **dict.fromkeys((*PRICE_COLUMNS, "volume"), "float"), **dict.fromkeys(FLOW_COLUMNS, "number")}


@dataclass(frozen=True, slots=True)
class KlineRows:
    """Rows of a kline file in file order. ``code`` indexes ``symbols`` (sorted, each used); ``volume`` only when asked for, and
    with it ``flows``, float64[R] each over ``FLOW_COLUMNS``, when the file has all of them."""

    path: Path
    ts: Ints
    code: npt.NDArray[np.int32]
    symbols: tuple[str, ...]
    prices: Prices
    volume: npt.NDArray[Any] | None = None
    bar_seconds: int = 0
    unknown: tuple[str, ...] = ()
    flows: tuple[Array, ...] | None = None


def read_rows(path: Path, *, volume: bool = False) -> KlineRows:
    """Read a kline file; values are unchecked, structure is not.

    Raises ``MalformedFile`` (damage, caps), ``SchemaError`` (columns, types, ``bar_seconds``), ``QualityError`` (no rows, null).
    """
    with Parquet(path) as file:
        told = all(name in file.names for name in FLOW_COLUMNS)
        file.require((*KLINE_COLUMNS, *FLOW_COLUMNS) if told else KLINE_COLUMNS, _KINDS)
        bar_seconds = checked_bar_seconds(file.metadata["bar_seconds"], path) if "bar_seconds" in file.metadata else 0
        extra = FLOW_COLUMNS if told and volume else ()
        values = file.read((*KLINE_COLUMNS, *extra) if volume else KLINE_COLUMNS[:-1])
        ts = file.numbers(values, "ts")
        code, symbols = _sorted_codes(*file.texts(values, "symbol"))
        opened, high, low, close = (file.numbers(values, name) for name in PRICE_COLUMNS)
        sizes = file.numbers(values, "volume") if volume else None
        flows = tuple(file.numbers(values, name).astype(np.float64, copy=False) for name in extra) or None
        unknown = tuple(name for name in file.names if name not in (*KLINE_COLUMNS, *(FLOW_COLUMNS if told else ())))
        rows = KlineRows(path, ts, code, symbols, (opened, high, low, close), sizes, bar_seconds, unknown, flows)
        _verify(rows, file.metadata, file.names)
    return rows


def read_symbols(path: Path) -> tuple[str, ...]:
    """Symbols of a kline file, sorted; reads that column only."""
    with Parquet(path) as file:
        file.require(("symbol",), _KINDS)
        return _sorted_codes(*file.texts(file.read(("symbol",)), "symbol"))[1]


def read_times(path: Path) -> tuple[int, Ints]:
    """``(bar_seconds of the metadata or 0, sorted unique ts)`` of a kline file."""
    with Parquet(path) as file:
        file.require(("ts",), _KINDS)
        known = checked_bar_seconds(file.metadata["bar_seconds"], path) if "bar_seconds" in file.metadata else 0
        return known, np.unique(file.numbers(file.read(("ts",)), "ts"))


def write_rows(path: Path, rows: KlineRows, sources: Sequence[Mapping[str, str]] = ()) -> None:
    """Write rows (float64, ascending by symbol and time) to ``path``; publish around this call. ``rows.volume`` must be there."""
    if rows.volume is None:
        raise SchemaError("rows without volume cannot be written", path=path, column="volume")
    columns: dict[str, Any] = {"ts": rows.ts, "symbol": (rows.code, list(rows.symbols))}
    columns |= dict(zip((*PRICE_COLUMNS, "volume"), (*rows.prices, rows.volume), strict=True))
    columns |= dict(zip(FLOW_COLUMNS, rows.flows, strict=True)) if rows.flows is not None else {}
    facts = {"bar_seconds": str(rows.bar_seconds), "sources": json.dumps(list(sources), sort_keys=True)}
    metadata = {"format": FORMAT, **facts, "digest": json.dumps(_digests(rows, facts), sort_keys=True)}
    write_parquet(path, columns, metadata)


def _sorted_codes(code: npt.NDArray[np.int32], names: list[str]) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    used = np.bincount(code, minlength=len(names)) > 0
    symbols = tuple(sorted({name for name, is_used in zip(names, used, strict=True) if is_used}))
    place = {name: i for i, name in enumerate(symbols)}
    lookup = np.array([place.get(name, 0) for name in names], dtype=np.int32)
    return (code if np.array_equal(lookup, np.arange(len(names))) else lookup[code]), symbols


def _digests(rows: KlineRows, facts: Mapping[str, str]) -> dict[str, str]:
    names = " ".join([*rows.symbols, *(f"{k}={v}" for k, v in sorted(facts.items()))])
    found = {"ts": digest(rows.ts), "symbol": digest(rows.code.astype(np.int64)) + digest(np.frombuffer(_padded(names), np.int64))}
    found |= {name: digest(values) for name, values in zip(PRICE_COLUMNS, rows.prices, strict=True)}
    found |= {"volume": digest(rows.volume)} if rows.volume is not None else {}
    return found | ({name: digest(v) for name, v in zip(FLOW_COLUMNS, rows.flows, strict=True)} if rows.flows is not None else {})


def _padded(text: str) -> bytes:
    raw = text.encode()
    return raw + b" " * (-len(raw) % 8)


def _verify(rows: KlineRows, metadata: Mapping[str, str], names: Sequence[str]) -> None:
    if "format" not in metadata and "digest" not in metadata:
        return
    if metadata.get("format") != FORMAT:
        raise MalformedFile(f"format {metadata.get('format', 'absent')[:40]!r} is not {FORMAT!r}", path=rows.path, hint="import it again")
    try:
        wanted = json.loads(metadata.get("digest", "{}"))
    except ValueError:
        wanted = {}
    facts = {key: metadata.get(key, "") for key in ("bar_seconds", "sources")}
    if rows.ts.dtype != np.int64 or any(values.dtype != np.float64 for values in rows.prices):
        raise MalformedFile("the columns are not those that were written", path=rows.path)
    for name in wanted if isinstance(wanted, dict) else ():
        if name not in names:
            raise MalformedFile("the column that was written is gone", path=rows.path, column=name, hint="import it again")
    for name, found in _digests(rows, facts).items():
        if not isinstance(wanted, dict) or wanted.get(name) != found:
            raise MalformedFile("the values are not those that were written", path=rows.path, column=name, hint="import it again")
