"""What may cross the grid: a JSON object with ``schema`` and ``ts_ms``, as text of at most 256 KiB. Writers and readers both check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from dolphin.errors import QualityError

__all__ = ["MAX_BYTES", "Entry", "Raw", "Reason", "decode", "encode"]

MAX_BYTES: Final = 256 * 1024
"""Longest text of a record, UTF-8 bytes: a day's result with some 350 trades."""

_MAX_KEY: Final = 256


class Reason(StrEnum):
    """Why an entry has no record, or why a reader does not act on it."""

    ABSENT = "ABSENT"
    RECONNECTED = "RECONNECTED"
    NOT_TEXT = "NOT_TEXT"
    TOO_LARGE = "TOO_LARGE"
    NOT_JSON = "NOT_JSON"
    TOO_DEEP = "TOO_DEEP"
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    NO_SCHEMA = "NO_SCHEMA"
    NO_TIME = "NO_TIME"
    WRONG_FIELDS = "WRONG_FIELDS"
    FALLING_SEQ = "FALLING_SEQ"
    FUTURE_STAMP = "FUTURE_STAMP"
    STALE = "STALE"
    GRID_LOST = "GRID_LOST"


type Raw = str | Reason | None
"""What a store holds under a key: text, nothing, or something that is no text (its reason)."""


class Entry(NamedTuple):
    """One key of a map. ``reason`` is None when there is a record; ABSENT: nothing there, or removed; otherwise why it was refused.

    RECONNECTED (with an empty key) comes to watchers only: changes may have been missed, read everything again.
    """

    name: str
    key: str
    record: dict[str, Any] | None
    reason: Reason | None = None


def encode(name: str, key: str, record: Mapping[str, Any]) -> str:
    """The record as JSON text. Raises ``QualityError`` naming map and key for anything that a reader would refuse."""
    if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY:
        raise QualityError(f"{name}[{key!r:.80}]: a key is a string of 1 to {_MAX_KEY} characters")
    try:
        text = json.dumps(dict(record), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise QualityError(f"{name}[{key!r}]: {error}", hint="only JSON values cross the grid") from error
    if size > MAX_BYTES:
        raise QualityError(f"{name}[{key!r}]: {size} bytes, {Reason.TOO_LARGE}", hint=f"a record has at most {MAX_BYTES} bytes")
    reason = _unstamped(record)
    if reason is not None:
        raise QualityError(f"{name}[{key!r}]: {reason}", hint="a record has `schema`, a name, and `ts_ms`, milliseconds UTC")
    return text


def decode(raw: Raw) -> dict[str, Any] | Reason:
    """The record in ``raw``, or why there is none. Never raises, whatever the text."""
    if raw is None or isinstance(raw, Reason):
        return Reason.ABSENT if raw is None else raw
    if len(raw) > MAX_BYTES:
        return Reason.TOO_LARGE
    try:
        record = msgspec.json.decode(raw)
    except RecursionError:
        return Reason.TOO_DEEP
    except ValueError:
        return Reason.NOT_JSON
    if not isinstance(record, dict):
        return Reason.NOT_AN_OBJECT
    return _unstamped(record) or record


def _unstamped(record: Mapping[str, Any]) -> Reason | None:
    schema, ts = record.get("schema"), record.get("ts_ms")
    if not isinstance(schema, str) or not 0 < len(schema) <= _MAX_KEY:
        return Reason.NO_SCHEMA
    if not isinstance(ts, int) or isinstance(ts, bool) or not 0 <= ts < 2**63:
        return Reason.NO_TIME
    return None
