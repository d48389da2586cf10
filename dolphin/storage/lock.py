"""A lock file: one process at a time, whatever supervisors and orchestrators believe.

The lock is the kernel's (``flock``) on an open file, so it ends with its process, also after kill -9; the file's text only says who
holds it. The file is never deleted: a second holder could lock the new one of the same name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from dolphin.errors import Unavailable

__all__ = ["FileLock"]


class FileLock:
    """Held from construction until ``release``. Raises ``Unavailable`` naming the holder, or why the file cannot be made."""

    def __init__(self, path: Path | str, owner: str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unavailable(f"{self.path}: the lock file cannot be made ({error.strerror}); make its folder writable") from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{owner}, pid {os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(self._handle, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(self._handle)
            raise Unavailable(f"{self.path}: held by {holder}; stop it first, two at once are never allowed") from error
        except OSError as error:
            os.close(self._handle)
            raise Unavailable(f"{self.path}: cannot be locked ({error.strerror})") from error

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
