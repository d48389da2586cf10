"""Records, dtypes and enumerations that more than one module speaks of.

Bar = one row of the day table. Prices, notional and capital are USDT; fractions are decimals (0.0095 = 95 bps);
``direction`` is -1 for SHORT and +1 for LONG; times are int64 milliseconds UTC, 0 = unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = [
    "BOOK_FEATURES",
    "BOOK_LEVELS",
    "BOOK_STALE_MS",
    "IRP_WINDOW",
    "LANES",
    "OB_ASSET",
    "OB_MACRO",
    "PARAMS",
    "SIDES",
    "STATE",
    "TRADE",
    "TRADE_FIELDS",
    "WINDOWS",
    "Array",
    "AssetVerdict",
    "BarResult",
    "BookVerdict",
    "Confirmation",
    "ExitReason",
    "Ints",
    "McStatus",
    "Posture",
    "Refusal",
    "SafetyRecord",
    "ScanBatch",
    "ScanRow",
]

type Array = npt.NDArray[np.float64]
type Ints = npt.NDArray[np.int64]

WINDOWS: Final = (50, 150, 300, 750)
"""Scanner windows in bars, shortest first; index 0 and 3 make vel_div."""

IRP_WINDOW: Final = 50
"""Prices that Impulse Response Profiling looks at."""

LANES: Final = {"BLUE": -1, "GREEN": 1}
"""Direction of each lane: BLUE sells short, GREEN buys."""

SIDES: Final = {-1: "SHORT", 1: "LONG"}
"""Word for a direction."""


class Posture(StrEnum):
    """Survival-stack posture: how much the system is allowed to do."""

    APEX = "APEX"
    STALKER = "STALKER"
    TURTLE = "TURTLE"
    HIBERNATE = "HIBERNATE"


type Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class SafetyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation of the survival stack, as it is published; ``seq`` grows by 1. Ranges are checked on decode."""

    posture: Posture
    rm: Fraction
    target: Fraction
    cat1: Fraction
    cat2: Fraction
    cat3: Fraction
    cat4: Fraction
    cat5: Fraction
    reasons: tuple[str, ...]
    ts_ms: Annotated[int, msgspec.Meta(ge=0)]
    seq: Annotated[int, msgspec.Meta(ge=0)]


class McStatus(StrEnum):
    """Verdict of the MC-forewarner (Monte-Carlo forewarner) for a day; OFF when none is attached."""

    OFF = "OFF"
    OK = "OK"
    ORANGE = "ORANGE"
    RED = "RED"


class ExitReason(IntEnum):
    """Why a position was closed. The name is what records and reports show."""

    NONE = 0
    FIXED_TP = 1
    STOP_LOSS = 2
    VD_ADVERSE = 3
    TF_EXHAUST = 4
    TF_FLIP = 5
    MAX_HOLD = 6
    HIBERNATE_HALT = 7
    SUBDAY_ACB_NORMALIZATION = 8
    STALE_PRICE = 9


class Refusal(IntEnum):
    """First reason why a bar entered nothing, in the order in which the loop asks."""

    NONE = 0
    IN_POSITION = 1
    EXIT_THIS_BAR = 2
    HALTED = 3
    WARMING_UP = 4
    VOL_REGIME = 5
    NO_CAPITAL = 6
    NO_SIGNAL = 7
    NO_ASSET = 8
    DC_CONTRADICT = 9
    OB_AGAINST = 10


class AssetVerdict(StrEnum):
    """What became of an asset on a bar that looked for one: the first reason that holds, in the order of the ranking."""

    CHOSEN = "CHOSEN"
    NO_PRICE = "NO_PRICE"
    BANNED = "BANNED"
    SHORT_HISTORY = "SHORT_HISTORY"
    NOISE = "NOISE"
    LATENCY = "LATENCY"
    ALIGNMENT = "ALIGNMENT"
    OTHER_WAY = "OTHER_WAY"
    THIN_BOOK = "THIN_BOOK"
    OUTRANKED = "OUTRANKED"


