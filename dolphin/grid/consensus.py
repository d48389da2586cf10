"""The CP subsystem of a cluster: linearizable cells and fenced locks. Open-source Hazelcast has it up to 5.4.0.

With fewer than three members it runs in "unsafe mode": one copy that dies with its JVM.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hazelcast.client import HazelcastClient
from hazelcast.errors import HazelcastError, UnsupportedOperationError

from dolphin.errors import MissingDependency
from dolphin.grid.record import Raw

__all__ = ["Consensus"]


class Consensus:
    """Cells (AtomicReference) and locks (FencedLock) by name, each call bounded by ``timeout_s``.

    All calls are made by one thread: locks belong to the thread that took them, so any thread may renew and release through here.
    """

    def __init__(self, client: Callable[[], HazelcastClient], timeout_s: float) -> None:
        self._client, self._timeout_s = client, timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grid-consensus")
        self._held: set[str] = set()
        self._book = threading.Lock()

    def offered(self) -> bool:
        """Whether the cluster has a CP subsystem."""
        try:
            self._run(lambda cp: cp.get_atomic_reference("DOLPHIN_PROBE").blocking().get())
        except UnsupportedOperationError:
            return False
        return True

    def load(self, cell: str) -> Raw:
        """Text in the cell."""
        found: Raw = self._run(lambda cp: cp.get_atomic_reference(cell).blocking().get())
        return found

    def swap(self, cell: str, old: str | None, new: str) -> bool:
        """Write ``new`` if ``old`` is there."""
        return bool(self._run(lambda cp: cp.get_atomic_reference(cell).blocking().compare_and_set(old, new)))

    def overwrite(self, cell: str, new: str) -> None:
        """Write ``new`` whatever is there."""
        self._run(lambda cp: cp.get_atomic_reference(cell).blocking().set(new))

    def acquire(self, lock: str) -> bool:
        """Take the lock if nobody has it, in this process or another. It is lost when the member hears nothing for 30 s."""
        with self._book:
            if lock in self._held:
                return False
            self._held.add(lock)
        taken = False
        try:
            taken = bool(self._run(lambda cp: cp.get_lock(lock).blocking().try_lock()))
        finally:
            if not taken:
                self._held.discard(lock)
        return taken

    def holds(self, lock: str) -> bool:
        """Whether the lock that was taken is still ours."""
        try:
            return lock in self._held and bool(self._run(lambda cp: cp.get_lock(lock).blocking().is_locked_by_current_thread()))
        except MissingDependency:
            return False

    def release(self, lock: str) -> None:
        """Give the lock back; one that was lost meanwhile is forgotten."""
        try:
            self._run(lambda cp: cp.get_lock(lock).blocking().unlock())
        except MissingDependency:
            pass
        finally:
            self._held.discard(lock)

    def close(self) -> None:
        """Wait for nothing."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _run(self, call: Callable[[Any], Any]) -> Any:
        client = self._client()
        try:
            return self._thread.submit(lambda: call(client.cp_subsystem)).result(self._timeout_s)
        except UnsupportedOperationError:
            raise
        except HazelcastError as error:
            raise MissingDependency(f"the CP subsystem: {type(error).__name__}: {error}") from error
        except TimeoutError as error:
            raise MissingDependency(f"the CP subsystem did not answer within {self._timeout_s:g} s: have most members gone?") from error
