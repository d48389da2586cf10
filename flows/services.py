"""The processes of a deployment in the order of their start; supervisor, systemd units and compose file are written from this table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

__all__ = ["SERVICES", "ServiceSpec", "is_trader", "member_services", "services_of"]


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """``python -m module --state DIR``. ``waits``: it starts when all before it live; others start beside their neighbours.

    ``port``: a member of the grid, healthy when its health URL says so; 0: a service that beats in DOLPHIN_HEARTBEAT under its pid.
    ``lane``: of a trader, where the deployment has several.
    """

    name: str
    module: str
    waits: bool = False
    port: int = 0
    lane: str = ""

    def command(self, state: Path | str, python: str = sys.executable) -> list[str]:
        """The command line."""
        port, lane = ["--port", str(self.port)] if self.port else [], ["--lane", self.lane] if self.lane else []
        return [python, "-m", self.module, "--state", str(state), *port, *lane]


SERVICES: Final = (
    ServiceSpec("acb_processor", "daemons.acb_processor"),
    ServiceSpec("ob_stream", "daemons.ob_stream"),
    ServiceSpec("system_watchdog", "daemons.system_watchdog"),
    ServiceSpec("mc_forewarner", "daemons.mc_forewarner"),
    ServiceSpec("scanner", "daemons.scanner"),
    ServiceSpec("trader", "daemons.trader", waits=True),
)
"""What runs on the grid, in order: nothing trades before posture, breaker and forewarner are known, so the trader is last. The others
seek the grid themselves, and load while it starts."""


def services_of(lanes: Sequence[str]) -> tuple[ServiceSpec, ...]:
    """``SERVICES`` for a deployment of ``lanes``: a trader each where there are several, side by side."""
    if len(lanes) < 2:
        return SERVICES
    *others, trader = SERVICES
    traders = [replace(trader, name=f"{trader.name}_{lane.lower()}", waits=place == 0, lane=lane) for place, lane in enumerate(lanes)]
    return (*others, *traders)


def is_trader(name: str) -> bool:
    """Whether a process is that of a lane."""
    return name == "trader" or name.startswith("trader_")


def member_services(ports: Sequence[int]) -> tuple[ServiceSpec, ...]:
    """The members of the grid, which everything else waits for: ``grid``, ``grid_2`` ..."""
    return tuple(ServiceSpec("grid" if i == 0 else f"grid_{i + 1}", "flows.grid_member", port=port) for i, port in enumerate(ports))
