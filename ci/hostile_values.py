"""Writes what nobody should into every map of a grid, past the port, by Hazelcast's own client: ``hostile_values.py PORT CLUSTER CANARY``.

A process of its own, because the port takes pickle away from every client of its process. Prints how many values were put.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hazelcast.client import HazelcastClient

SHARDS = [f"DOLPHIN_FEATURES_SHARD_{k:02d}" for k in range(10)]
MAPS = [*SHARDS, "DOLPHIN_FEATURES", "DOLPHIN_SAFETY", "DOLPHIN_CONTROL", "DOLPHIN_HEARTBEAT", "DOLPHIN_PNL_BLUE", "DOLPHIN_PNL_GREEN"]
MAPS += ["DOLPHIN_LEASES"]
PAUSE_S = 0.2


class Canary:
    """Whoever unpickles it leaves a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return _sing, (self.path,)


def _sing(path: str) -> int:
    return Path(path).write_text("unpickled")


def values(there: str | None, canary: str) -> Iterator[tuple[str, Any]]:
    """Name and value, one after the other; ``there``: what the key held before."""
    yield "pickled object", Canary(canary)
    yield "10 MB", "x" * 10_000_000
    yield "deep JSON", '{"a":' * 50_000 + "1" + "}" * 50_000
    yield "NaN", '{"schema":"dolphin.posture/1","ts_ms":NaN,"posture":"APEX"}'
    yield "number", 42
    yield "bytes", b"\x00\x01"
    yield "list", "[1,2,3]"
    try:
        record = json.loads(there or "{}")
    except ValueError:
        record = {}
    if "ts_ms" not in record:
        return
    order = {name: record[name] for name in ("seq", "fence") if isinstance(record.get(name), int)}
    yield "wrong types", json.dumps(record | {name: "many" for name in record if name not in ("schema", "ts_ms")})
    yield "falling numbers", json.dumps(record | {name: max(0, number - 5) for name, number in order.items()} | {"posture": "APEX"})
    ahead = {"seq": order["seq"] + 1} if "seq" in order else {}
    health = {"posture": "APEX"} if "posture" in record else {}
    yield "future stamp", json.dumps(record | ahead | health | {"ts_ms": record["ts_ms"] + 3_600_000})
    yield "unknown posture", json.dumps(record | ahead | {"posture": "INVINCIBLE", "engaged": 0})


def main(port: str, cluster: str, canary: str) -> None:
    client = HazelcastClient(cluster_name=cluster, cluster_members=[f"127.0.0.1:{port}"], cluster_connect_timeout=10.0)
    many = 0
    for name in MAPS:
        spoilt = client.get_map(name).blocking()
        known = sorted(spoilt.key_set())[: 2 if name in SHARDS else 7]
        held: dict[Any, Any] = {key: spoilt.get(key) for key in known} | {"junk": None, 7: None}
        for key, there in held.items():
            for kind, value in values(there if isinstance(there, str) else None, canary):
                spoilt.set(key, value)
                many += 1
                time.sleep(PAUSE_S / 8 if name in SHARDS or kind == "10 MB" else PAUSE_S)
    print(many)
    client.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
