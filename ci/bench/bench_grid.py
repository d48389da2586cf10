"""The feature grid on a real Hazelcast member: CPU of a full market's book features, how late the trader sees them, what reading costs.

A turn is what an order-book service publishes every 500 ms: 7 features of 400 assets into the ten shards, one entry an asset (``book``).
The CPU is that of the publisher and of the member's process, from /proc, over half a minute at 2 Hz after a warm-up. The trader's copy
runs in a process of its own and follows all 400 books; a stamp taken before a shard's 40 assets are put tells how late each is seen.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

from table import Row, best_of, emit, row

from dolphin.deployment import GridConfig
from dolphin.errors import MissingDependency
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.features import SHARD_COUNT, ShardedFeatureStore, shard_of
from dolphin.grid.maps import FEATURES, AcbBoost, fields
from dolphin.grid.member import MemberPlan
from dolphin.grid.process import MemberProcess, start_members, stop_member
from dolphin.grid.safety import SafetyCell
from dolphin.grid.view import LocalView
from dolphin.types import Posture, SafetyRecord
from flows.workspace import jar_folder

PORT, WARM_S, SECONDS = 26_701, 10, 30
SYMBOLS = [f"SYM{i:03d}USDT" for i in range(400)]
SHARDS = [[s for s in SYMBOLS if shard_of(s) == shard] for shard in range(SHARD_COUNT)]
NAMES = ("imbalance", "imbalance_ma5", "imbalance_persistence", "withdrawal_velocity", "depth_quality", "fill_buy", "fill_sell")


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def member(state: Path) -> tuple[MemberProcess, float]:
    """A started member and the seconds it took, jars checked and loopback verified; best of 3."""
    times, plan = [], MemberPlan(f"bench-{uuid.uuid4().hex[:8]}", "5.7.0", PORT, (PORT,))
    for turn in range(3):
        start = time.perf_counter()
        [process] = start_members([plan], state, jar_folder("5.7.0"))
        times.append(time.perf_counter() - start)
        if turn < 2:
            stop_member(process)
    return process, min(times)


def publish(store: ShardedFeatureStore, packed: bool, turn: int) -> None:
    """One turn: 400 assets x 7 features, each number changing, shard by shard."""
    values = {s: {name: (turn * 31 + i * 7 + k) % 1000 / 997 for k, name in enumerate(NAMES)} for i, s in enumerate(SYMBOLS)}
    for shard in SHARDS:
        if packed:
            store.put_many("book", {s: {**values[s], "sent_ns": time.monotonic_ns()} for s in shard})
        else:
            for name in NAMES:
                store.put_many(name, {s: values[s][name] for s in shard})


def load(config: GridConfig, pid: int, packed: bool, seconds: float) -> tuple[float, float]:
    """Cores of publisher and member over ``seconds`` at 2 Hz."""
    grid = HazelcastGrid(config, "bench-publisher")
    store, turn = ShardedFeatureStore(grid), 0
    due = time.monotonic()
    began: tuple[float, float, float] | None = None
    try:
        while True:
            now = time.monotonic()
            if began is None and turn >= 2 * WARM_S:
                began = now, time.process_time(), member_cpu(pid)
            if began is not None and now - began[0] >= seconds:
                spent = now - began[0]
                return (time.process_time() - began[1]) / spent, (member_cpu(pid) - began[2]) / spent
            publish(store, packed, turn)
            turn, due = turn + 1, due + 0.5
            time.sleep(max(0.0, due - time.monotonic()))
    finally:
        grid.close()


def member_cpu(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields_[11]) + int(fields_[12])) / os.sysconf("SC_CLK_TCK")


def trader(config: GridConfig, seconds: float) -> list[float]:
    """In a process of its own: how late each new book of one asset of every shard is in the local copy, ms."""
    grid = HazelcastGrid(config, "bench-trader")
    view = LocalView(grid, time.monotonic, wall_ms, SYMBOLS)
    view.start()
    watched, last, late = SYMBOLS[:: len(SYMBOLS) // 40], {}, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for symbol in watched:
            book = view.book(symbol).value
            sent = book.value.get("sent_ns") if book else None
            if sent and sent != last.get(symbol):
                if symbol in last:
                    late.append((time.monotonic_ns() - sent) / 1e6)
                last[symbol] = sent
        time.sleep(0.0005)
    view.stop()
    grid.close()
    return late


def reading() -> float:
    """Seconds for what the trader reads on a bar: posture, boost, kill switch, the book of one asset."""
    grid = EmbeddedGrid()
    cats = dict.fromkeys(("rm", "target", "cat1", "cat2", "cat3", "cat4", "cat5"), 0.95)
    SafetyCell(grid).write(SafetyRecord(**cats, posture=Posture.APEX, reasons=(), ts_ms=wall_ms(), seq=1))
    boost = AcbBoost(ts_ms=wall_ms(), boost=1.3, beta=0.8, signals=1.0, factors={}, w750_vel=None, date="2025-01-01")
    grid.put(FEATURES, "acb_boost", fields(boost))
    publish(ShardedFeatureStore(grid), True, 1)
    view = LocalView(grid, time.monotonic, wall_ms, SYMBOLS)
    assert view.poll()

    def bars() -> None:
        for symbol in SYMBOLS:
            view.posture()
            view.acb_boost()
            view.book(symbol)

    return best_of(bars, 15) / len(SYMBOLS)


def main() -> list[Row]:
    rows = [row("grid, what the trader reads on a bar", reading(), None, 50e-6, 5e-6, "posture, boost, book of one asset")]
    with tempfile.TemporaryDirectory() as folder:
        process, seconds = member(Path(folder))
        rows.append(row("grid, member start", seconds, None, 5.0, 2.0, "jars checked, ready, loopback verified"))
        config = GridConfig(cluster=process.cluster, port=PORT)
        try:
            command = [sys.executable, __file__, "--trader", config.cluster, str(WARM_S + SECONDS)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
                ours, theirs = load(config, process.pid, True, SECONDS)
                late = sorted(json.loads(reader.communicate(timeout=60)[0]))
            note = f"publisher {ours:.2f}, member {theirs:.2f} core, with a trader following all"
            rows.append(row("grid, 400 x 7 features at 2 Hz, a second of it", ours + theirs, None, 1.0, 0.4, note))
            p99 = late[int(len(late) * 0.99)] / 1e3
            note = f"{len(late)} books, median {statistics.median(late):.1f} ms, worst {late[-1]:.1f} ms"
            rows.append(row("grid, publish to visible in the local copy, p99", p99, None, 0.100, 0.020, note))
            ours, theirs = load(config, process.pid, False, SECONDS / 3)
            rows.append(
                row(
                    "grid, the same with an entry a feature",
                    ours + theirs,
                    None,
                    None,
                    None,
                    f"2 800 entries a turn: publisher {ours:.2f}, member {theirs:.2f} core",
                )
            )
        finally:
            stop_member(process)
    return rows


if __name__ == "__main__":
    if "--trader" in sys.argv:
        at = sys.argv.index("--trader")
        with suppress(MissingDependency):
            print(json.dumps(trader(GridConfig(cluster=sys.argv[at + 1], port=PORT), float(sys.argv[at + 2]))))
    else:
        emit(main())
