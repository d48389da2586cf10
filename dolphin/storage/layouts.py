"""Source layouts of klines: exchange CSV, long parquet, freqtrade feather and JSON, CCXT rows.

Each parser gives ``Series``: the rows of one symbol or of several, in file order, times in ms, values float64 as they stand there.
Rows count from 0 without the header. Symbols come from the file's name (``BTCUSDT-1m-2024-01-02.csv``, ``BTC_USDT-1m.feather``,
``BTC_USDT_USDT-1m-futures.feather``) or from the CCXT key (``BTC/USDT:USDT``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from dolphin.errors import MalformedFile, QualityError, SchemaError
from dolphin.storage.bounded import MAX_SOURCE, Member, check_arrow_ipc, unpack
from dolphin.storage.kline_file import read_rows
from dolphin.storage.parquet import refusing
from dolphin.storage.schema import FLOW_COLUMNS
from dolphin.types import Array, Ints

__all__ = ["LAYOUTS", "Series", "interval_of", "parse", "suffix_of", "symbol_of"]

LAYOUTS = {
    "exchange": (".csv", ".csv.gz", ".zip"),
    "parquet": (".parquet",),
    "freqtrade": (".feather", ".json", ".json.gz"),
    "ccxt": (".json", ".json.gz"),
}
"""Layout names and the endings each reads; ``auto`` goes by the ending."""

_MAX_JSON = 256 << 20
_FIELDS = ("ts", "open", "high", "low", "close", "volume")
_FLOW_NAMES = {
    "quote_asset_volume": "quote_volume",
    "count": "trades",
    "number_of_trades": "trades",
    "taker_buy_base_asset_volume": "taker_buy_volume",
}
_TIME_NAMES = ("open_time", "opentime", "open time", "ts", "timestamp")
_EXCHANGE_REST = ("_close_time", "quote_volume", "trades", "taker_buy_volume", "_taker_buy_quote_volume", "_ignore")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

type _Row = tuple[int, float | None, float | None, float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """Rows of a source: ``ts`` int64[R] ms, ``code`` int32[R] into ``symbols`` (as the source writes them), values float64[R, 5] OHLCV;
    flows float64[R, 3] over ``FLOW_COLUMNS``, None where the layout has none."""

    symbols: tuple[str, ...]
    code: npt.NDArray[np.int32]
    ts: Ints
    values: Array
    bar_seconds: int = 0
    flows: Array | None = None


def suffix_of(path: Path) -> str:
    """The known ending of a name, or an empty string."""
    known = sorted({ending for endings in LAYOUTS.values() for ending in endings}, key=len, reverse=True)
    return next((ending for ending in known if path.name.endswith(ending)), "")


def symbol_of(text: str) -> str:
    """Symbol of a pair in any spelling: ``BTC/USDT:USDT``, ``BTC_USDT_USDT``, ``BTCUSDT`` -> ``BTCUSDT``; empty when it is none."""
    found = re.fullmatch(r"([A-Z0-9]+)[/_]([A-Z0-9]+?)(?:[:_]\2)?|([A-Z0-9]+(?:-PERP)?)", text)
    if not found:
        return ""
    return found[3] or found[1] + found[2]


def interval_of(text: str) -> int:
    """Seconds of ``1m``, ``5s``, ``1h``; 0 when it is no interval."""
    found = re.fullmatch(r"(\d{1,4})([smhd])", text)
    return int(found[1]) * _UNITS[found[2]] if found else 0


def parse(path: Path, layout: str = "auto", symbol: str | None = None) -> Iterator[Series]:
    """Read a source file. ``symbol`` overrules the name. Raises ``MalformedFile``, ``SchemaError`` or ``QualityError``."""
    ending = suffix_of(path)
    if layout != "auto" and layout not in LAYOUTS:
        raise SchemaError(f"layout {layout!r} is unknown", path=path, hint=f"auto, {', '.join(LAYOUTS)}")
    if not ending or (layout != "auto" and ending not in LAYOUTS[layout]):
        raise SchemaError(
            f"is not a source of layout {layout}", path=path, hint=f"known endings: {', '.join(sorted(sum(LAYOUTS.values(), ())))}"
        )
    if not path.is_file():
        raise MalformedFile("there is no such file", path=path)
    if ending == ".parquet":
        yield _parquet(path)
        return
    for member in unpack(path, _MAX_JSON if "json" in ending else MAX_SOURCE):
        if ending == ".feather":
            yield _named(path, member, symbol, *_feather(path, member.data))
        elif "json" in ending:
            yield from _json(path, member, symbol)
        elif member.name.endswith(".csv"):
            yield _named(path, member, symbol, *_csv(path, member.data))


def _named(path: Path, member: Member, symbol: str | None, ts: Ints, values: Array, flows: Array | None = None) -> Series:
    parts = member.name.partition(".")[0].split("-")
    spelled, interval = (f"{parts[0]}-PERP", parts[2:]) if parts[1:2] == ["PERP"] else (parts[0], parts[1:])
    if interval[1:2] and not re.fullmatch(r"futures|spot|\d{4}", interval[1]):
        raise SchemaError(f"{member.name} holds {interval[1]}, not klines", path=path)
    found = symbol or symbol_of(spelled)
    if not found:
        raise SchemaError(f"the name {member.name} tells no symbol", path=path, hint="pass symbol")
    seconds = interval_of(interval[0]) if interval else 0
    return Series((found,), np.zeros(len(ts), dtype=np.int32), _to_ms(ts, path), values, seconds, flows)


def _to_ms(ts: Ints, path: Path) -> Ints:
    if not len(ts):
        raise QualityError("the file has no rows", path=path)
    micro = bool(ts[0] >= 10**14)
    low, high = (10**14, 10**17) if micro else (10**11, 10**14)
    odd = (ts < low) | (ts >= high) | (ts % 1000 != 0 if micro else False)
    if odd.any():
        row = int(np.argmax(odd))
        raise QualityError(
            f"{int(ts[row])} is no time in {'us' if micro else 'ms'}", path=path, column="ts", row=row, hint="one unit a file"
        )
    return ts // 1000 if micro else ts


def _parquet(path: Path) -> Series:
    rows = read_rows(path, volume=True)
    assert rows.volume is not None
    values = np.stack([v.astype(np.float64) for v in (*rows.prices, rows.volume)], axis=1)
    flows = np.stack(rows.flows, axis=1) if rows.flows is not None else None
    return Series(rows.symbols, rows.code, _to_ms(rows.ts, path), values, rows.bar_seconds, flows)


def _feather(path: Path, data: bytes) -> tuple[Ints, Array]:
    import pyarrow as pa

    with refusing(path):
        check_arrow_ipc(data, path)
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        names = ("date", *_FIELDS[1:])
        for name in names:
            if table.schema.names.count(name) != 1:
                raise SchemaError(
                    "the column must be there once", path=path, column=name, hint=f"found {', '.join(table.schema.names[:12])}"
                )
        kind = table.schema.field("date").type
        if not pa.types.is_timestamp(kind):
            raise SchemaError(f"is {kind} but must be a timestamp", path=path, column="date")
        if table["date"].null_count:
            raise QualityError("the value is null", path=path, column="date", row=table["date"].is_null().to_pylist().index(True))
        times = table["date"].cast(pa.timestamp("ms", tz=kind.tz)).cast(pa.int64())
        return _flat(times), np.stack([_floats(table[name], path, name) for name in names[1:]], axis=1)


def _floats(column: Any, path: Path, name: str) -> Array:
    import pyarrow as pa

    if not pa.types.is_floating(column.type):
        raise SchemaError(f"is {column.type} but must be float", path=path, column=name)
    values: Array = _flat(column.cast(pa.float64()).fill_null(float("nan")))
    return values


def _flat(column: Any) -> npt.NDArray[Any]:
    parts = [np.from_dlpack(chunk) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _json(path: Path, member: Member, symbol: str | None) -> Iterator[Series]:
    is_map = member.data[:200].lstrip()[:1] == b"{"
    try:
        found: Any = msgspec.json.decode(member.data, type=dict[str, list[_Row]] if is_map else list[_Row])
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        place = re.search(r"\[(\d+)\](?:\[(\d+)\])?`?$", str(error))
        row = int(place[1]) if place else None
        column = _FIELDS[int(place[2])] if place and place[2] and int(place[2]) < len(_FIELDS) else None
        raise MalformedFile(f"is not rows [ms, o, h, l, c, v]: {error}", path=path, column=column, row=row) from error
    for key, rows in found.items() if is_map else [("", found)]:
        if not rows:
            raise QualityError(f"{key or member.name} has no rows", path=path)
        try:
            ts = np.array([row[0] for row in rows], dtype=np.int64)
        except OverflowError as error:
            raise QualityError("a time is no time in ms", path=path, column="ts") from error
        values = np.array([row[1:] for row in rows], dtype=np.float64)
        yield _named(path, Member(member.name, b""), symbol or (_ccxt_symbol(path, key) if is_map else None), ts, values)


def _ccxt_symbol(path: Path, key: str) -> str:
    if not symbol_of(key):
        raise SchemaError(f"{key[:40]!r} is not a pair like BTC/USDT:USDT", path=path)
    return symbol_of(key)


def _csv(path: Path, data: bytes) -> tuple[Ints, Array, Array | None]:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    first = data[:4096].removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].decode("utf-8", "replace").strip()
    cells = [cell.strip().strip('"').lower() for cell in first.split(",")]
    header = not cells[0].isdigit()
    names = _csv_names(path, cells, header)
    read = pacsv.ReadOptions(column_names=names, skip_rows=int(header), use_threads=False)
    extra = FLOW_COLUMNS if all(names.count(name) == 1 for name in FLOW_COLUMNS) else ()
    kinds = {"ts": pa.int64(), **dict.fromkeys((*_FIELDS[1:], *extra), pa.float64())}
    convert = pacsv.ConvertOptions(column_types=kinds, include_columns=[*_FIELDS, *extra])
    try:
        table = pacsv.read_csv(pa.BufferReader(data), read_options=read, convert_options=convert)
    except pa.ArrowInvalid as error:
        raise _csv_error(path, str(error).splitlines()[0], names, header) from error
    if table["ts"].null_count:
        raise QualityError("the value is empty", path=path, column="ts", row=table["ts"].is_null().to_pylist().index(True))
    values, *flows = (np.stack([_floats(table[n], path, n) for n in part], axis=1) for part in (_FIELDS[1:], extra) if part)
    return _flat(table["ts"]), values, flows[0] if flows else None


def _csv_names(path: Path, cells: list[str], header: bool) -> list[str]:
    if not header:
        if len(cells) not in (len(_FIELDS), len(_FIELDS) + len(_EXCHANGE_REST)):
            raise SchemaError(f"has {len(cells)} columns and no header; exchange klines have 12", path=path)
        return [*_FIELDS, *_EXCHANGE_REST][: len(cells)]
    names = ["ts" if cell in _TIME_NAMES else _FLOW_NAMES.get(cell, cell) for cell in cells]
    for name in _FIELDS:
        if names.count(name) != 1:
            raise SchemaError("the column must be in the header once", path=path, column="open_time" if name == "ts" else name)
    return names


def _csv_error(path: Path, message: str, names: list[str], header: bool) -> MalformedFile:
    column = re.search(r"column #(\d+)", message)
    row = re.search(r"Row #(\d+)", message)
    return MalformedFile(
        f"cannot be read: {message[:160]}",
        path=path,
        column=names[int(column[1])] if column and int(column[1]) < len(names) else None,
        row=int(row[1]) - 1 - int(header) if row else None,
    )
