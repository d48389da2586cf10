"""The port to the feature grid: two methods, whatever stands behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

__all__ = ["GridPort", "pnl_map"]

PNL_MAPS = {-1: "DOLPHIN_PNL_BLUE", 1: "DOLPHIN_PNL_GREEN"}


class GridPort(ABC):
    """Records by map and key. A record is a JSON object; readers get a copy of what was written.

    Both methods may be called from any thread, and raise ``MissingDependency`` when the grid cannot be reached.
    """

    @abstractmethod
    def put(self, name: str, key: str, record: Mapping[str, Any]) -> None:
        """Write ``record`` under ``key`` of map ``name``. Raises ``QualityError`` for a value that JSON cannot hold (NaN, infinity)."""

    @abstractmethod
    def get(self, name: str, key: str) -> dict[str, Any] | None:
        """The record, or None."""


def pnl_map(direction: int) -> str:
    """Map of the day results of a lane: BLUE for SHORT (-1), GREEN for LONG (+1)."""
    return PNL_MAPS[direction]
