"""The one table of the benches: rows, best-of-k timing, verdicts.

A bench file ``ci/bench/bench_<what>.py`` has ``def main() -> list[Row]`` and ends with ``emit(main())`` under ``__main__``;
``bash ci/bench/run`` runs each with ``--json`` in a process of its own and merges the rows into one table.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

__all__ = ["Row", "best_of", "emit", "render", "row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. ``ours`` and ``peer`` are in ``unit`` (seconds or MB); ``floor`` and ``aim`` bound ``ratio``.

    ``aim > floor``: a speed-up, ratio = peer / ours, larger is better (scan 50x / 130x).
    ``aim <= floor``: a cost, ratio = ours / peer, smaller is better (warm start 1.8x / 1.4x; growth 1.25 / 1.25).
    No peer: the bounds are limits of ``ours`` itself in ``unit`` (live push 0.002 / 0.001 s). No floor: reported only.
    """

    work: str
    ours: float
    peer: float | None
    floor: float | None
    aim: float | None
    note: str = ""
    unit: str = "s"

    @property
    def speed_up(self) -> bool:
        """Whether a larger ratio is the better one."""
        return self.floor is not None and self.aim is not None and self.aim > self.floor

    @property
    def ratio(self) -> float | None:
        """Figure that floor and aim bound: peer / ours, ours / peer, or None without a peer."""
        if self.peer is None:
            return None
        return self.peer / self.ours if self.speed_up or self.floor is None else self.ours / self.peer

    @property
    def verdict(self) -> str:
        """``aim``, ``floor`` (between floor and aim), ``MISS``, or ``-`` when nothing bounds the row."""
        if self.floor is None or self.aim is None:
            return "-"
        value = self.ours if self.ratio is None else self.ratio
        sign = 1.0 if self.speed_up else -1.0
        return "aim" if sign * value >= sign * self.aim else "floor" if sign * value >= sign * self.floor else "MISS"


def row(
    work: str,
    ours_s: float,
    peer_s: float | None,
    floor: float | None,
    aim: float | None,
    note: str = "",
    unit: str = "s",
) -> Row:
    """Make a ``Row``; see there for which way floor and aim point. Peak memory rows pass ``unit="MB"``."""
    return Row(work, float(ours_s), None if peer_s is None else float(peer_s), floor, aim, note, unit)


def best_of(fn: Callable[[], object], k: int = 5) -> float:
    """Least of ``k`` wall times of ``fn()`` in seconds, after one untimed call, garbage collector off."""
    fn()
    was_on = gc.isenabled()
    gc.disable()
    try:
        best = float("inf")
        for _ in range(k):
            start = time.perf_counter()
            fn()
            best = min(best, time.perf_counter() - start)
    finally:
        if was_on:
            gc.enable()
    return best


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit != "s":
        return f"{value:,.0f} {unit}"
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def _bound(value: float | None, r: Row) -> str:
    if value is None:
        return "-"
    return f"{value:g}x" if r.peer is not None else _amount(value, r.unit)


def render(rows: Sequence[Row]) -> str:
    """Markdown table of all rows, columns padded so that it also reads in a terminal."""
    cells = [["work", "ours", "peer", "ratio", "floor", "aim", "verdict", "note"]]
    for r in rows:
        ratio = "-" if r.ratio is None else f"{r.ratio:.3g}x"
        bounds = [_bound(r.floor, r), _bound(r.aim, r)]
        cells.append([r.work, _amount(r.ours, r.unit), _amount(r.peer, r.unit), ratio, *bounds, r.verdict, r.note])
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def emit(rows: Sequence[Row]) -> None:
    """Print ``rows``: one JSON object a line with ``--json`` on the command line, the table otherwise."""
    if "--json" in sys.argv[1:]:
        for r in rows:
            print(json.dumps(asdict(r)))
    else:
        print(render(rows))


def main() -> int:
    """Merge the JSON rows on stdin into one table; 1 when a row missed its floor or there is none."""
    rows = [Row(**json.loads(line)) for line in sys.stdin if line.strip()]
    print(render(rows))
    return int(not rows or any(r.verdict == "MISS" for r in rows))


if __name__ == "__main__":
    sys.exit(main())
