"""Files that only their owner may read: keys and permissions. What others could read or change does not count."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dolphin.errors import ConfigError

__all__ = ["read_private", "write_private"]

MAX_BYTES = 64 * 1024


def read_private(path: Path, what: str) -> bytes:
    """Bytes of a regular file of mode 0600 (or less) that belongs to who runs this. Raises ``ConfigError`` naming ``what`` and the mend.

    Nothing of the content is in the error. A symbolic link is refused: it says nothing about the permissions of who made it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be read ({error.strerror})") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: the {what} must be a regular file")
        if status.st_uid != os.geteuid():
            raise ConfigError(f"{path}: the {what} belongs to user {status.st_uid}, not to {os.geteuid()} who runs this")
        if status.st_mode & 0o7177:
            raise ConfigError(f"{path}: the {what} has mode {stat.S_IMODE(status.st_mode):04o}; chmod 600 {path}")
        data = os.read(handle, MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: the {what} has more than {MAX_BYTES} bytes")
    return data


def write_private(path: Path, data: bytes, what: str) -> None:
    """Write a new file of mode 0600. Raises ``ConfigError`` when there is one already, or it cannot be made."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be made ({error.strerror})") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)
