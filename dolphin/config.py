"""Settings: frozen structs, one per stage; ``load`` is the only door, ``load_profile`` the short one for the engine.

Origins, each over the one before: default (the named profile) < file (TOML) < environment ``DOLPHIN__SECTION__NAME`` < flag
(``--set section.name=value``; a bare name means ``engine.name``).
Profiles are frozen: a changed default needs a new named profile, never an edit.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from dolphin.deployment import AlertsConfig, FeedConfig, GridConfig, LiveConfig, PaperConfig, ServicesConfig, SupervisionConfig
from dolphin.errors import ConfigError

__all__ = [
    "PROFILES",
    "EngineConfig",
    "LoadedConfig",
    "PathsConfig",
    "ScannerConfig",
    "Settings",
    "SurvivalConfig",
    "SyntheticConfig",
    "VenueConfig",
    "config_hash",
    "load",
    "load_profile",
    "settings_rows",
    "to_toml",
]


class EngineConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ND engine; the defaults are the champion values. Prices in USDT, fractions as decimals, durations in bars."""

    start_capital: Annotated[float, Meta(gt=0, le=1e12, description="capital at the start, USDT")] = 25_000.0
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1, description="seed of the cost draws (numpy RandomState)")] = 42
    lookback: Annotated[int, Meta(ge=0, le=100_000, description="bars before the first entry, of the run and of each day")] = 100
    short_threshold: Annotated[float, Meta(ge=-10, lt=0, description="SHORT signal when vel_div is below")] = -0.02
    short_extreme: Annotated[float, Meta(ge=-10, lt=0, description="SHORT signal of full strength")] = -0.05
    long_threshold: Annotated[float, Meta(gt=0, le=10, description="LONG signal when vel_div is above")] = 0.01
    long_extreme: Annotated[float, Meta(gt=0, le=10, description="LONG signal of full strength")] = 0.04
    use_asset_selection: Annotated[bool, Meta(description="rank assets by IRP; false trades BTCUSDT only")] = True
    irp_units: Annotated[Literal["price", "return"], Meta(description="IRP on price differences (validated), returns (research)")] = "price"
    min_irp_alignment: Annotated[float, Meta(ge=0, le=1, description="least share of steps in trade direction")] = 0.45
    use_direction_confirm: Annotated[bool, Meta(description="direction confirmation (DC) on the chosen asset")] = True
    dc_lookback: Annotated[int, Meta(ge=1, le=49, description="steps that DC looks back")] = 7
    dc_min_magnitude_bps: Annotated[float, Meta(ge=0, le=10_000, description="least move that confirms or contradicts, bps")] = 0.75
    dc_skip_contradicts: Annotated[bool, Meta(description="a contradicting move kills the entry")] = True
    dc_leverage_boost: Annotated[float, Meta(ge=0.1, le=10, description="leverage factor of a confirmed entry")] = 1.0
    min_leverage: Annotated[float, Meta(ge=0.01, le=125, description="leverage at strength 0, and the floor")] = 0.5
    max_leverage: Annotated[float, Meta(ge=0.01, le=125, description="leverage at strength 1, before boosts")] = 5.0
    hard_leverage_cap: Annotated[float, Meta(ge=0.01, le=125, description="no boost lifts leverage above")] = 6.0
    stalker_leverage_cap: Annotated[float, Meta(ge=0.01, le=125, description="cap in posture STALKER")] = 2.0
    convexity: Annotated[float, Meta(ge=0.1, le=10, description="exponent of strength in the leverage curve")] = 3.0
    min_fraction: Annotated[float, Meta(gt=0, le=1, description="least share of capital")] = 0.02
    max_fraction: Annotated[float, Meta(gt=0, le=1, description="largest share of capital")] = 0.20
    fixed_tp_pct: Annotated[float, Meta(gt=0, le=1, description="take profit (TP), price move in trade direction")] = 0.0095
    stop_loss_pct: Annotated[float, Meta(gt=0, le=1, description="stop loss; 1.0 is off in practice")] = 1.0
    max_hold_bars: Annotated[int, Meta(ge=1, le=1_000_000, description="longest hold, bars")] = 120
    stale_price_bars: Annotated[int, Meta(ge=1, le=100_000, description="bars without a price that close a position")] = 12
    vd_enabled: Annotated[bool, Meta(description="exit VD_ADVERSE on")] = False
    vd_adverse_level: Annotated[float, Meta(gt=0, le=10, description="VD_ADVERSE: vel_div against the trade beyond")] = 0.02
    vd_adverse_bars: Annotated[int, Meta(ge=1, le=10_000, description="VD_ADVERSE: bars in a row")] = 3
    tf_enabled: Annotated[bool, Meta(description="exits TF_EXHAUST and TF_FLIP (velocity spread) on")] = False
    tf_exhaust_ratio: Annotated[float, Meta(ge=0, le=10, description="TF_EXHAUST: spread left of the one at entry")] = 0.25
    tf_flip_ratio: Annotated[float, Meta(ge=0, le=10, description="TF_FLIP: opposite spread over the one at entry")] = 0.50
    taker_fee: Annotated[float, Meta(ge=0, le=0.1, description="taker fee")] = 0.0005
    maker_fee: Annotated[float, Meta(ge=0, le=0.1, description="maker fee")] = 0.0002
    maker_entry_rate: Annotated[float, Meta(ge=0, le=1, description="modelled share of maker entries")] = 0.62
    maker_exit_rate: Annotated[float, Meta(ge=0, le=1, description="modelled share of maker exits")] = 0.50
    maker_credit: Annotated[float, Meta(ge=0, le=0.1, description="champion ledger: credit of a maker fill")] = 0.0002
    edge_probability: Annotated[float, Meta(ge=0, le=1, description="champion ledger: chance of the edge credit without a book")] = 0.40
    edge_credit: Annotated[float, Meta(ge=0, le=0.1, description="edge credit (with a book: times fill probability)")] = 0.0005
    exit_slippage: Annotated[float, Meta(ge=0, le=0.5, description="champion ledger: slippage of an exit")] = 0.0002
    stop_slippage: Annotated[float, Meta(ge=0, le=0.5, description="champion ledger: slippage of a stop")] = 0.0005
    stale_slippage: Annotated[float, Meta(ge=0, le=0.5, description="both ledgers: slippage of a STALE_PRICE exit")] = 0.0050
    honest_slippage: Annotated[float, Meta(ge=0, le=0.5, description="honest ledger: half spread + slippage, each side")] = 0.0002
    honest_taker_fee: Annotated[float, Meta(ge=0, le=0.1, description="honest ledger: taker fee, each side")] = 0.0005

    def __post_init__(self) -> None:
        for low, high in (
            ("short_extreme", "short_threshold"),
            ("long_threshold", "long_extreme"),
            ("min_leverage", "max_leverage"),
            ("min_fraction", "max_fraction"),
        ):
            a, b = getattr(self, low), getattr(self, high)
            if a > b or (a == b and low.startswith(("short", "long"))):
                raise ConfigError(f"engine.{low} = {a!r} must lie below engine.{high} = {b!r}")


class ScannerConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How scans are computed; what they mean is fixed by the specification."""

    path: Annotated[Literal["auto", "stream", "blocked"], Meta(description="auto: stream up to 64 assets, blocked above")] = "auto"
    threads: Annotated[int, Meta(ge=0, le=256, description="threads of a scan, 0 = one a core; results do not depend on it")] = 0


class SyntheticConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The embedded synthetic market."""

    assets: Annotated[int, Meta(ge=10, le=400, description="assets")] = 48
    days: Annotated[int, Meta(ge=1, le=3650, description="UTC days")] = 3
    bar_seconds: Annotated[int, Meta(ge=1, le=3600, description="bar interval, seconds (a divisor of 86 400)")] = 60
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed")] = 7
    start: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="first UTC day")] = "2025-01-01"


class VenueConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Orders: how they are sent, what our own pre-trade limits refuse, and what a simulated venue is like."""

    name: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]*$", description="venue of the instruments")] = "BINANCE"
    order_style: Annotated[Literal["market", "maker"], Meta(description="maker: post-only at the touch first, then taker")] = "market"
    maker_timeout_s: Annotated[float, Meta(gt=0, le=86_400, description="maker: seconds until the rest is sent as a market order")] = 30.0
    ack_timeout_s: Annotated[float, Meta(gt=0, le=86_400, description="seconds without an answer until an order is asked after")] = 10.0
    max_notional: Annotated[float, Meta(gt=0, le=1e12, description="largest notional of an entry, USDT")] = 1_000_000.0
    max_leverage: Annotated[float, Meta(gt=0, le=125, description="largest notional of an entry over account equity")] = 2.0
    max_orders_minute: Annotated[int, Meta(ge=1, le=10_000, description="entries refused beyond this many orders in 60 s")] = 60
    price_band: Annotated[float, Meta(gt=0, le=1, description="entry refused when quote and close differ by more, fraction")] = 0.05
    stop_distance: Annotated[
        float, Meta(ge=0, le=0.5, description="protective stop at the venue, so far from the entry, fraction of the price; 0: none")
    ] = 0.0
    latency_ms: Annotated[float, Meta(ge=0.001, le=3_600_000, description="simulated venue: way of an order")] = 1.0
    drift: Annotated[
        bool,
        Meta(description="backtest's venue: prices move towards the next close while an order is under way; a paper lane cannot know it"),
    ] = False
    spread_bps: Annotated[float, Meta(ge=0, le=1000, description="simulated venue: spread of its quotes, bps of the close")] = 4.0
    stale_spread_bps: Annotated[float, Meta(ge=0, le=5000, description="simulated venue: spread where a bar has no price, bps")] = 100.0


class SurvivalConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The survival stack. The thresholds are not settings: they are tight on purpose."""

    order_book: Annotated[bool, Meta(description="an order-book layer runs; without one Cat3 = 1 and posture is capped at STALKER")] = True
    dvol: Annotated[bool, Meta(description="DVOL is fed; without it Cat4 = 1 and posture is capped at STALKER")] = True
    mc_orange_floor: Annotated[Literal["none", "TURTLE"], Meta(description="lowest posture that forewarner ORANGE alone causes")] = "none"
    ob_stale_floor: Annotated[Literal["none", "TURTLE"], Meta(description="lowest posture that a stale book alone causes")] = "none"
    cadence_min: Annotated[float, Meta(gt=0, le=60, description="minutes between evaluations; recovery counts at most two of them")] = 1.0


class PathsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Folders; relative ones start where the command is called."""

    klines: Annotated[str, Meta(description="klines, one parquet a UTC day")] = "data/klines"
    days: Annotated[str, Meta(description="day tables (scanner output)")] = "data/days"
    runs: Annotated[str, Meta(description="run folders with reports")] = "runs"
    journal: Annotated[str, Meta(description="journals, one SQLite file a lane or service; empty: those of `dolphin up`")] = ""
    macro: Annotated[str, Meta(description="outside series of the circuit breaker, or an archive of indicators; empty: none")] = ""
    book: Annotated[str, Meta(description="recorded order-book days; empty: none")] = ""
    forewarner: Annotated[str, Meta(description="table of the forewarner's trials; empty: none")] = ""
    cache: Annotated[str, Meta(description="working copies and scans of klines; empty: the user's cache folder")] = ""
    state: Annotated[str, Meta(description="logs, process ids and configurations of what runs; empty: the user's state folder")] = ""


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that a file, the environment or a flag may set."""

    profile: Annotated[str, Meta(description="named engine profile that the values below change")] = "champion"
    engine: EngineConfig = EngineConfig()
    scanner: ScannerConfig = ScannerConfig()
    synthetic: SyntheticConfig = SyntheticConfig()
    venue: VenueConfig = VenueConfig()
    survival: SurvivalConfig = SurvivalConfig()
    services: ServicesConfig = ServicesConfig()
    paper: PaperConfig = PaperConfig()
    feed: FeedConfig = FeedConfig()
    live: LiveConfig = LiveConfig()
    alerts: AlertsConfig = AlertsConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    grid: GridConfig = GridConfig()
    paths: PathsConfig = PathsConfig()

    def of_lane(self, lane: str) -> Settings:
        """The same with the capital of ``lane``."""
        engine = msgspec.structs.replace(self.engine, start_capital=self.paper.capital(lane) or self.engine.start_capital)
        return msgspec.structs.replace(self, engine=engine)

    def lane_journal(self, lane: str) -> str:
        """Writer of a lane's journal. A live lane has one of its own: paper and live never continue each other."""
        return f"{'trader' if self.live.mode == 'paper' else 'live'}_{lane.lower()}"


class LoadedConfig(Struct, frozen=True, kw_only=True):
    """Effective settings, and for each dotted name its origin: default, file, environment or flag."""

    settings: Settings
    origin: dict[str, str]


PROFILES: Mapping[str, Mapping[str, Any]] = {"champion": {}}
"""Engine profiles by name: what each changes of the champion values."""

SECTIONS: Mapping[str, type[Struct]] = {
    "engine": EngineConfig,
    "scanner": ScannerConfig,
    "synthetic": SyntheticConfig,
    "venue": VenueConfig,
    "survival": SurvivalConfig,
    "services": ServicesConfig,
    "paper": PaperConfig,
    "feed": FeedConfig,
    "live": LiveConfig,
    "alerts": AlertsConfig,
    "supervision": SupervisionConfig,
    "grid": GridConfig,
    "paths": PathsConfig,
}


def load_profile(name: str = "champion", **changes: Any) -> EngineConfig:
    """Engine configuration of a named profile, with changes by keyword.

    Raises ``ConfigError`` naming field, value and range for unknown names and values out of range.
    """
    values = {**_profile(name), **changes}
    return EngineConfig(**{key: _checked("engine", key, value, strict=True) for key, value in values.items()})


