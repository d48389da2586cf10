"""A long day under fire, by hand: ``PYTHONPATH=.:ci python ci/faults/soak.py --minutes 10``.

`dolphin up` over 48 assets at 120 times the market's speed, so that the recorded books (a sample of all assets each bar of 60 s) come every
500 ms; every 30 s a fault. Resident memory, descriptors and threads of every process are sampled; nothing may grow while a process lives.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fault_ground import prepared
from fault_laws import broken_laws
from fault_stage import Stage

SPEED, EVERY_S, SAMPLE_S = 120.0, 30.0, 2.0
WARM_S, LEAST_S = 60.0, 60.0
"""A process is warm after so long; growth is measured over at least so long behind it."""
EXPLAINED_S = 28.0
"""So long after a fault a doubt of the lane is explained by it."""
LIMITS = {"rss MB": (1.0, 6.0), "descriptors": (0.5, 3.0), "threads": (0.5, 3.0)}
"""Growth is a slope above the first number a minute that adds up to more than the second."""
MEMBER_MB = 450.0
"""A heap of 256 MB and what a JVM needs besides."""
SERVICES = ("acb_processor", "ob_stream", "mc_forewarner", "scanner", "trader", "system_watchdog", "grid")


@dataclass
class Samples:
    """By (process, pid): rows of (monotonic, rss MB, descriptors, threads)."""

    rows: dict[tuple[str, int], list[tuple[float, float, int, int]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, stage: Stage) -> None:
        for name, pid in (*stage.pids().items(), ("supervisord", stage.supervisor.pid())):
            try:
                status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
                descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            except OSError:
                continue
            if "VmRSS" in status:
                rss = int(status["VmRSS"].split()[0]) / 1024.0
                self.rows[name, pid].append((time.monotonic(), rss, descriptors, int(status["Threads"])))

    def slopes(self) -> Iterator[tuple[str, str, float, float, float, float]]:
        """Process, what, minutes, first value, last value, slope a minute (of the half that grew less), of each that lived long enough.

        What is used for the first time, as a day table at midnight, is a step in one half; what leaks grows in both.
        """
        for (name, _), rows in self.rows.items():
            table = np.array(rows)
            table = table[table[:, 0] >= table[0, 0] + WARM_S]
            if len(table) < 10 or table[-1, 0] - table[0, 0] < LEAST_S:
                continue
            minutes = (table[:, 0] - table[0, 0]) / 60.0
            for column, what in enumerate(LIMITS, 1):
                first, last = np.median(table[:5, column]), np.median(table[-5:, column])
                halves = np.array_split(minutes, 2), np.array_split(table[:, column], 2)
                slope = min(float(np.polyfit(at, values, 1)[0]) for at, values in zip(*halves, strict=True))
                yield name, what, float(minutes[-1]), float(first), float(last), slope


def grows(name: str, what: str, _minutes: float, first: float, last: float, slope: float) -> bool:
    """Whether this is growth; a member's heap fills up to its limit and is then collected."""
    if (name, what) == ("grid", "rss MB"):
        return last > MEMBER_MB
    return slope > LIMITS[what][0] and last - first > LIMITS[what][1]


def fault(stage: Stage, dice: random.Random) -> str:
    """Do one thing to the deployment; what it was."""
    kind = dice.choice(["kill", "freeze", "pair", "freeze"])
    if kind == "freeze":
        name = dice.choice(SERVICES)
        with stage.frozen(name):
            time.sleep(dice.uniform(2.0, 8.0))
        return f"froze {name}"
    names = dice.sample(SERVICES, 2 if kind == "pair" else 1)
    stage.kill(*names)
    return f"killed {' and '.join(names)}"


def doubts(stage: Stage, faults: list[float]) -> tuple[Counter[str], Counter[str]]:
    """Doubts of the lane that no fault explains, and all of them, by name."""
    replay, every, unexplained = stage.replay, Counter[str](), Counter[str]()
    for record in stage.lane_bars():
        moment = replay.started_monotonic + (record.ts_ms - replay.start_ms) / 1000.0 / replay.speed
        lately = any(0.0 <= moment - at < EXPLAINED_S for at in faults) or moment < faults[0]
        every.update(record.payload["told"]["blocks"])
        if not lately:
            unexplained.update(record.payload["told"]["blocks"])
    return unexplained, every


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--assets", type=int, default=48)
    given = parser.parse_args()
    dice, samples, faults = random.Random(given.seed), Samples(), list[float]()
    with tempfile.TemporaryDirectory(prefix="dolphin-soak-") as folder:
        ground = prepared(Path(folder), assets=given.assets, warm=True, order_book=True)
        stage = Stage(Path(folder) / "run", ground, speed=SPEED)
        try:
            began = due = time.monotonic()
            due += EVERY_S
            while time.monotonic() - began < given.minutes * 60.0:
                samples.take(stage)
                if time.monotonic() >= due:
                    faults.append(time.monotonic())
                    print(f"{time.monotonic() - began:6.0f} s {fault(stage, dice)}", flush=True)
                    due += EVERY_S
                time.sleep(SAMPLE_S)
            back = stage.recovers(150.0)
        finally:
            left = stage.close()
        grown = [row for row in samples.slopes() if grows(*row)]
        unexplained, every = doubts(stage, faults)
        broken = broken_laws(stage, None)
        print("| process | what | minutes | first | last | slope a minute |\n|---|---|---|---|---|---|")
        for name, what, minutes, first, last, slope in sorted(samples.slopes()):
            print(f"| {name} | {what} | {minutes:.1f} | {first:.1f} | {last:.1f} | {slope:+.3f} |")
        many = f"{len(faults)} faults, {len(stage.lane_bars())} bars, {len(stage.trades())} trades"
        print(f"{many}; recovered {back:.0f} s after the last one")
        print(f"doubts {dict(every)}, unexplained {dict(unexplained)}; grown {grown}; laws {broken or 'all hold'}; left {left}")
    return int(bool(grown or unexplained or broken or left))


if __name__ == "__main__":
    sys.exit(main())
