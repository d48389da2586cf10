"""Publishing a file: readers see the old file or the whole new one, never a half.

Everything that this package writes goes through ``publish``: a temporary file ``.NAME.PID.tmp`` in the same folder, flush, fsync,
rename over the name, fsync of the folder. A crash leaves at most such a temporary file; no reader looks at hidden names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

__all__ = ["publish", "sha256_file", "stale_aside", "sync_folder", "temporary_name"]


def temporary_name(path: Path) -> Path:
    """Where the bytes of ``path`` grow: ``.NAME.PID.tmp`` beside it."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def publish(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends well it becomes ``path``, otherwise (Ctrl-C too) it is removed.

    ``durable=False`` leaves out the two fsyncs: for working copies that their readers verify and can rebuild.
    Several files become visible together, or none, when each is entered into one ``contextlib.ExitStack``.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path | str) -> str:
    """Hexadecimal sha256 of a file's bytes; remembered within the process by path, size and modification time."""
    path = Path(path).absolute()
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


def stale_aside(path: Path | str, today: str) -> Path:
    """Keep the present ``path`` as ``NAME.STALE_<today>`` (``.2``, ``.3`` ... when taken) and return that name.

    The file stays under its own name too (a hard link), so that the rebuild replaces it in one step; where links are not
    possible it is renamed. ``today`` is ``YYYY-MM-DD``: clocks are read above this layer.
    """
    path = Path(path)
    first = path.with_name(f"{path.name}.STALE_{today}")
    aside, number = first, 1
    while aside.exists():
        number += 1
        aside = first.with_name(f"{first.name}.{number}")
    try:
        os.link(path, aside)
    except FileNotFoundError:
        raise
    except OSError:
        path.replace(aside)
    sync_folder(path.parent)
    return aside


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
