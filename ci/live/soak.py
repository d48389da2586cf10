"""Two market hours of 48 perpetuals through a demo exchange at sixty times our speed, then every fault in turn; a table of what came of it.

    PYTHONPATH=.:ci .venv/bin/python ci/live/soak.py [--seconds 120] [--bar-seconds 60] [--speed 60] [--symbols 48] [--only KIND]

A bar counts as wrong when any of its eight fields is not what the exchange's published trades give; missing prices are counted apart.
Exit 1 when a bar is wrong, or when anything is missing without a fault or after one that leaves nothing unknown.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from live_exchange import DemoProcess, LiveScanner, differences

FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("disconnect", {"seconds": 4}), ("duplicate", {"seconds": 8, "share": 0.3}), ("out_of_order", {"seconds": 8, "share": 0.3}),
    ("stale", {"seconds": 5}), ("rate_limit", {"seconds": 5}), ("server_error", {"seconds": 5, "share": 0.7}),
    ("maintenance", {"seconds": 5}), ("clock_skew", {"seconds": 5, "offset_ms": -30_000}),
    ("clock_skew", {"seconds": 5, "offset_ms": 30_000}),
    ("delist", {"seconds": 1}),
]  # fmt: skip
SETTLE_S = 25.0
REPAIR_S = 150.0


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--bar-seconds", type=int, default=60)
    parser.add_argument("--speed", default="60")
    parser.add_argument("--symbols", default="48")
    parser.add_argument("--grace-ms", type=int, default=500)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    demo = DemoProcess("--symbols", asked.symbols, "--speed", asked.speed, "--bar-seconds", str(asked.bar_seconds))
    bad = 0
    try:
        with tempfile.TemporaryDirectory(prefix="dolphin-soak-") as root:
            scanner = LiveScanner(Path(root), demo, bar_seconds=asked.bar_seconds, grace_ms=asked.grace_ms)
            assert scanner.run(300, lambda: scanner.service.status == "running"), scanner.words
            print(
                "| fault | bars | cells | wrong | no price | bars without a row | said | alerts |\n|---|---|---|---|---|---|---|---|",
                flush=True,
            )
            if asked.seconds:
                bad += _run(demo, scanner, "none", {}, asked.seconds)
            for kind, how in FAULTS:
                if asked.only in ("", kind):
                    how = {**how, "symbols": [scanner.source.symbols[-1]]} if kind == "delist" else how
                    bad += _run(demo, scanner, kind, how, SETTLE_S)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"\nmost memory {memory:.0f} MB; counts {dict(scanner.source.counts)} {dict(scanner.source._bars.counts)}")
            scanner.stop()
    finally:
        demo.close()
    return int(bad > 0)


def _run(demo: DemoProcess, scanner: LiveScanner, kind: str, how: dict[str, Any], seconds: float) -> int:
    """A line of the table; what is wrong in it."""
    first, alerts = scanner.newest, len(scanner.world.told)
    scanner.words = []
    if how:
        demo.fault(kind, **how)
    scanner.run(seconds)
    scanner.run(REPAIR_S, lambda: scanner.service.status in ("running", "gaps"))
    end, bar_ms = scanner.newest, scanner.source._bar_ms
    compared, found = differences(demo, scanner, first, end)
    missing = [text for text in found if ": None instead" in text]
    rows = sum(first < record.ts_ms <= end for record in scanner.scans)
    told = sorted({f"{a.kind}/{a.key}" for a in scanner.world.told[alerts:]})
    words, lacking = " > ".join(_short(scanner.words)), (end - first) // bar_ms - rows
    line = (kind + str(how.get("offset_ms", "")), (end - first) // bar_ms, compared, len(found) - len(missing), len(missing), lacking)
    print(f"| {' | '.join(map(str, line))} | {words} | {', '.join(told[:6])} |", flush=True)
    for text in found[:3]:
        print(f"    {text}", file=sys.stderr)
    return len(found) - len(missing) + (lacking + len(missing)) * (kind in ("none", "duplicate", "out_of_order", "disconnect"))


def _short(words: list[str]) -> list[str]:
    """Repeated pairs once."""
    kept: list[str] = []
    for word in words:
        if kept[-2:-1] != [word]:
            kept.append(word)
    return kept


if __name__ == "__main__":
    sys.exit(main())