class Confirmation(IntEnum):
    """Direction confirmation (DC): what the chosen asset's last 8 prices say about the trade."""

    CONTRADICT = -1
    NEUTRAL = 0
    CONFIRM = 1


class BookVerdict(IntEnum):
    """What a book said about a snapshot or a message: taken (OK), or the first reason why not."""

    OK = 0
    EMPTY = 1
    NOT_FINITE = 2
    BAD_SIZE = 3
    UNORDERED = 4
    DUPLICATE = 5
    CROSSED = 6
    OUT_OF_ORDER = 7
    GAP = 8
    NO_SNAPSHOT = 9


TRADE_FIELDS: Final = (
    "trade_id", "date", "asset", "direction", "entry_bar", "exit_bar", "entry_ts", "exit_ts", "entry_price", "exit_price",
    "notional", "leverage", "fraction", "bucket", "vel_div", "strength", "confidence", "dc", "irp_alignment", "ars", "reason",
    "bars_held", "gross_pnl", "fees", "net_pnl", "capital_after", "honest_ret", "honest_capital_after", "boost", "beta",
    "mc_status", "posture",
)  # fmt: skip
"""One closed trade, the same names in dicts, parquet, grid and reports.

``date`` is the UTC day on which it closed; ``asset``, ``reason``, ``dc``, ``mc_status`` and ``posture`` are strings; the last two,
``boost`` and ``beta`` are those in force at entry.
"""

_ENTRY = [
    ("asset", "i8"), ("direction", "i8"), ("entry_bar", "i8"), ("entry_ts", "i8"), ("bucket", "i8"), ("dc", "i8"),
    ("mc_status", "i8"), ("posture", "i8"), ("entry_price", "f8"), ("notional", "f8"), ("leverage", "f8"), ("fraction", "f8"),
    ("vel_div", "f8"), ("strength", "f8"), ("confidence", "f8"), ("irp_alignment", "f8"), ("ars", "f8"), ("boost", "f8"), ("beta", "f8"),
]  # fmt: skip

TRADE: Final = np.dtype(
    [
        ("trade_id", "i8"), *_ENTRY, ("exit_bar", "i8"), ("exit_ts", "i8"), ("bars_held", "i8"), ("reason", "i8"),
        ("exit_price", "f8"), ("gross_pnl", "f8"), ("fees", "f8"), ("net_pnl", "f8"), ("capital_after", "f8"),
        ("honest_ret", "f8"), ("honest_capital_after", "f8"), ("funding_missing", "i8"),
    ],
    align=True,
)  # fmt: skip
"""A closed trade as the kernels write it; ``asset`` is a column of the day's block, enumerations are their integer values."""

STATE: Final = np.dtype(
    [
        ("capital", "f8"), ("honest_capital", "f8"), ("last_exit_bar", "i8"), ("bar_count", "i8"), ("global_bar_idx", "i8"),
        ("row_in_day", "i8"), ("draws_used", "i8"), ("n_trades", "i8"), ("n_vel_div", "i8"), ("vel_div_history", "f8", (10,)),
        ("recent_losses", "i8", (5,)), ("bucket_trades", "i8", (4,)), ("bucket_wins", "i8", (4,)),
        ("direction", "i8"), ("posture", "i8"), ("mc_status", "i8"), ("halted", "i8"), ("boost", "f8"), ("beta", "f8"), ("mc_scale", "f8"),
        ("acb_exit_due", "i8"), ("day_start_capital", "f8"), ("day_start_honest", "f8"), ("last_ts", "i8"),
        ("open", "i8"), *[("p_" + name, kind) for name, kind in _ENTRY],
        ("p_last_price", "f8"), ("p_stale_bars", "i8"), ("p_adverse_bars", "i8"), ("p_spread0", "f8"),
    ],
    align=True,
)  # fmt: skip
"""Everything scalar that the engine carries from bar to bar; ``p_*`` is the open position, meaningful while ``open`` is 1."""

