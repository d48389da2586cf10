"""Settings of a deployment: what runs beside the engine, and where it listens. ``dolphin.config`` is the door to them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from dolphin.addresses import loopback

__all__ = ["AlertsConfig", "FeedConfig", "GridConfig", "LiveConfig", "PaperConfig", "ServicesConfig", "SupervisionConfig"]


class AlertsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where alerts go besides the log. The webhook's address is a secret and comes from the environment only: DOLPHIN_ALERT_WEBHOOK."""

    command: Annotated[str, Meta(description="program that gets each alert as JSON on its input, with arguments; no shell runs it")] = ""
    window_s: Annotated[float, Meta(ge=0, le=86_400, description="seconds in which the same alert is told once, then with its count")] = (
        60.0
    )
    timeout_s: Annotated[float, Meta(gt=0, le=60, description="seconds that a webhook or command may take")] = 5.0
    queue: Annotated[
        int, Meta(ge=1, le=100_000, description="alerts waiting for one receiver; beyond, old ones that are not critical go")
    ] = 256


class GridConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The feature grid: inside the process, or Hazelcast members on this machine."""

    kind: Annotated[Literal["embedded", "hazelcast"], Meta(description="embedded: maps in memory, one process")] = "embedded"
    cluster: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="name of the cluster")] = "dolphin"
    port: Annotated[int, Meta(ge=1024, le=65_000, description="port of the first member on 127.0.0.1; others follow")] = 5701
    members: Annotated[Literal[1, 3], Meta(description="members that `dolphin grid start` starts")] = 1
    server: Annotated[Literal["5.7.0", "5.4.0"], Meta(description="Hazelcast; 5.4.0 is the last open one with a CP subsystem")] = "5.7.0"
    connect_timeout_s: Annotated[float, Meta(gt=0, le=600, description="a connection to the cluster is given up after, seconds")] = 20.0
    call_timeout_s: Annotated[float, Meta(gt=0, le=60, description="a call without an answer is given up after, seconds")] = 5.0


class ServicesConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The processes of a deployment (``dolphin up``)."""

    required: Annotated[str, Meta(description="services whose heartbeat the watchdog asks for, names with commas between")] = (
        "scanner,acb_processor,ob_stream,trader"
    )


class PaperConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lanes and what they trade with. Each has a process, a journal and a lock of its own."""

    lanes: Annotated[Literal["BLUE", "GREEN", "BLUE,GREEN"], Meta(description="lanes that run: BLUE = SHORT, GREEN = LONG")] = "BLUE"
    on_stop: Annotated[
        Literal["hold", "flatten"], Meta(description="an open position when the lane is stopped: hold = goes on at the next start")
    ] = "hold"
    capital_blue: Annotated[float, Meta(ge=0, le=1e12, description="capital of BLUE at its start, USDT; 0: engine.start_capital")] = 0.0
    capital_green: Annotated[float, Meta(ge=0, le=1e12, description="capital of GREEN at its start, USDT; 0: engine.start_capital")] = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The lanes, in order."""
        return tuple(self.lanes.split(","))

    def capital(self, lane: str) -> float:
        """Of ``lane``, USDT; 0: the engine's."""
        return self.capital_green if lane == "GREEN" else self.capital_blue


class FeedConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where live bars and order books come from."""

    exchange: Annotated[str, Meta(description="exchange, as CCXT names it (binanceusdm); empty: no live feed")] = ""
    url: Annotated[str, Meta(description="address of a demo exchange on 127.0.0.1 in its stead; empty: the exchange itself")] = ""
    symbols: Annotated[str, Meta(description="symbols of bars and books, commas between; empty: all perpetuals in USDT")] = ""
    bar_seconds: Annotated[Literal[5, 60], Meta(description="length of a bar, seconds")] = 60
    record: Annotated[bool, Meta(description="trades of the feed are kept as parquet in the state folder")] = True
    grace_ms: Annotated[
        int, Meta(ge=0, le=60_000, description="a bar waits so long after its close for trades on their way, ms of ours")
    ] = 250
    clock_limit_ms: Annotated[
        int, Meta(ge=10, le=60_000, description="no bar is closed while our clock and the exchange's are further apart, ms of the market")
    ] = 1000
    stale_bars: Annotated[
        int, Meta(ge=0, le=10_000, description="bars without a trade that carry a symbol's last close; then no price")
    ] = 12
    backfill_s: Annotated[
        float, Meta(gt=0, le=3600, description="what an exchange that answers does not give within so many seconds is a gap")
    ] = 30.0

    def __post_init__(self) -> None:
        if self.url:
            loopback(self.url, "feed.url =")

    @property
    def live(self) -> bool:
        """Whether there is a live feed."""
        return bool(self.exchange or self.url)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The symbols that are named."""
        return tuple(name.strip() for name in self.symbols.split(",") if name.strip())


class LiveConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Orders with real money at Binance USDT-M. ``mode = live`` alone opens nothing: every gate of ``dolphin live check`` must hold."""

    mode: Annotated[Literal["paper", "live"], Meta(description="live: orders go to the exchange once every gate holds")] = "paper"
    url: Annotated[str, Meta(description="address of a demo exchange on 127.0.0.1 in the exchange's stead; empty: the exchange itself")] = (
        ""
    )
    signers: Annotated[
        str, Meta(description="public keys whose gate files count (`dolphin live key`), commas between; empty: nobody's")
    ] = ""
    gate_file: Annotated[str, Meta(description="signed gate file (`dolphin live sign`); empty: live_LANE.gate in the state folder")] = ""
    key_file: Annotated[
        str, Meta(description="file of mode 0600 with the exchange's key and secret; empty: DOLPHIN_BINANCE_KEY and DOLPHIN_BINANCE_SECRET")
    ] = ""
    paper_days: Annotated[int, Meta(ge=1, le=365, description="whole days on paper, the last one yesterday, without a blemish")] = 14
    reconciliation: Annotated[
        bool, Meta(description="orders and positions are compared with the exchange's, at the start and ever after")
    ] = True
    clock_skew_ms: Annotated[int, Meta(ge=1, le=5000, description="our clock and the exchange's may differ by, ms")] = 500


class SupervisionConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How `dolphin up` starts processes and keeps them up."""

    crash_window_s: Annotated[
        int, Meta(ge=1, le=3600, description="a process that ends sooner after its start has crashed in a loop, seconds")
    ] = 30
    crash_limit: Annotated[
        int, Meta(ge=0, le=100, description="such crashes in a row that are answered by a restart, each a second later")
    ] = 5
    start_timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="a process that is not healthy so long after its start has failed")
    ] = 60.0
    stop_timeout_s: Annotated[int, Meta(ge=1, le=600, description="a process that does not end so long after SIGTERM is killed")] = 10
