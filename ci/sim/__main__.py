"""``python -m sim --seed N`` (twice, to show that it reproduces) or ``--seeds M [--first N]``; run from ci/."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from sim.market import Market, market_of
from sim.run import Outcome, plan_of, run

__all__ = ["main"]

MEMORY: Final = Path("/dev/shm")
START_HOUR: Final = 16
HOURS: Final = 15


def main() -> int:
    """Exit code 1 when a law was broken, or a seed did not reproduce."""
    parser = argparse.ArgumentParser(prog="python -m sim", description="Simulate the deployment under seeded faults.")
    parser.add_argument("--seed", type=int, help="one seed, run twice, with its faults")
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    asked = parser.parse_args()
    folder = MEMORY if os.access(MEMORY, os.W_OK) else None
    with TemporaryDirectory(dir=folder, prefix="dolphin-sim-") as name:
        market = market_of(Path(name) / "market", START_HOUR, HOURS)
        if asked.seed is not None:
            return _one(asked.seed, market, Path(name))
        return _many(range(asked.first, asked.first + asked.seeds), market, Path(name))


def _one(seed: int, market: Market, folder: Path) -> int:
    plan = plan_of(seed)
    print(f"seed {seed}: order {', '.join(plan.order)}; order book {plan.order_book}")
    for fault in plan.faults:
        print(f"  {fault.at_ms / 1000:8.3f} s  {fault.kind}  {fault.who}  {fault.ms / 1000} s  {fault.value}")
    outcomes = [_run(seed, market, folder) for _ in range(2)]
    print("\n".join(outcomes[0].violations) or "all laws held")
    print("digests", *(outcome.digest for outcome in outcomes))
    return int(bool(outcomes[0].violations) or outcomes[0].digest != outcomes[1].digest)


def _many(seeds: range, market: Market, folder: Path) -> int:
    began, counts, failed = time.perf_counter(), Counter[str](), list[int]()
    for seed in seeds:
        outcome = _run(seed, market, folder)
        for group in outcome.counts.values():
            counts.update(group)
        if outcome.violations:
            failed.append(seed)
            print(f"seed {seed}: {outcome.violations[0]}", flush=True)
    taken = time.perf_counter() - began
    for what, many in sorted(counts.items()):
        print(f"{many:8d}  {what}")
    print(f"{len(seeds)} seeds in {taken:.1f} s, {1000 * taken / len(seeds):.0f} ms each; failed: {failed or 'none'}")
    return int(bool(failed))


def _run(seed: int, market: Market, folder: Path) -> Outcome:
    with TemporaryDirectory(dir=folder, prefix=f"seed-{seed}-") as root:
        return run(plan_of(seed), market, Path(root))


if __name__ == "__main__":
    sys.exit(main())
