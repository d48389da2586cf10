"""The grid inside one process: the default of backtests and of the quick start."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from dolphin.errors import QualityError
from dolphin.grid.port import GridPort

__all__ = ["EmbeddedGrid"]


class EmbeddedGrid(GridPort):
    """Maps in memory; values are kept as the JSON text that would cross a wire. Safe for threads."""

    def __init__(self) -> None:
        self._maps: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def put(self, name: str, key: str, record: Mapping[str, Any]) -> None:
        try:
            text = json.dumps(dict(record), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise QualityError(f"{name}[{key!r}]: {error}", hint="only JSON values cross the grid") from error
        with self._lock:
            self._maps.setdefault(name, {})[key] = text

    def get(self, name: str, key: str) -> dict[str, Any] | None:
        with self._lock:
            text = self._maps.get(name, {}).get(key)
        return None if text is None else json.loads(text)
