"""One seed: a deployment that starts in some order, suffers, and is left in peace; what its checkers say, and a hash of all it did."""

from __future__ import annotations

import hashlib
import heapq
import json
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from dolphin.config import Settings
from sim.checkers import Checkers
from sim.faults import Fault, draw, start_order
from sim.market import Market
from sim.topology import World

__all__ = ["SOAK_HOURS", "Outcome", "Plan", "plan_of", "run", "soak_plan"]

SECONDS: Final = 450
"""Length of a run at ``SPEED``, and where its faults end."""
FAULTS_END_S: Final = 250
SPEED: Final = 120.0
STEP_S: Final = 2.5
SOAK_HOURS: Final = 48


@dataclass(frozen=True)
class Plan:
    """What a seed decides."""

    seed: int
    order: tuple[str, ...]
    starts_ms: tuple[int, ...]
    faults: tuple[Fault, ...]
    order_book: bool
    selection: bool = False
    seconds: int = SECONDS
    peace_s: int = FAULTS_END_S
    speed: float = SPEED
    step_s: float = STEP_S


@dataclass
class Outcome:
    """``violations`` empty: all laws held. ``digest``: same seed, same digest."""

    plan: Plan
    digest: str = ""
    violations: list[str] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


def plan_of(seed: int) -> Plan:
    """Draw it."""
    rng = random.Random(f"plan {seed}")
    order = start_order(rng)
    starts, at = [], 0
    for _ in order:
        starts.append(at)
        at += rng.choice((0, 200, 3_000, 12_000))
    many = rng.choice((1, 1, 2, 2, 3, 4, 6, 10))
    faults = draw(rng, rng.choice((1_000, 80_000)), FAULTS_END_S * 1000, many, live=False)
    return Plan(seed, tuple(order), tuple(starts), tuple(faults), order_book=rng.random() < 0.25, selection=rng.random() < 0.25)


def soak_plan(seed: int, hours: int, speed: float, *, order_book: bool) -> Plan:
    """``hours`` of the market, a fault every 400 s or so but for the last 3 hours; ``speed`` 1: a live deployment."""
    rng, seconds = random.Random(f"soak {seed}"), round(hours * 3600 / speed)
    order, peace_s = start_order(rng), round((hours - 3) * 3600 / speed)
    faults = draw(rng, 200_000, peace_s * 1000, peace_s // 400, live=speed == 1.0)
    step_s = 5.0 if speed == 1.0 else STEP_S
    return Plan(seed, tuple(order), (0,) * len(order), tuple(faults), order_book, False, seconds, peace_s, speed, step_s)


def run(plan: Plan, market: Market, root: Path) -> Outcome:
    """Run it in the empty folder ``root``."""
    chance = random.getstate()
    settings: Settings = market.selecting if plan.selection else market.settings
    settings = msgspec.structs.replace(settings, survival=msgspec.structs.replace(settings.survival, order_book=plan.order_book))
    world = World(root, market, settings, plan.seed, speed=plan.speed, step_s=plan.step_s)
    checkers = Checkers(world)
    outcome = Outcome(plan, counts=world.counts)
    try:
        for rank, (name, at_ms) in enumerate(zip(plan.order, plan.starts_ms, strict=True)):
            world.add(name, world.host, rank, at_ms)
        _play(world, plan, checkers)
        checkers.at_the_end(plan.peace_s * 1000)
    except Exception:  # a defect, of the daemons or of the simulation: it is the seed's result
        outcome.violations.append(f"crashed: {traceback.format_exc(limit=-6)}")
    finally:
        world.close()
        random.setstate(chance)
    outcome.violations += checkers.afterwards()
    outcome.digest = _digest(world, outcome.violations)
    return outcome


def _play(world: World, plan: Plan, checkers: Checkers) -> None:
    agenda: list[tuple[int, int, Callable[[], None]]] = []
    number = 0

    def at(ms: int, what: Callable[[], None]) -> None:
        nonlocal number
        number += 1
        heapq.heappush(agenda, (ms, number, what))

    def begin(fault: Fault) -> None:
        undo = fault.begin(world)
        if undo is not None:
            at(max(world.clock.now_ms, fault.at_ms + fault.ms), undo)

    def look() -> None:
        checkers.look()
        at(world.clock.now_ms + 5_000, look)

    for fault in plan.faults:
        at(fault.at_ms, lambda fault=fault: begin(fault))
    at(5_000, look)
    end = plan.seconds * 1000
    while True:
        process = world.next_process()
        due = agenda[0][0]
        if min(due, process.next_ms) > end:
            break
        if due <= process.next_ms:
            world.clock.now_ms = max(world.clock.now_ms, due)
            heapq.heappop(agenda)[2]()
        else:
            world.clock.now_ms = max(world.clock.now_ms, int(process.next_ms))
            process.turn()
    world.clock.now_ms = end


def _digest(world: World, violations: list[str]) -> str:
    """Heads of all journals, what was counted and told, what was found."""
    heads = {f"{host}/{writer}": head for host, writer, head in Checkers.heads(world.root)}
    told = sorted(f"{alert.kind} {alert.severity} {alert.key} {alert.ts_ms}" for alert in world.told)
    found = [line.splitlines()[0] for line in violations]
    text = json.dumps([heads, world.counts, told, found], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
