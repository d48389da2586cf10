"""Kills a pull with SIGKILL at each of its renames, pulls again, and prints what then lies on disk as JSON lines.

One process that has loaded everything forks every pull: ``python killed_pulls.py URL FOLDER``. Every rename is a durable step; what
lies between two of them leaves at most a temporary file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import ccxt.async_support
import pyarrow.parquet  # noqa: F401

from flows.pull import PullPlan, pull

__all__ = ["STEPS", "main"]

STEPS = (0, *range(-1, -10, -1), 8)
"""0 = undisturbed, -n = killed before rename n (its temporary file lies there), n = after it; there are 8, so that -9 comes too late."""


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file but the lock's text (it names the process)."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def killing(at: int, before: bool) -> None:
    """End this process at its rename number ``at``."""
    rename, count = os.replace, 0

    def replace(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count == at and before:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace


def forked(work: Callable[[], object]) -> int:
    """The exit status of ``work`` in a process of its own: 0 done, -9 killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """One pull after the other, each in an empty folder."""
    assert ccxt.async_support.exchanges
    url, folder = sys.argv[1], Path(sys.argv[2])
    plan = PullPlan("binanceusdm", folder, "2024-01-02", "2024-01-02", timeframe="1h", url=url, patience=20.0)
    for step in STEPS:

        def disturbed(step: int = step) -> None:
            if step:
                killing(abs(step), before=step < 0)
            pull(plan, lambda items, _total, _label: items)

        died = forked(disturbed)
        half = digests(folder)
        again = forked(lambda: pull(plan, lambda items, _total, _label: items))
        print(json.dumps({"step": step, "died": died, "half": len(half), "again": again, "files": digests(folder)}), flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
