"""Eigenvalue archive: ``eigenvalues/YYYY-MM-DD/scan_NNNNNN__scan_global.npz`` and ``..__Indicators.npz``, two small files a scan.

Each holds float64 scalars and ``ts_ms`` (int64); the same scan gives the same bytes. They are read member by member with the sizes
of the zip directory checked first and without pickle: an object array is refused, never run.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.errors import DataError, MalformedFile, SchemaError
from dolphin.storage.publish import sync_folder
from dolphin.storage.schema import day_start
from dolphin.types import WINDOWS, Array, Ints

__all__ = ["INDICATORS", "SCAN_GLOBAL", "ScanDay", "read_members", "read_scans", "scan_path", "write_scans"]

SCAN_GLOBAL = (
    *(f"lambda_w{w}" for w in WINDOWS),
    *(f"lambda_vel_w{w}" for w in WINDOWS),
    "instability_50",
    "instability_150",
)
INDICATORS = ("funding_btc", "dvol_btc", "fng", "taker")

_KINDS = {"scan_global": SCAN_GLOBAL, "Indicators": INDICATORS}
_MAX_FILE = 64 << 10
_NAME = re.compile(r"scan_(\d{6})__(scan_global|Indicators)\.npz")


@dataclass(frozen=True, slots=True)
class ScanDay:
    """Scans of one UTC day: ``number`` int64[T] (0..999999, ascending), ``ts_ms`` int64[T] bar CLOSE, ``scan`` float64[T, 10] over
    ``SCAN_GLOBAL``, ``indicators`` float64[T, 4] over ``INDICATORS`` (NaN = unknown) or None when none were archived."""

    date: str
    number: Ints
    ts_ms: Ints
    scan: Array
    indicators: Array | None = None


def scan_path(root: Path | str, date: str, number: int, kind: str = "scan_global") -> Path:
    """Where one file of the archive ``root`` (``correlation_arb512/``) lies; ``kind``: ``scan_global`` or ``Indicators``."""
    return Path(root) / "eigenvalues" / date / f"scan_{number:06d}__{kind}.npz"


def write_scans(root: Path | str, day: ScanDay) -> Path:
    """Write a day's scans and return its folder.

    They grow in a hidden folder beside it. A new day appears by one rename; in a day that is there each file is replaced whole.
    """
    _check_day(day)
    folder = Path(root) / "eigenvalues" / day.date
    growing = folder.with_name(f".{day.date}.{os.getpid()}.tmp")
    growing.mkdir(parents=True)
    try:
        for t, (number, ts) in enumerate(zip(day.number.tolist(), day.ts_ms.tolist(), strict=True)):
            _write_file(growing / f"scan_{number:06d}__scan_global.npz", SCAN_GLOBAL, day.scan[t], ts)
            if day.indicators is not None:
                _write_file(growing / f"scan_{number:06d}__Indicators.npz", INDICATORS, day.indicators[t], ts)
        _sync_all(growing)
        if folder.exists():
            for file in growing.iterdir():
                file.replace(folder / file.name)
            sync_folder(folder)
        else:
            growing.rename(folder)
        sync_folder(folder.parent)
    finally:
        _remove(growing)
    return folder


def read_members(path: Path | str) -> dict[str, float]:
    """Values of one file by member name; ``ts_ms`` is an int. Raises ``MalformedFile`` or ``SchemaError`` naming file and member."""
    path = Path(path)
    found = _NAME.fullmatch(path.name)
    if not found:
        raise SchemaError("the name is not scan_NNNNNN__scan_global.npz or scan_NNNNNN__Indicators.npz", path=path)
    names = (*_KINDS[found[2]], "ts_ms")
    try:
        if path.stat().st_size > _MAX_FILE:
            raise MalformedFile(f"is larger than {_MAX_FILE} bytes", path=path)
        with zipfile.ZipFile(path) as archive:
            _check_directory(archive, names, path)
            return {name: _scalar(archive.read(f"{name}.npy"), name, path) for name in names}
    except DataError:
        raise
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, struct.error) as error:
        raise MalformedFile(f"is no readable npz: {error}", path=path, hint="scan the day again") from error


def read_scans(root: Path | str, date: str) -> ScanDay:
    """All scans of a day; ``indicators`` is None unless each scan has them. Raises ``SchemaError`` when the day is empty."""
    day_start(date)
    folder = Path(root) / "eigenvalues" / date
    numbers = sorted(int(found[1]) for p in folder.glob("scan_*__scan_global.npz") if (found := _NAME.fullmatch(p.name)))
    if not numbers:
        raise SchemaError("there are no scans of this day", path=folder)
    scans = [read_members(scan_path(root, date, n)) for n in numbers]
    beside = [scan_path(root, date, n, "Indicators") for n in numbers]
    rows = [read_members(p) for p in beside] if all(p.exists() for p in beside) else []
    return ScanDay(
        date,
        np.array(numbers, dtype=np.int64),
        np.array([int(s["ts_ms"]) for s in scans], dtype=np.int64),
        np.array([[s[name] for name in SCAN_GLOBAL] for s in scans]),
        np.array([[r[name] for name in INDICATORS] for r in rows]) if rows else None,
    )


def _check_day(day: ScanDay) -> None:
    rows = len(day.number)
    day_start(day.date)
    if day.number.shape != (rows,) or day.ts_ms.shape != (rows,) or day.scan.shape != (rows, len(SCAN_GLOBAL)):
        raise SchemaError(f"scans of {day.date} are not {rows} rows of {len(SCAN_GLOBAL)} values")
    if day.indicators is not None and day.indicators.shape != (rows, len(INDICATORS)):
        raise SchemaError(f"indicators of {day.date} are not {rows} rows of {len(INDICATORS)} values")
    if not rows or day.number[0] < 0 or day.number[-1] > 999_999 or (np.diff(day.number) <= 0).any():
        raise SchemaError(f"scan numbers of {day.date} must ascend within 0..999999")


def _check_directory(archive: zipfile.ZipFile, names: Sequence[str], path: Path) -> None:
    members = archive.infolist()
    held = [info.filename for info in members]
    for name in names:
        if held.count(f"{name}.npy") != 1:
            raise SchemaError("the member must be there once", path=path, column=name)
    odd = sorted(set(held) - {f"{name}.npy" for name in names})
    if odd:
        raise SchemaError("is no member of this archive", path=path, column=odd[0][:40])
    if sum(info.file_size for info in members) > _MAX_FILE:
        raise MalformedFile(f"declares more than {_MAX_FILE} bytes after unpacking", path=path, hint="that is a bomb, not a scan")


def _scalar(data: bytes, name: str, path: Path) -> Any:
    stream = io.BytesIO(data)
    wanted = np.dtype(np.int64 if name == "ts_ms" else np.float64)
    try:
        value = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise MalformedFile(f"is no plain number ({error})", path=path, column=name, hint="pickled objects are never loaded") from error
    if value.dtype != wanted or value.shape != () or stream.read(1):
        raise SchemaError(f"is {value.dtype}{list(value.shape)} but must be a scalar {wanted}", path=path, column=name)
    return value.item()


def _write_file(path: Path, names: Sequence[str], values: Array, ts_ms: int) -> None:
    members = {name: np.float64(value) for name, value in zip(names, values.tolist(), strict=True)}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, ts_ms=np.int64(ts_ms), **members)
    path.write_bytes(stream.getvalue())


def _sync_all(folder: Path) -> None:
    for file in folder.iterdir():
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    sync_folder(folder)


def _remove(folder: Path) -> None:
    if folder.exists():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
