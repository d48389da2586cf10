"""Raw order-book events of venues, one parquet file: ``recv_ts_us`` (int64 us), ``venue``, ``symbol``, ``kind`` (l2_snapshot, l2_update,
bbo, trade), ``side`` (B, S), ``price``, ``size`` (size 0 in an update = remove). Rows of one message stand together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from dolphin.book.builder import L2Message
from dolphin.errors import SchemaError
from dolphin.storage.parquet import Parquet

__all__ = ["read_l2_events"]

_TEXTS, _NUMBERS = ("venue", "symbol", "kind", "side"), ("price", "size")
_KINDS = dict.fromkeys(_TEXTS, "string") | dict.fromkeys(_NUMBERS, "float") | {"recv_ts_us": "int64"}
_NAMES = {"l2_snapshot": "snapshot", "l2_update": "update", "bbo": "bbo", "trade": "trade"}
_SIDES = {"B": 1.0, "S": -1.0}


def read_l2_events(path: Path | str) -> Iterator[L2Message]:
    """Messages in the order of the file; one ends where venue, symbol, kind or receive time changes.

    Values are handed on as they are: the book builder judges them. Raises ``MalformedFile`` or ``SchemaError`` naming the place.
    """
    path = Path(path)
    with Parquet(path) as file:
        file.require(tuple(_KINDS), _KINDS)
        table = file.read(tuple(_KINDS))
        times = file.numbers(table, "recv_ts_us")
        texts = {name: file.texts(table, name) for name in _TEXTS}
        prices, sizes = (file.numbers(table, name).astype(np.float64) for name in _NUMBERS)
    for name, known in (("kind", _NAMES), ("side", _SIDES)):
        codes, values = texts[name]
        strange = [i for i, value in enumerate(values) if value not in known]
        wrong = np.flatnonzero(np.isin(codes, strange))
        if len(wrong):
            raise SchemaError(f"{values[codes[wrong[0]]]!r} is none of {', '.join(known)}", path=path, column=name, row=int(wrong[0]))
    (venue, venues), (symbol, symbols), (kind, kinds), (side, sides) = (texts[name] for name in _TEXTS)
    signs = np.array([_SIDES.get(name, 0.0) for name in sides])
    rows = np.stack([signs[side], prices, sizes], axis=1)
    changed = (np.diff(venue) != 0) | (np.diff(symbol) != 0) | (np.diff(kind) != 0) | (np.diff(times) != 0)
    edges = [0, *(np.flatnonzero(changed) + 1).tolist(), len(times)]
    for first, last in pairwise(edges):
        ts_ms = int(times[first]) // 1000
        yield L2Message(venues[venue[first]], symbols[symbol[first]], _NAMES[kinds[kind[first]]], ts_ms, rows[first:last])
