"""What the maps hold: names, keys and the fields of each record. ``schema`` is the tag, so a record of another kind is refused on decode.

Publish one by ``grid.put(name, key, fields(record))``. ``fence`` is the number of the writer's lock (``lock``), 0 where nobody else writes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from dolphin.types import Fraction, SafetyRecord

__all__ = [
    "CONTROL",
    "FEATURES",
    "HEARTBEAT",
    "LOADING",
    "NOT_AT_WORK",
    "RUNNING",
    "SAFETY",
    "STOPPED",
    "AcbBoost",
    "Book",
    "FeedState",
    "Forewarning",
    "Heartbeat",
    "Kill",
    "LaneState",
    "ObMacro",
    "PostureRecord",
    "Scan",
    "Stamped",
    "fields",
]

SAFETY: Final = "DOLPHIN_SAFETY"
FEATURES: Final = "DOLPHIN_FEATURES"
HEARTBEAT: Final = "DOLPHIN_HEARTBEAT"
CONTROL: Final = "DOLPHIN_CONTROL"

LOADING: Final = "loading"
"""Heartbeat of a process that lives and has not finished its first step."""
RUNNING: Final = "running"
"""Heartbeat of a process that has no better word."""
STOPPED: Final = "stopped"
"""Heartbeat of a process that left in order."""
NOT_AT_WORK: Final = (LOADING, STOPPED)

type Count = Annotated[int, Meta(ge=0)]
type Millis = Annotated[int, Meta(ge=0)]
type Date = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Stamped(Struct, frozen=True, kw_only=True):
    """What every record of a single writer has."""

    ts_ms: Millis
    fence: Count = 0


class PostureRecord(SafetyRecord, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.posture/1"):
    """DOLPHIN_SAFETY ``latest``, and the cell of that name."""

    fence: Count = 0


class AcbBoost(Stamped, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.acb/1"):
    """DOLPHIN_FEATURES ``acb_boost``: the circuit breaker's boost and beta for ``date``."""

    boost: Annotated[float, Meta(ge=1, le=3)]
    beta: Fraction
    signals: Annotated[float, Meta(ge=0)]
    factors: dict[str, float | None]
    w750_vel: float | None
    date: Date


class Forewarning(Stamped, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.forewarner/1"):
    """DOLPHIN_FEATURES ``mc_forewarner``."""

    status: Literal["OK", "ORANGE", "RED"]
    catastrophic_probability: Fraction
    envelope_score: float | None
    """None: cannot be told, which is RED."""
    date: Date
    model_hash: str


class ObMacro(Stamped, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.ob_macro/1"):
    """DOLPHIN_FEATURES ``ob_macro``; null = not known."""

    cascade_count: float | None
    regime_signal: float | None
    market_imbalance: float | None
    market_agreement: float | None
    n_assets: Count
    n_stale: Count
    depth_quality: Fraction | None = None
    """Median over the universe."""
    fill_probability: Fraction | None = None
    """Median over the universe, as it is (the plan's 0.62 is not divided out)."""


class LaneState(Stamped, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.lane/1"):
    """DOLPHIN_FEATURES ``lane_<BLUE or GREEN>``: what the lane is worth with its open position, and its peak since the lane began.

    Honest ledger, USDT. Published on every bar and at least once a minute: the watchdog takes an older one than 180 s for unknown.
    The venue's ledger beside it, null for a lane without orders: ``account`` balance with the open position marked, ``position`` (symbol,
    signed quantity, entry_price, unrealised), ``last_fill`` (symbol, side, quantity, price, fee, ts_ms).
    """

    equity: float
    peak: Annotated[float, Meta(gt=0)]
    date: Date
    bar: Annotated[int, Meta(ge=-1)]
    account: float | None = None
    position: dict[str, Any] | None = None
    last_fill: dict[str, Any] | None = None


class Scan(Stamped, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.scan/1"):
    """DOLPHIN_FEATURES ``scan_latest``: the newest bar, ``bar`` of its ``date``; null = no signal.

    ``close_ms`` on the market; ``seq`` in the scanner's journal; lists run over the scanner's windows.
    """

    close_ms: Millis
    seq: Count
    date: Date
    bar: Count
    vel_div: float | None
    lambda_max: list[float | None]
    velocity: list[float | None]
    instability: list[float | None]
    n_participants: list[int]


class FeedState(Stamped, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.feed/1"):
    """DOLPHIN_FEATURES ``feed``: how a live feed is. Counts since the scanner's start; times on the market, ms.

    ``lag_ms``: from the newest trade to the exchange's time; ``lead_ms``: least and largest lead of the exchange's clock over ours;
    ``gaps``: bars of a symbol that were given up, ``missing_bars``: whole bars without a row; ``down``: subscriptions that ended.
    """

    status: str
    symbols: Count
    without_price: Count
    lag_ms: float | None
    lead_ms: tuple[int, int] | None
    gaps: Count
    missing_bars: Count
    late: Count
    lost: Count
    duplicates: Count
    backfilled: Count
    down: Count


class Book(Struct, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.feature/1"):
    """DOLPHIN_FEATURES_SHARD_nn ``book_<symbol>``: features of one asset's order book by name (``BOOK_FEATURES``); null = not known."""

    ts_ms: Millis
    value: dict[str, float | None]


class Kill(Struct, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.kill/1"):
    """DOLPHIN_CONTROL ``kill``: latched until released. Absent or unreadable counts as engaged."""

    engaged: bool
    reason: str
    by: str
    ts_ms: Millis


class Heartbeat(Struct, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.heartbeat/1"):
    """DOLPHIN_HEARTBEAT ``<service>:<host>:<pid>``; put it with a time to live, so that the dead do not pile up."""

    seq: Count
    ts_ms: Millis
    status: str


def fields(record: Struct) -> dict[str, Any]:
    """The record as the JSON object that crosses the grid."""
    found: dict[str, Any] = msgspec.to_builtins(record)
    return found
