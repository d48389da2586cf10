"""The end of a run of the fault matrix: everything is stopped, then every law is looked at."""

from __future__ import annotations

from fault_evidence import LANE
from fault_laws import broken_laws
from fault_matrix import MATRIX
from fault_stage import Stage

from dolphin.storage.journal import Kind

__all__ = ["finish"]


def finish(stage: Stage, reference: Stage, what: str) -> list[str]:
    """End the run when its first day is done; the laws that do not hold."""
    stage.wait(lambda: stage.records(LANE, Kind.DAY_RESULT), 120.0)
    left = stage.close()
    broken = broken_laws(stage, reference) + ([f"left behind: {left}"] if left else [])
    told = f"all hold; {len(stage.trades())} trades" if not broken else "; ".join(broken)[:600]
    MATRIX.add(f"after {what}", "journals whole, nothing twice or lost, decisions and day tables as they were", told)
    return broken
