"""Journal records of one kind as columns of numbers and texts, for whoever wants to compute with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from dolphin.storage.journal import Kind, Record

__all__ = ["RecordColumns"]

NUMBERS = (int, float)


class RecordColumns:
    """Collects records of one kind, or whole ones of any. A field of the payload is a column, ``told.posture`` a part of one.

    Numbers are float64 (null = NaN), or int64 when all are whole and there; truths 1 and 0; texts "" where there is none; lists of
    numbers a column a place, ``velocity.0``, closes of a scan a column an asset, ``closes.BTCUSDT``; every other list is JSON.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._values: dict[str, list[Any]] = {}

    def add(self, record: Record, assets: list[str]) -> None:
        """One more row; ``assets`` of the scans that follow the newest universe."""
        payload = record.payload
        if record.kind == Kind.SCAN and len(assets) == len(payload["closes"]):
            payload = {**payload, "closes": dict(zip(assets, payload["closes"], strict=True))}
        own = {"seq": record.seq, "ts_ms": record.ts_ms, "writer": record.writer}
        self._row((*own.items(), *((name, value) for name, value in _flat(payload) if name not in own), ("hash", record.hash)))

    def add_whole(self, record: Record) -> None:
        """One more row of any kind, its payload as canonical JSON."""
        payload = json.dumps(record.payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        names = ("seq", "ts_ms", "writer", "kind", "prev_hash", "hash")
        values = {name: getattr(record, name) for name in names}
        self._row([*list(values.items())[:4], ("payload", payload), *list(values.items())[4:]])

    def _row(self, row: Iterable[tuple[str, Any]]) -> None:
        for name, value in row:
            column = self._values.setdefault(name, [])
            column.extend([None] * (self.rows - len(column)))
            column.append(value)
        self.rows += 1

    def arrays(self) -> dict[str, Any]:
        """Columns for ``write_parquet``."""
        for column in self._values.values():
            column.extend([None] * (self.rows - len(column)))
        parts = {name.rpartition(".")[0] for name in self._values}
        kept = {name: column for name, column in self._values.items() if name not in parts or any(value is not None for value in column)}
        return {name: _array(column) for name, column in kept.items()}


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, list) and value and all(each is None or isinstance(each, NUMBERS) for each in value):
            yield from ((f"{before}{name}.{place}", each) for place, each in enumerate(value))
        else:
            yield f"{before}{name}", value


def _array(column: list[Any]) -> Any:
    kinds = {type(value) for value in column}
    if kinds <= {bool, int}:
        return np.array(column, dtype=np.int64)
    if kinds <= {bool, int, float, type(None)}:
        return np.array([np.nan if value is None else value for value in column], dtype=np.float64)
    texts = [value if isinstance(value, str) else "" if value is None else json.dumps(value, separators=(",", ":")) for value in column]
    names = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    return np.array([names[text] for text in texts], dtype=np.int32), list(names)