def load(path: Path | str | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> LoadedConfig:
    """Effective settings from defaults, a TOML file, ``DOLPHIN__A__B`` variables and flags, in that order.

    Raises ``ConfigError`` for an unreadable file, an unknown name (with the nearest known one) or a value out of range.
    """
    layers = [
        ("file", dict(_from_file(Path(path))) if path is not None else {}, True),
        ("environment", dict(_from_environment(environ or {})), False),
        ("flag", {_dotted(k): v for k, v in (flags or {}).items()}, False),
    ]
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, layer, strict in layers:
        for dotted, value in layer.items():
            section, _, key = dotted.rpartition(".")
            values[dotted] = _checked(section, key, value, strict=strict)
            origin[dotted] = name
    profile = values.pop("profile", "champion")
    for key, value in _profile(profile).items():
        values.setdefault(f"engine.{key}", value)
    parts: dict[str, Any] = {
        s: kind(**{d.split(".")[1]: v for d, v in values.items() if d.startswith(s + ".")}) for s, kind in SECTIONS.items()
    }
    settings = Settings(profile=profile, **parts)
    return LoadedConfig(settings=settings, origin={d: origin.get(d, "default") for d, _, _ in settings_rows(settings)})


def settings_rows(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    """Yield ``(dotted name, value, description with unit and range)`` of every setting."""
    yield "profile", settings.profile, "named engine profile"
    for section, kind in SECTIONS.items():
        part = getattr(settings, section)
        for key in kind.__struct_fields__:
            yield f"{section}.{key}", getattr(part, key), _describe(kind, key)


def to_toml(settings: Settings) -> str:
    """The settings as a commented TOML file; ``load`` of it gives them back."""
    lines = ["# DOLPHIN settings. Each line shows the effective value; delete what you do not change.", f'profile = "{settings.profile}"']
    section = ""
    for dotted, value, description in settings_rows(settings):
        head, _, key = dotted.rpartition(".")
        if not head:
            continue
        if head != section:
            section = head
            lines += ["", f"[{head}]"]
        text = str(value).lower() if isinstance(value, bool) else repr(value) if not isinstance(value, str) else f'"{value}"'
        lines.append(f"{key} = {text}  # {description}")
    return "\n".join(lines) + "\n"


def config_hash(config: Struct) -> str:
    """First 16 hexadecimal digits of the sha256 of the struct's canonical JSON (sorted names)."""
    return hashlib.sha256(msgspec.json.encode(config, order="sorted")).hexdigest()[:16]


def _profile(name: str) -> Mapping[str, Any]:
    if name not in PROFILES:
        raise ConfigError(f"profile = {name!r}: no such profile; known: {', '.join(sorted(PROFILES))}")
    return PROFILES[name]


def _dotted(name: str) -> str:
    return name if "." in name or name == "profile" else f"engine.{name}"


def _from_file(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); `dolphin init` writes one") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    for key, value in table.items():
        if isinstance(value, dict):
            for name, item in value.items():
                yield f"{key}.{name}", item
        else:
            yield key, value


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in sorted(environ.items()):
        if name.startswith("DOLPHIN__"):
            yield name.removeprefix("DOLPHIN__").lower().replace("__", "."), value


@cache
def _types(kind: type[Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _field_type(kind: type[Struct], key: str) -> Any:
    return _types(kind)[key]


def _describe(kind: type[Struct], key: str) -> str:
    meta = get_args(_field_type(kind, key))[1]
    bounds = ", ".join(f"{sign} {getattr(meta, name):g}" for name, sign in _BOUNDS if getattr(meta, name) is not None)
    return f"{meta.description}{f' [{bounds}]' if bounds else ''}"


_BOUNDS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))


def _checked(section: str, key: str, value: Any, *, strict: bool) -> Any:
    dotted = f"{section}.{key}" if section else key
    if not section and key == "profile":
        return str(value)
    kind = SECTIONS.get(section)
    if kind is None or key not in kind.__struct_fields__:
        known = ["profile", *(f"{s}.{k}" for s, struct in SECTIONS.items() for k in struct.__struct_fields__)]
        near = difflib.get_close_matches(dotted, known, n=1, cutoff=0.5)
        raise ConfigError(f"{dotted} = {value!r}: no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        result = msgspec.convert(value, _field_type(kind, key), strict=strict)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{dotted} = {value!r}: {str(error)[:1].lower()}{str(error)[1:]} ({_describe(kind, key)})") from error
    if isinstance(result, float) and not math.isfinite(result):
        raise ConfigError(f"{dotted} = {value!r}: expected a finite number ({_describe(kind, key)})")
    return result
