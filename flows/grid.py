"""The grid as an operator sees it: members started and stopped, what is in the maps, the posture in force."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec

from dolphin.config import Settings
from dolphin.deployment import GridConfig
from dolphin.errors import MissingDependency
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.features import SHARD_COUNT, ShardedFeatureStore, shard_map
from dolphin.grid.jars import find_java, verified_jars
from dolphin.grid.maps import CONTROL, FEATURES, HEARTBEAT
from dolphin.grid.member import MemberPlan, client_yaml, console_command
from dolphin.grid.port import GridPort
from dolphin.grid.process import Health, MemberProcess, health, known_members, start_members, stop_member
from dolphin.grid.record import Entry
from dolphin.grid.safety import SafetyCell
from dolphin.grid.view import LocalView
from flows.workspace import jar_folder, state_folder

__all__ = ["board", "connect", "features_of", "member_rows", "member_state", "open_console", "posture_now", "reasons_of", "start", "stop"]

QUICK_S = 3.0
"""How long a person's command waits for a member."""


def member_state(settings: Settings) -> Path:
    """Folder with a sub-folder for each member: configuration, log, process id."""
    return state_folder(settings.paths, "grid")


def start(settings: Settings) -> tuple[list[MemberProcess], str, float]:
    """Start the cluster of ``settings.grid``; what runs already stays. Returns members, kind of the safety cell, seconds."""
    config, began = settings.grid, time.monotonic()
    ports = tuple(range(config.port, config.port + config.members))
    running = [m for m in known_members(member_state(settings)) if m.alive and m.cluster == config.cluster]
    if running:
        if (tuple(m.port for m in running), {m.server for m in running}) != (ports, {config.server}):
            there = ", ".join(f"{m.server} on {m.port}" for m in running)
            raise MissingDependency(f"cluster {config.cluster} already runs as {there}: `dolphin grid stop` first")
        members = running
    else:
        plans = [MemberPlan(config.cluster, config.server, port, ports) for port in ports]
        members = start_members(plans, member_state(settings), jar_folder(config.server))
    grid = HazelcastGrid(config, "dolphin-start")
    try:
        return members, SafetyCell(grid).kind, time.monotonic() - began
    finally:
        grid.close()


def stop(settings: Settings) -> list[tuple[MemberProcess, bool]]:
    """Stop every member that was started with this state folder; with each, whether it ran."""
    return [(member, stop_member(member)) for member in known_members(member_state(settings))]


def member_rows(settings: Settings) -> list[dict[str, Any]]:
    """One row a member: what its process and its health URL say."""
    rows = []
    for member in known_members(member_state(settings)):
        found = health(member.port) if member.alive else Health()  # another member may answer on the port
        row = {"cluster": member.cluster, "server": member.server, "port": member.port, "pid": member.pid, "alive": member.alive}
        rows.append({**row, "state": found.state, "members": found.size, "safe": found.safe, "rss_mb": _rss_mb(member)})
    return rows


def connect(settings: Settings) -> HazelcastGrid:
    """A connection for one command, to the cluster that runs here, or else to the one that the settings name."""
    return HazelcastGrid(msgspec.structs.replace(_where(settings), connect_timeout_s=QUICK_S), "dolphin-cli")


def open_console(settings: Settings, output: int | None = None) -> int:
    """Run Hazelcast's console on this terminal (or pipe) until it ends; its exit code."""
    config = _where(settings)
    if not health(config.port).state:
        raise MissingDependency(f"no member answers on 127.0.0.1:{config.port}: start one with `dolphin grid start`")
    file = member_state(settings) / "console.yaml"
    file.write_text(client_yaml(config.cluster, [config.port]), encoding="utf-8")
    command = console_command(find_java(), verified_jars(jar_folder(config.server), config.server), file)
    return subprocess.run(command, check=False, stdout=output).returncode


def posture_now(grid: GridPort) -> dict[str, Any]:
    """The posture that a trader would obey now, and the record that it comes from."""
    view = LocalView(grid, time.monotonic, _now_ms)
    view.poll()
    answer, record = view.posture(), view.safety().value
    return {
        "posture": answer.value,
        "state": answer.state,
        "reason": answer.reason,
        "age_s": answer.age_s if record else None,
        "cell": SafetyCell(grid).kind,
        "record": msgspec.to_builtins(record),
    }


def reasons_of(record: dict[str, Any] | None) -> list[str]:
    """Why the posture is what it is, for the eye: without the flags that say in one word what a reason says already."""
    return [reason for reason in (record or {}).get("reasons", []) if reason not in ("no_dvol", "no_order_book")]


def features_of(grid: GridPort, symbol: str) -> list[dict[str, Any]]:
    """Every feature of a symbol with its age."""
    now = _now_ms()
    found = ShardedFeatureStore(grid).features(symbol)
    return [{"feature": name, "age_s": (now - r["ts_ms"]) / 1000, "value": r.get("value")} for name, r in sorted(found.items())]


def board(grid: GridPort) -> dict[str, Any]:
    """Everything that `dolphin grid watch` shows: posture, boosts, shards with their lag, heartbeats, and how many members there are."""
    now = _now_ms()
    shards = []
    for shard in range(SHARD_COUNT):
        entries = grid.entries(shard_map(shard))
        ages = [now - e.record["ts_ms"] for e in entries if e.record]
        lag = {"newest_ms": min(ages, default=None), "oldest_ms": max(ages, default=None)}
        shards.append({"shard": shard, "entries": len(entries), "refused": len(entries) - len(ages), **lag})
    return {
        "ts_ms": now,
        "members": grid.members,
        "posture": posture_now(grid),
        "features": [_row(e, now) for name in (FEATURES, CONTROL) for e in grid.entries(name)],
        "shards": shards,
        "heartbeats": [_row(e, now) for e in grid.entries(HEARTBEAT)],
    }


def _row(entry: Entry, now: int) -> dict[str, Any]:
    age = (now - entry.record["ts_ms"]) / 1000 if entry.record else None
    return {"key": entry.key, "age_s": age, "reason": entry.reason, "record": entry.record}


def _where(settings: Settings) -> GridConfig:
    config = settings.grid
    running = [m for m in known_members(member_state(settings)) if m.alive and m.cluster == config.cluster]
    if not running or config.port in {m.port for m in running}:
        return config
    return msgspec.structs.replace(config, port=running[0].port, server=running[0].server)


def _rss_mb(member: MemberProcess) -> float | None:
    try:
        lines = Path(f"/proc/{member.pid}/status").read_text().splitlines() if member.alive else []
    except OSError:
        return None
    return next((round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmRSS")), None)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
