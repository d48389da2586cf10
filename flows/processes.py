"""The processes of a deployment, found by the mark that each inherits in its environment.

There is no pid file to go stale: a process is ours when it carries the path of the state folder, runs under our user and sees our file
system. It is signalled through a file descriptor of that very process, so that a pid that is given anew cannot be hit.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dolphin.errors import Unavailable

__all__ = ["MARK", "end", "marked", "ours"]

MARK: Final = "DOLPHIN_DEPLOYMENT"
KILL_S: Final = 5.0


def marked(state: Path) -> dict[str, str]:
    """The variable that marks the processes of this state folder."""
    return {MARK: str(state.resolve())}


def ours(state: Path) -> list[int]:
    """Pids of what runs of this deployment, the caller left out."""
    with _held(state) as found:
        return sorted(found)


def end(state: Path, patience_s: float) -> list[int]:
    """End what runs of this deployment: SIGTERM, after ``patience_s`` SIGKILL, again for what was born meanwhile. Returns the pids.

    Raises ``Unavailable`` when something outlives SIGKILL.
    """
    ended: set[int] = set()
    for sign, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, KILL_S), (signal.SIGKILL, KILL_S)):
        with _held(state) as found:
            for handle in found.values():
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, sign)
            ended |= found.keys()
            _await(list(found.values()), wait_s)
    left = ours(state)
    if left:
        raise Unavailable(f"processes {', '.join(map(str, left))} of {state} do not end, not even by SIGKILL: see `ps`")
    return sorted(ended)


@contextmanager
def _held(state: Path) -> Iterator[dict[int, int]]:
    """Pid and process descriptor of each of ours. The mark is read again once the descriptor is open: then both are of one process."""
    mark = "=".join(next(iter(marked(state).items()))).encode(errors="surrogateescape")
    handles: dict[int, int] = {}
    try:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid() and _carries(folder, mark):
                with suppress(ProcessLookupError):
                    handles[int(folder.name)] = os.pidfd_open(int(folder.name))
                    if not _carries(folder, mark):
                        os.close(handles.pop(int(folder.name)))
        yield handles
    finally:
        for handle in handles.values():
            os.close(handle)


def _carries(folder: Path, mark: bytes) -> bool:
    with suppress(OSError):
        if folder.stat().st_uid == os.getuid() and mark in (folder / "environ").read_bytes().split(b"\0"):
            return (folder / "ns" / "mnt").stat().st_ino == Path("/proc/self/ns/mnt").stat().st_ino
    return False


def _await(handles: Sequence[int], seconds: float) -> None:
    """Until all processes have ended, at most so long."""
    until, waiting = time.monotonic() + seconds, select.poll()
    for handle in handles:
        waiting.register(handle, select.POLLIN)
    left = len(handles)
    while left and (milliseconds := (until - time.monotonic()) * 1000) > 0:
        for handle, _ in waiting.poll(milliseconds):
            waiting.unregister(handle)
            left -= 1
