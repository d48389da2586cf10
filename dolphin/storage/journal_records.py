"""What a journal holds: kinds of records with their fields, and the chain of hashes over them.

``hash = sha256(prev_hash + row)`` with ``row = seq LF ts_ms LF writer LF kind LF payload`` (decimal numbers, LF = one newline byte;
payload = JSON with sorted keys, no spaces, UTF-8, finite numbers). The first ``prev_hash`` is ``sha256("dolphin.journal/1" LF writer)``,
so a journal of one lane cannot be passed off as another's.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from dolphin.errors import ConfigError, QualityError
from dolphin.types import TRADE_FIELDS

__all__ = ["FIELDS", "MAX_PAYLOAD", "SCHEMA", "Entry", "Kind", "Publication", "Record", "canonical", "chain", "checked_writer", "genesis"]

SCHEMA: Final = 1
"""Version of tables and chain; a file of another version is refused, never guessed at."""

MAX_PAYLOAD: Final = 1 << 20
"""Bytes of one payload: more is a defect of its writer. Bulk goes beside, as an attachment."""


class Kind(StrEnum):
    """What a record is about. ``FIELDS`` names what its payload must have; more is allowed."""

    STARTED = "started"
    STOPPED = "stopped"
    BAR = "bar"
    TRADE = "trade"
    DAY_RESULT = "day_result"
    ORDER_INTENT = "order_intent"
    ORDER_EVENT = "order_event"
    POSTURE = "posture"
    ACB_BOOST = "acb_boost"
    MC_FOREWARNER = "mc_forewarner"
    KILL = "kill"
    RELEASE = "release"
    SAFE_MODE = "safe_mode"
    RECOVERED = "recovered"
    SNAPSHOT = "snapshot"
    DAY_SNAPSHOT = "day_snapshot"
    ROTATED = "rotated"
    UNIVERSE = "universe"
    SCAN = "scan"
    DAY_TABLE = "day_table"
    SETTLEMENT = "settlement"


FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.STARTED: ("version", "config_hash", "pid"),
    Kind.STOPPED: ("reason", "exit_code"),
    Kind.BAR: ("date", "bar", "vel_div", "posture", "boost", "beta", "entry", "exit", "refusals"),
    Kind.TRADE: TRADE_FIELDS,
    Kind.DAY_RESULT: ("date", "capital", "trades"),
    Kind.ORDER_INTENT: ("client_order_id", "symbol", "side", "quantity", "order_type", "reduce_only", "reason"),
    Kind.ORDER_EVENT: ("client_order_id", "event"),
    Kind.POSTURE: ("posture", "rm", "target", "cat1", "cat2", "cat3", "cat4", "cat5", "reasons", "ts_ms", "seq"),
    Kind.ACB_BOOST: ("boost", "beta", "signals", "factors", "w750_vel", "date"),
    Kind.MC_FOREWARNER: ("status", "catastrophic_probability", "envelope_score", "date", "model_hash"),
    Kind.KILL: ("reason", "by"),
    Kind.RELEASE: ("reason", "by"),
    Kind.SAFE_MODE: ("engaged", "reason", "by"),
    Kind.RECOVERED: ("reason", "from_seq"),
    Kind.SNAPSHOT: ("date", "bar"),
    Kind.DAY_SNAPSHOT: ("date", "bar"),
    Kind.ROTATED: ("segment", "first_seq", "last_seq", "last_hash"),
    Kind.UNIVERSE: ("assets", "bar_seconds"),
    Kind.SCAN: ("date", "bar", "vel_div", "lambda_max", "velocity", "instability", "n_participants", "closes"),
    Kind.DAY_TABLE: ("date", "bars"),
    Kind.SETTLEMENT: ("trade_id", "asset", "direction", "quantity_model", "quantity_filled", "model_net", "fills_net"),
}
"""Payload fields by kind. Prices and capital in USDT, ``bar`` counts bars of the day, times are ms UTC; unknown numbers are null.

