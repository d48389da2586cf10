"""Bytes of a source file, plain or packed, never more than a cap: what a file declares is checked before anything is unpacked.

``.zip``: the directory declares each member's size; ``.gz``: the trailer declares it and the stream is cut at the cap; Arrow IPC
(feather): every compressed buffer declares its size in its first eight bytes.
"""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dolphin.errors import MalformedFile
from dolphin.storage.parquet import refusing

__all__ = ["MAX_SOURCE", "Member", "check_arrow_ipc", "unpack"]

MAX_SOURCE = 1 << 30
"""Bytes of a source file, or of one member, after unpacking."""

_MAX_MEMBERS = 10_000
_MAX_RATIO = 200
_RATIO_FREE = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """One text file: its own name (inside the archive) and bytes."""

    name: str
    data: bytes


def unpack(path: Path, cap: int = MAX_SOURCE) -> Iterator[Member]:
    """Yield the file, or each member of the ``.zip``, unpacked. Raises ``MalformedFile`` before unpacking more than ``cap`` bytes."""
    try:
        if path.name.endswith(".zip"):
            yield from _unzip(path, cap)
        elif path.name.endswith(".gz"):
            yield Member(path.name.removesuffix(".gz"), _gunzip(path, cap))
        else:
            _refuse_over(path, path.stat().st_size, cap)
            yield Member(path.name, path.read_bytes())
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        raise MalformedFile(f"cannot be unpacked: {error}", path=path, hint="fetch the file again") from error


def check_arrow_ipc(data: Any, path: Path, cap: int = MAX_SOURCE) -> None:
    """Refuse an Arrow IPC file (``data``: its bytes) whose record batches declare more than ``cap`` bytes in all."""
    import pyarrow as pa

    if bytes(data[:6]) != b"ARROW1":
        raise MalformedFile("is not an Arrow IPC (feather version 2) file", path=path)
    total = 0
    with refusing(path):
        for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(pa.py_buffer(data)[8:])):
            total += _declared(memoryview(message.metadata), memoryview(b"" if message.body is None else message.body))
            _refuse_over(path, total, cap)


def _refuse_over(path: Path, size: int, cap: int) -> None:
    if size > cap:
        raise MalformedFile(f"holds {size} bytes, the cap is {cap}", path=path, hint="split the file, if it is not a bomb")


def _unzip(path: Path, cap: int) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        if len(members) > _MAX_MEMBERS:
            raise MalformedFile(f"has {len(members)} members, the cap is {_MAX_MEMBERS}", path=path)
        for info in members:
            _refuse_over(path, info.file_size, cap)
            if info.file_size > max(_RATIO_FREE, _MAX_RATIO * info.compress_size):
                why = f"member {info.filename} unpacks {info.compress_size} bytes to {info.file_size}"
                raise MalformedFile(why, path=path, hint="that is a bomb, not klines")
        for info in members:
            yield Member(info.filename.rpartition("/")[2], archive.read(info))


def _gunzip(path: Path, cap: int) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 4))
        declared = int.from_bytes(file.read(4), "little")
    _refuse_over(path, declared, cap)
    allowed = min(cap, max(_RATIO_FREE, _MAX_RATIO * size))
    with gzip.open(path) as stream:
        data = stream.read(allowed + 1)
    if len(data) > allowed:
        raise MalformedFile(f"unpacks {size} bytes to more than {allowed}", path=path, hint="that is a bomb, not klines")
    return data


def _declared(message: memoryview, body: memoryview) -> int:
    """Bytes that a record batch says its buffers have: flatbuffer ``Message.header`` as ``RecordBatch`` (or inside a dictionary batch)."""
    try:
        return _sum_of_buffers(message, body)
    except (struct.error, IndexError) as error:
        raise ValueError("its Arrow messages are damaged") from error


def _sum_of_buffers(message: memoryview, body: memoryview) -> int:
    table = _u32(message, 0)
    kind = _field(message, table, 1)
    header = _follow(message, _field(message, table, 2))
    if not kind or message[kind] not in (2, 3) or not header:
        return len(body)
    batch = header if message[kind] == 3 else _follow(message, _field(message, header, 1))
    buffers = _follow(message, _field(message, batch, 2))
    if not _field(message, batch, 3) or not buffers:
        return len(body)
    total = 0
    for i in range(_u32(message, buffers)):
        offset, length = struct.unpack_from("<qq", message, buffers + 4 + 16 * i)
        total += max(length, struct.unpack_from("<q", body, offset)[0]) if length >= 8 else 0
    return total


def _u32(data: memoryview, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _field(data: memoryview, table: int, number: int) -> int:
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    if 4 + 2 * number >= struct.unpack_from("<H", data, vtable)[0]:
        return 0
    offset = int(struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0])
    return table + offset if offset else 0


def _follow(data: memoryview, at: int) -> int:
    return at + _u32(data, at) if at else 0
