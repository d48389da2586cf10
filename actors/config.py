"""Configuration of ``DolphinActor``."""

from __future__ import annotations

from typing import Literal

from nautilus_trader.config import StrategyConfig

from dolphin.config import EngineConfig, VenueConfig

__all__ = ["DolphinActorConfig"]


class DolphinActorConfig(StrategyConfig, frozen=True, kw_only=True):
    """``mode`` ``stream``: a decision a bar, as orders; ``day``: a day table at the first bar of its date, no orders.

    ``source`` of a stream: ``snapshots`` (one object a tick) or ``bars`` (Nautilus bars of every name of ``universe``, slower).
    ``data_dir``: day tables of day mode. ``bar_seconds``: interval of the ticks; a gap of more than 3 is marked. ``posture``: the one
    to start in (a deployment with a watchdog starts in HIBERNATE and is told better). ``engine`` and ``orders`` are the settings that
    ``dolphin config show`` lists under the same names (``orders`` as ``venue``).
    """

    lane: Literal["BLUE", "GREEN"] = "BLUE"
    mode: Literal["stream", "day"] = "stream"
    source: Literal["snapshots", "bars"] = "snapshots"
    universe: tuple[str, ...] = ()
    bar_spec: str = "1-MINUTE-LAST-EXTERNAL"
    bar_seconds: int = 60
    data_dir: str = ""
    posture: Literal["APEX", "STALKER", "TURTLE", "HIBERNATE"] = "APEX"
    engine: EngineConfig = EngineConfig()
    orders: VenueConfig = VenueConfig()
