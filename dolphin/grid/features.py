"""Per-asset features in ten maps. A symbol's features lie in one of them; the key is ``<feature>_<symbol>``.

A feature is a number or a record of numbers. Publish what belongs together as one feature (``book``: all that an order book says of an
asset): a put is what costs, not a number in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from dolphin.grid.port import GridPort

__all__ = ["SHARD_COUNT", "ShardedFeatureStore", "feature_key", "shard_map", "shard_of"]

SHARD_COUNT: Final = 10
SCHEMA: Final = "dolphin.feature/1"

type Value = float | str | bool | Mapping[str, Any] | list[Any] | None


def shard_of(symbol: str) -> int:
    """Sum of the character codes modulo 10: BTCUSDT 7, ETHUSDT 5, SOLUSDT 8."""
    return sum(map(ord, symbol)) % SHARD_COUNT


def shard_map(shard: int) -> str:
    """Name of a shard's map, ``DOLPHIN_FEATURES_SHARD_00`` to ``_09``."""
    return f"DOLPHIN_FEATURES_SHARD_{shard:02d}"


def feature_key(symbol: str, feature: str) -> str:
    """``<feature>_<symbol>``."""
    return f"{feature}_{symbol}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class ShardedFeatureStore:
    """Put and get features by symbol. ``client``: a grid; ``clock``: milliseconds UTC, the stamp of what is put."""

    SHARD_COUNT = SHARD_COUNT

    def __init__(self, client: GridPort, clock: Callable[[], int] = _now_ms) -> None:
        self._grid, self._clock = client, clock

    def put(self, symbol: str, feature: str, value: Value) -> None:
        """Write one feature. NaN is refused (``QualityError``): what is not known is None."""
        self._grid.put(shard_map(shard_of(symbol)), feature_key(symbol, feature), self._record(value))

    def put_many(self, feature: str, values: Mapping[str, Value]) -> None:
        """Write one feature of many symbols: one message a shard and partition instead of one a symbol."""
        shards: dict[int, dict[str, Mapping[str, Any]]] = {}
        for symbol, value in values.items():
            shards.setdefault(shard_of(symbol), {})[feature_key(symbol, feature)] = self._record(value)
        for shard, records in shards.items():
            self._grid.put_many(shard_map(shard), records)

    def get(self, symbol: str, feature: str) -> Any:
        """The value, or None. Raises ``QualityError`` when something else was written there."""
        record = self._grid.get(shard_map(shard_of(symbol)), feature_key(symbol, feature))
        return None if record is None else record.get("value")

    def delete(self, symbol: str, feature: str) -> None:
        """Remove one feature."""
        self._grid.delete(shard_map(shard_of(symbol)), feature_key(symbol, feature))

    def features(self, symbol: str) -> dict[str, dict[str, Any]]:
        """Every feature of a symbol: its record by name. What is refused is left out (``grid.refused`` counts it)."""
        end = feature_key(symbol, "")
        found = self._grid.entries(shard_map(shard_of(symbol)))
        return {e.key.removesuffix(end): e.record for e in found if e.record is not None and e.key.endswith(end)}

    @staticmethod
    def near_cache_config() -> dict[str, dict[str, Any]]:
        """Settings of a near cache for each shard map, as documented. What the trader reads on a bar is in ``view``, which is faster."""
        return {
            shard_map(shard): {
                "invalidate_on_change": True,
                "time_to_live_seconds": 300,
                "max_idle_seconds": 60,
                "eviction_policy": "LRU",
                "max_size": 5000,
            }
            for shard in range(SHARD_COUNT)
        }

    @classmethod
    def near_caches(cls) -> dict[str, dict[str, Any]]:
        """``near_cache_config`` under the names that ``hazelcast.HazelcastClient(near_caches=...)`` takes."""
        names = {
            "time_to_live_seconds": "time_to_live",
            "max_idle_seconds": "max_idle",
            "max_size": "eviction_max_size",
        }
        return {name: {names.get(key, key): value for key, value in given.items()} for name, given in cls.near_cache_config().items()}

    def _record(self, value: Value) -> dict[str, Any]:
        return {"schema": SCHEMA, "ts_ms": self._clock(), "value": dict(value) if isinstance(value, Mapping) else value}
