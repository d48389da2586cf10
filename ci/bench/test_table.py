"""The table of the benches: which way a ratio points and what its verdict is."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_table", Path(__file__).with_name("table.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_table"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("ours", "peer", "floor", "aim", "ratio", "verdict"),
    [
        (0.01, 1.3, 50, 130, 130.0, "aim"),
        (0.01, 0.6, 50, 130, 60.0, "floor"),
        (0.01, 0.4, 50, 130, 40.0, "MISS"),
        (1.3, 1.0, 1.8, 1.4, 1.3, "aim"),
        (1.5, 1.0, 1.8, 1.4, 1.5, "floor"),
        (2.0, 1.0, 1.8, 1.4, 2.0, "MISS"),
        (1.2, 1.0, 1.25, 1.25, 1.2, "aim"),
        (0.0015, None, 0.002, 0.001, None, "floor"),
        (0.003, None, 0.002, 0.001, None, "MISS"),
        (2.0, 4.0, None, None, 2.0, "-"),
    ],
)
def test_floor_and_aim_say_which_way_is_better(
    table: ModuleType, ours: float, peer: float | None, floor: float | None, aim: float | None, ratio: float | None, verdict: str
) -> None:
    """aim > floor: a speed-up (peer / ours); aim <= floor: a cost (ours / peer) or, without a peer, a limit of ours."""
    made = table.row("work", ours, peer, floor, aim)
    assert made.ratio == (None if ratio is None else pytest.approx(ratio))
    assert made.verdict == verdict


def test_the_table_has_a_line_a_row_and_units_people_read(table: ModuleType) -> None:
    """Seconds are scaled, memory stays in MB, bounds of a ratio carry an x."""
    text = table.render([table.row("push", 1.5e-3, None, 2e-3, 1e-3), table.row("peak", 600, None, 500, 500, unit="MB")])
    lines = text.splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "| 1.5 ms |" in lines[2]
    assert re.search(r"\| 2 ms +\| 1 ms +\| floor", lines[2])
    assert "| 600 MB |" in lines[3]
    assert "MISS" in lines[3]


def test_best_of_takes_the_least_time_after_a_warm_up(table: ModuleType) -> None:
    """The function runs once untimed and k times timed."""
    calls = []
    assert 0.0 <= table.best_of(lambda: calls.append(1), k=3) < 1.0
    assert len(calls) == 4