PARAMS: Final = np.dtype(
    [
        (name, "f8")
        for name in (
            "short_threshold", "short_extreme", "long_threshold", "long_extreme", "min_leverage", "max_leverage", "hard_leverage_cap",
            "stalker_leverage_cap", "convexity", "min_fraction", "max_fraction", "dc_min_magnitude_bps", "dc_leverage_boost",
            "min_irp_alignment", "fixed_tp_pct", "stop_loss_pct", "vd_adverse_level", "tf_exhaust_ratio", "tf_flip_ratio",
            "maker_entry_rate", "maker_exit_rate", "maker_credit", "edge_probability", "edge_credit",
            "taker_fee", "maker_fee", "exit_slippage", "stop_slippage", "stale_slippage", "honest_slippage", "honest_taker_fee",
        )
    ]
    + [
        (name, "i8")
        for name in (
            "lookback", "dc_lookback", "dc_skip_contradicts", "use_direction_confirm", "use_asset_selection", "max_hold_bars",
            "stale_price_bars", "vd_enabled", "vd_adverse_bars", "tf_enabled", "irp_returns",
        )
    ],
    align=True,
)  # fmt: skip
"""The engine's configuration as the kernels read it: one record, filled from ``EngineConfig`` field by field."""

OB_ASSET: Final = ("imbalance_ma5", "imbalance_persistence", "withdrawal_velocity", "depth_quality", "fill_probability")
"""Last axis of the per-asset order-book block ``float64[n_bars, n_assets, 5]``; NaN = nothing known = neutral."""

OB_MACRO: Final = ("cascade_count", "regime_signal", "market_imbalance", "market_agreement", "market_multiplier")
"""Last axis of the order-book macro block ``float64[n_bars, 5]``; NaN = neutral."""

BOOK_LEVELS: Final = 20
"""Levels a side that a snapshot contributes."""

BOOK_STALE_MS: Final = 5_000
"""A snapshot older than this, ms, is no longer known."""

BOOK_FEATURES: Final = (
    "imbalance", "imbalance_ma5", "imbalance_persistence", "withdrawal_velocity", "depth_quality", "spread_bps",
    "fill_buy", "fill_sell", "mid_move_bps", "mid", "depth",
)  # fmt: skip
"""What one snapshot says about one asset, the last axis of every feature block.

``fill_buy`` and ``fill_sell``: chance that a maker buy or sell at the touch fills; ``mid_move_bps``: move of the mid over 30 s;
``mid`` USDT; ``depth``: notional of both sides within 20 bps of the mid, USDT. NaN = not known yet.
"""


@dataclass(frozen=True, slots=True)
class ScanRow:
    """What the scanner says about one bar. NaN = no signal. Tuples run over ``WINDOWS``."""

    bar: int
    vel_div: float
    lambda_max: tuple[float, ...]
    velocity: tuple[float, ...]
    instability: tuple[float, float]
    n_participants: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScanBatch:
    """Scanner output: ``vel_div[n]``, ``lambda_max[n, 4]``, ``velocity[n, 4]``, ``instability[n, 2]``, ``n_participants[n, 4]``.

    ``path``: the promise it was computed under, ``"stream"`` (bit-reproducible) or ``"blocked"`` (within 1e-11 relative); as of now one
    arithmetic keeps both.
    """

    vel_div: Array
    lambda_max: Array
    velocity: Array
    instability: Array
    n_participants: Ints
    path: str


@dataclass(frozen=True, slots=True)
class BarResult:
    """What one bar did: an entry, an exit (a trade record), or the first reason why nothing was entered."""

    entry: dict[str, Any] | None = None
    exit: dict[str, Any] | None = None
    refusals: tuple[str, ...] = field(default=())
