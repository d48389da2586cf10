"""The watchdog's neighbours for its tests: healthy services that beat and publish good records until they are told otherwise."""

from __future__ import annotations

from typing import Any, ClassVar

from daemon_worlds import World

from daemons.service import Service
from daemons.system_watchdog import SystemWatchdog
from dolphin.grid.maps import FEATURES, AcbBoost, Forewarning, LaneState, ObMacro, fields
from dolphin.storage.journal import Journal, Kind, journal_path
from dolphin.storage.schema import date_of

__all__ = ["DAY", "Peer", "deployment", "postures", "resume"]

DAY = "2025-01-01"


class Peer(Service):
    """Publishes ``records`` (key -> struct without its stamp) at every step."""

    name: ClassVar[str] = "peer"
    every_s = 2.5

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.values = dict(GOOD.get(self.name, {}))

    def step(self) -> None:
        now = self.context.clock.wall_ms()
        for key, (kind, values) in self.values.items():
            dated = {"date": date_of(self.context.clock.market_ms())} if "date" in kind.__struct_fields__ else {}
            self.context.grid.put(FEATURES, key, fields(kind(**{**dated, **values, "ts_ms": now})))

    def say(self, key: str, **changes: Any) -> None:
        """Publish other values under ``key`` from now on."""
        kind, values = self.values[key]
        self.values[key] = kind, {**values, **changes}


FACTORS = {"funding_btc": 0.0001, "dvol_btc": 50.0, "fng": 50.0, "taker": 1.0}
GOOD: dict[str, dict[str, Any]] = {
    "acb_processor": {"acb_boost": (AcbBoost, {"boost": 1.0, "beta": 0.2, "signals": 0.0, "factors": FACTORS, "w750_vel": None})},
    "mc_forewarner": {
        "mc_forewarner": (Forewarning, {"status": "OK", "catastrophic_probability": 0.01, "envelope_score": 1.0, "model_hash": "x"})
    },
    "ob_stream": {
        "ob_macro": (
            ObMacro,
            {
                "cascade_count": 0.0, "regime_signal": 0.0, "market_imbalance": 0.0, "market_agreement": 0.5,
                "n_assets": 48, "n_stale": 0, "depth_quality": 1.0, "fill_probability": 0.62,
            },
        )
    },
    "trader": {"lane_BLUE": (LaneState, {"equity": 25_000.0, "peak": 25_000.0, "bar": 1})},
}  # fmt: skip


def deployment(world: World, rm: float = 0.0, posture: str = "HIBERNATE") -> dict[str, Any]:
    """The neighbours and the watchdog, started in order; as after a restart with this Rm and posture, 0: cold."""
    if rm:
        resume(world, rm, posture)
    names = ("acb_processor", "ob_stream", "mc_forewarner", "scanner", "trader")
    started = {name: world.start(type(name, (Peer,), {"name": name})) for name in names}
    return {**started, "system_watchdog": world.start(SystemWatchdog)}


def resume(world: World, rm: float, posture: str) -> None:
    """Leave the journal of a watchdog that evaluated just now."""
    now = world.clock.wall_ms()
    ones = dict.fromkeys(("target", "cat1", "cat2", "cat3", "cat4", "cat5"), 1.0)
    memory = {"peak": 25_000.0, "dvol": [[now - 60_000, 50.0]], "spike_ms": None}
    last = {"posture": posture, "rm": rm, **ones, "reasons": [], "ts_ms": now, "seq": 7, "fence": 1, "memory": memory}
    with Journal.open(journal_path(world.state.journals, SystemWatchdog.name), SystemWatchdog.name) as journal:
        journal.append(Kind.POSTURE, last, now)


def postures(world: World) -> list[dict[str, Any]]:
    """What the newest watchdog journalled, oldest first."""
    watchdog = next(r.service for r in reversed(world.runners) if isinstance(r.service, SystemWatchdog))
    return [record.payload for record in watchdog.context.journal.records() if record.kind == "posture"]