``bar`` is the decision: inputs as the engine read them, what it entered or left (null: nothing), refusals by name. ``day_result``,
``posture``, ``acb_boost`` and ``mc_forewarner`` are the grid's records of the same names. ``kill``, ``release`` and ``safe_mode`` say
why and who. ``scan`` is a closed bar (its close is the record's ``ts_ms``) as the scanner saw it, ``closes`` over the assets of the last
``universe``; ``day_table`` ends a day. ``snapshot`` and, at a day's end, ``day_snapshot`` carry a lane's state beside them.
``order_intent`` is written before its order is sent, ``order_event`` is what the venue said of it (a fill with price, quantity, fee),
``settlement`` a round trip in both ledgers (``VenueTrade``).
A record with bytes beside it has ``attachment: {sha256, bytes}``, too.
"""

_WRITER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")
_NO_SPACES = (",", ":")


@dataclass(frozen=True, slots=True)
class Entry:
    """What shall be written. ``publish``: key by target, e.g. ``{"grid": "DOLPHIN_SAFETY/latest"}``; ``attachment``: bytes kept beside."""

    kind: Kind
    payload: Mapping[str, Any]
    ts_ms: int
    publish: Mapping[str, str] = field(default_factory=dict)
    attachment: bytes | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What was written. Hashes are hexadecimal."""

    seq: int
    ts_ms: int
    writer: str
    kind: str
    payload: dict[str, Any]
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Publication:
    """A record that ``target`` has not acknowledged, and the key under which publishing it twice does no harm."""

    seq: int
    target: str
    key: str
    record: Record


def checked_writer(writer: str) -> str:
    """A lane or service name: letters, digits, ``_`` and ``-``. Raises ``ConfigError``."""
    if not _WRITER.fullmatch(writer):
        raise ConfigError(f"writer = {writer[:60]!r}: a lane or service is letters, digits, _ and -, at most 41, a letter first")
    return writer


def genesis(writer: str) -> bytes:
    """``prev_hash`` of the first record."""
    return hashlib.sha256(f"dolphin.journal/{SCHEMA}\n{writer}".encode()).digest()


def chain(prev_hash: bytes, seq: int, ts_ms: int, writer: str, kind: str, payload: bytes) -> bytes:
    """Hash of a row, 32 bytes."""
    return hashlib.sha256(prev_hash + f"{seq}\n{ts_ms}\n{writer}\n{kind}\n".encode() + payload).digest()


def canonical(entry: Entry) -> str:
    """The payload as canonical JSON.

    Raises ``QualityError`` naming kind and field for one that is missing, that JSON cannot hold (NaN, infinity), or a payload too large.
    """
    if entry.kind not in FIELDS:
        raise QualityError(f"journal record {str(entry.kind)[:40]!r}: no such kind", hint=f"one of {', '.join(FIELDS)}")
    kind, payload = Kind(entry.kind), dict(entry.payload)
    missing = [name for name in FIELDS[kind] if name not in payload]
    if missing:
        raise QualityError(f"journal record {kind}: field {missing[0]!r} is missing")
    if type(entry.ts_ms) is not int or not 0 <= entry.ts_ms < 1 << 62:
        raise QualityError(f"journal record {kind}: ts_ms = {entry.ts_ms!r} is no moment in ms UTC")
    if entry.attachment is not None:
        payload["attachment"] = {"sha256": hashlib.sha256(entry.attachment).hexdigest(), "bytes": len(entry.attachment)}
    try:
        text = _dumps(payload)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise QualityError(
            f"journal record {kind}: {_culprit(payload)}{error}", hint="JSON values only; unknown numbers are null"
        ) from error
    if size > MAX_PAYLOAD:
        raise QualityError(f"journal record {kind}: payload of {size} bytes, at most {MAX_PAYLOAD}", hint="attach bulk as bytes")
    return text


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=_NO_SPACES, ensure_ascii=False, allow_nan=False)


def _culprit(payload: Mapping[str, Any]) -> str:
    for name, value in payload.items():
        try:
            _dumps({name: value}).encode()
        except (TypeError, ValueError, RecursionError):
            return f"field {name!r}: "
    return ""
