"""What the page shows and `/api/state` answers: one frozen struct. Unknown is null, never a healthy-looking zero.

Names that end in ``_ms`` are UTC milliseconds of this machine's clock, those in ``_market_ms`` of the market's; a reader computes ages from
them. Money is USDT, shares and moves are decimals (0.0095 = 0.95 %). ``/api/schema`` is this file as JSON Schema.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = [
    "AlertView",
    "Category",
    "Concern",
    "Curve",
    "Deployment",
    "FeatureView",
    "FeedView",
    "Gap",
    "GridView",
    "KillView",
    "LaneView",
    "Level",
    "LiveFeed",
    "LogLine",
    "Market",
    "Position",
    "PostureChange",
    "PostureView",
    "ProcessView",
    "Refused",
    "Snapshot",
    "TradeView",
    "VenueView",
]


class Deployment(Struct, frozen=True, kw_only=True):
    """``up``: a supervisor answers; ``left_over``: processes that run without one.

    ``problem``: why its settings cannot be read, empty when they can.
    """

    state: str
    up: bool
    supervisor_pid: int
    left_over: int
    version: str
    problem: str


class Market(Struct, frozen=True, kw_only=True):
    """The market's clock: ``market_ms + (now - wall_ms)*speed``. ``replay``: its days, empty when live; ``ended``: no more bars come."""

    wall_ms: int
    market_ms: int
    speed: float
    replay: str
    ended: bool


type Level = Literal["critical", "warning", "info"]


class Concern(Struct, frozen=True, kw_only=True):
    """Something that an operator should know: ``text`` in words, ``do``: a command or an advice, empty when there is nothing to do."""

    level: Level
    text: str
    do: str = ""


class Category(Struct, frozen=True, kw_only=True):
    """A category of the survival stack. ``mended``: target of Rm if this one alone were at 1, and ``lifts``: its posture."""

    name: str
    value: float
    meaning: str
    mended: float
    lifts: str


class PostureChange(Struct, frozen=True, kw_only=True):
    """An evaluation that changed the posture."""

    posture: str
    at_ms: int
    rm: float
    reasons: list[str]


class PostureView(Struct, frozen=True, kw_only=True):
    """``posture``: what a trader would obey now; ``state``, ``reason``: whether that is what the watchdog says, and why not.

    ``published``: the watchdog's own word, null when there is none; ``since_ms``: since when it says so; ``limit_s``: age of its word
    beyond which nobody enters; ``lift``: what would lift it.
    """

    posture: str
    state: str
    reason: str | None
    published: str | None
    said_ms: int | None
    limit_s: float
    since_ms: int | None
    rm: float | None
    target: float | None
    reasons: list[str]
    categories: list[Category]
    lift: list[str]
    changes: list[PostureChange]


class KillView(Struct, frozen=True, kw_only=True):
    """``engaged``: by the file, null when it cannot be told, which counts as engaged; ``grid``: what it says; ``offered``: by this page."""

    engaged: bool | None
    reason: str
    by: str
    since_ms: int | None
    grid: Literal["engaged", "off", "unknown", "refused"]
    offered: bool


class Position(Struct, frozen=True, kw_only=True):
    """An open position. ``bars``: its age, null when its entry was not seen; ``move``: in trade direction since entry; ``unrealised``:
    ``notional*move``, before costs. ``to_*``: how far the price still moves to get there; limits are those of the settings, an order book
    may tighten them.
    """

    asset: str
    direction: int
    entry_market_ms: int
    entry_price: float
    notional: float
    leverage: float
    bars: int | None
    max_bars: int
    price: float | None
    price_market_ms: int | None
    move: float | None
    unrealised: float | None
    take_profit_price: float
    to_take_profit: float | None
    stop_price: float | None
    to_stop: float | None


class VenueView(Struct, frozen=True, kw_only=True):
    """The account at the venue, as the lane published it; ``account`` with the open position marked."""

    account: float
    unrealised: float
    position: str
    last_fill: str
    said_ms: int


class TradeView(Struct, frozen=True, kw_only=True):
    """A closed trade; ``net_pnl`` in the champion's ledger, ``honest_pnl`` in the honest one."""

    asset: str
    direction: int
    entry_market_ms: int
    exit_market_ms: int
    entry_price: float
    exit_price: float
    notional: float
    bars: int
    reason: str
    means: str
    net_pnl: float
    honest_pnl: float
    honest_ret: float


class Refused(Struct, frozen=True, kw_only=True):
    """Bars that entered nothing for this reason in the last market hours; ``doubt``: about the deployment, not about the market."""

    reason: str
    means: str
    doubt: bool
    hour: int
    six_hours: int
    day: int


