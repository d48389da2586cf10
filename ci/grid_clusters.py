"""Hazelcast clusters for tests: where they run, how they are reached; and the records that tests put into grids."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dolphin.deployment import GridConfig
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.member import MemberPlan
from dolphin.grid.process import MemberProcess, start_members
from dolphin.grid.safety import SafetyCell
from dolphin.types import Posture, SafetyRecord
from flows.workspace import jar_folder

__all__ = ["FENCE", "NOW", "TARGETS", "Clocks", "Cluster", "free_ports", "next_seq", "plans", "rec", "safety", "until"]

NOW = FENCE = 1_735_689_600_000
TARGETS = {
    "embedded": None,
    "5.7.0": ("5.7.0", 1),
    "5.4.0": ("5.4.0", 1),
    "5.4.0 x 3": ("5.4.0", 3),
}


@dataclass
class Cluster:
    """Members of one cluster and how to reach them."""

    config: GridConfig
    members: list[MemberProcess]
    state: Path

    def connect(self, name: str = "test") -> HazelcastGrid:
        return HazelcastGrid(self.config, name)

    def restart(self) -> None:
        """A new, empty member where the first one was."""
        self.members = start_members(plans(self.config), self.state, jar_folder(self.config.server))


def plans(config: GridConfig) -> list[MemberPlan]:
    ports = tuple(range(config.port, config.port + config.members))
    return [MemberPlan(config.cluster, config.server, port, ports) for port in ports]


def free_ports(many: int) -> int:
    """First of so many free ports in a row."""
    while True:
        with ExitStack() as held:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
            try:
                for port in range(first + 1, first + many):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            if first + many < 65_000:
                return int(first)


def rec(**fields: Any) -> dict[str, Any]:
    """A record: fields and what every record has."""
    return {"schema": "test/1", "ts_ms": NOW, **fields}


def safety(seq: int = 1, posture: str = "APEX", ts_ms: int = NOW, **changes: Any) -> SafetyRecord:
    """A posture record as the survival stack makes it."""
    cats = dict.fromkeys(("rm", "target", "cat1", "cat2", "cat3", "cat4", "cat5"), 0.95)
    return SafetyRecord(**{**cats, "posture": Posture(posture), "reasons": (), "ts_ms": ts_ms, "seq": seq, **changes})


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for what another thread or the member will do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Clocks:
    """Both clocks of a view, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> int:
        return NOW + round((self.seconds - 1000.0) * 1000)


def next_seq(cell: SafetyCell) -> int:
    """One more than what the session's cluster holds: cells of a CP subsystem outlive a test."""
    record = cell.read().record
    return 1 if record is None else record["seq"] + 1