class Curve(Struct, frozen=True, kw_only=True):
    """Equity over market time. ``venue``: the account of closed trades beside ``equity``, empty for a lane without orders."""

    market_ms: list[int]
    equity: list[float]
    venue: list[float | None]


class LaneView(Struct, frozen=True, kw_only=True):
    """A lane from its journal and from the grid. ``live``: with real orders, not on paper. ``problem``: why its journal
    cannot be read, empty when it can.

    ``equity`` and ``peak``: honest ledger with the open position marked; ``capital``, ``honest_capital``: of closed trades; ``day_pnl``: of
    ``equity`` since the day began; ``posture``, ``blocks``, ``refusals``: of the newest bar; ``rejected``: orders that the venue refused on
    that day, ``rejection``: the newest one's reason.
    """

    lane: str
    live: bool
    direction: int
    configured: bool
    problem: str
    reading: bool
    unreadable: int
    date: str
    bar: int | None
    bar_market_ms: int | None
    bar_seconds: int | None
    equity: float | None
    peak: float | None
    capital: float | None
    honest_capital: float | None
    day_pnl: float | None
    day_start: float | None
    posture: str
    blocks: list[str]
    refusals: list[str]
    safe_mode: str | None
    rejected: int
    rejection: str
    grid_state: str
    grid_ms: int | None
    venue: VenueView | None
    position: Position | None
    trades: list[TradeView]
    last_trade: TradeView | None
    refused: list[Refused]
    curve: Curve


class GridView(Struct, frozen=True, kw_only=True):
    """``contact_ms``: when everything was last read; ``cell``: where the posture lies; ``refused``: records refused here, by reason."""

    connected: bool
    members: int
    contact_ms: int | None
    cell: str
    refused: dict[str, int]


class ProcessView(Struct, frozen=True, kw_only=True):
    """``beat_ms``: its last heartbeat (a member: when it last answered); ``output``: what it put out last, and when."""

    name: str
    state: str
    pid: int
    since_ms: int | None
    beat_ms: int | None
    limit_s: float
    word: str
    restarts: int
    healthy: bool
    output: str
    output_ms: int | None
    output_market_ms: int | None


class FeatureView(Struct, frozen=True, kw_only=True):
    """A record of the grid as a trader judges it: FRESH, STALE, REFUSED or UNKNOWN."""

    name: str
    state: str
    reason: str | None
    said_ms: int | None
    limit_s: float | None
    says: str


class Gap(Struct, frozen=True, kw_only=True):
    """Bars that are missing between two closes."""

    from_market_ms: int
    to_market_ms: int
    missing: int


class LiveFeed(Struct, frozen=True, kw_only=True):
    """What the scanner publishes of a live feed; counts since its start, as ``dolphin.grid.maps`` describes them."""

    ts_ms: int
    status: str
    lag_ms: float | None = None
    gaps: int = 0
    missing_bars: int = 0
    late: int = 0
    lost: int = 0
    backfilled: int = 0
    down: int = 0


class FeedView(Struct, frozen=True, kw_only=True):
    """The scanner's journal. ``silent``: symbols without a price on the newest bar; ``gaps``: of the last day, newest first.

    ``live``: what the scanner says of an exchange's feed, null in a replay.
    """

    problem: str
    symbols: int
    bar_seconds: int | None
    bar: int | None
    date: str
    close_market_ms: int | None
    vel_div: float | None
    silent: list[str]
    gaps: list[Gap]
    seen_from_market_ms: int | None
    live: LiveFeed | None


class AlertView(Struct, frozen=True, kw_only=True):
    """An alert, or what an operator did."""

    at_ms: int
    severity: str
    kind: str
    key: str
    text: str
    service: str


class LogLine(Struct, frozen=True, kw_only=True):
    """A line of a process's log, redacted; ``own``: of our code, not of a library's routine."""

    at_ms: int
    service: str
    level: str
    text: str
    own: bool


class Snapshot(Struct, frozen=True, kw_only=True, tag_field="schema", tag="dolphin.dashboard/1"):
    """Everything at once, as of ``as_of_ms``."""

    as_of_ms: int
    deployment: Deployment
    market: Market
    concerns: list[Concern]
    posture: PostureView
    kill: KillView
    lanes: list[LaneView]
    grid: GridView
    processes: list[ProcessView]
    features: list[FeatureView]
    feed: FeedView
    alerts: list[AlertView]
    log: list[LogLine]
