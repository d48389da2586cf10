"""Working copy of a file: its arrays, ready to map into memory, in one hidden file beside it or in a cache folder.

Layout: ``DOLPHIN1``, header length (uint32), sha256 of the header, header (JSON), then each array on a 4096-byte boundary.
The copy is used while the source's size and modification time are those of the header and every array has its digest (memory
speed); otherwise it counts as absent and its owner writes it anew from the source. Never fsynced, always renamed into place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolphin.storage.digest import digest
from dolphin.storage.publish import publish

__all__ = ["fingerprint", "read_sidecar", "sidecar_path", "write_sidecar"]

_MAGIC = b"DOLPHIN1"
_PAGE = 4096
_MAX_HEADER = 16 << 20

type Arrays = Mapping[str, npt.NDArray[Any]]


def sidecar_path(source: Path, cache: Path | None = None) -> Path:
    """``.NAME.sidecar`` beside the source, or ``cache/<hash of its folder>/NAME.sidecar``."""
    if cache is None:
        return source.with_name(f".{source.name}.sidecar")
    folder = hashlib.sha256(str(source.parent.absolute()).encode()).hexdigest()[:16]
    return cache / folder / f"{source.name}.sidecar"


def fingerprint(source: Path) -> list[int]:
    """Size and modification time (ns) of a file; ``[]`` when there is none."""
    try:
        status = source.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def write_sidecar(path: Path, stamp: list[int], info: Mapping[str, Any], arrays: Arrays) -> bool:
    """Write arrays (``float64`` or ``int64``) and JSON-able ``info``; ``stamp`` is the source's fingerprint from before it was read.

    Returns whether it could be written: a folder that cannot be written to is no fault.
    """
    blocks = {name: np.ascontiguousarray(block) for name, block in arrays.items()}
    table, offset = [], 0
    for name, block in blocks.items():
        table.append([name, block.dtype.str, list(block.shape), offset, digest(block)])
        offset += -(-block.nbytes // _PAGE) * _PAGE
    header = json.dumps({"stamp": stamp, "info": info, "arrays": table, "bytes": offset}).encode()
    lead = _MAGIC + len(header).to_bytes(4, "little") + hashlib.sha256(header).digest() + header
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with publish(path, durable=False) as temporary, temporary.open("wb") as file:
            file.write(lead + bytes(-len(lead) % _PAGE))
            for block in blocks.values():
                file.write(block.data)
                file.write(bytes(-block.nbytes % _PAGE))
    except OSError:
        return False
    return True


def read_sidecar(path: Path, stamp: list[int]) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
    """``(info, arrays)`` mapped read-only, or None when the copy is absent, damaged or of another state of the source."""
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError):
        return None
    head = bytes(raw[:44])
    size = int.from_bytes(head[8:12], "little")
    header = bytes(raw[44 : 44 + size]) if size <= _MAX_HEADER else b""
    if head[:8] != _MAGIC or hashlib.sha256(header).digest() != head[12:]:
        return None
    facts = json.loads(header)
    start = -(-(44 + size) // _PAGE) * _PAGE
    if facts["stamp"] != stamp or raw.size != start + facts["bytes"]:
        return None
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, kind, shape, offset, wanted in facts["arrays"]:
        nbytes = 8 * int(np.prod(shape, dtype=np.int64))
        block = np.asarray(raw[start + offset : start + offset + nbytes]).view(kind).reshape(shape)
        if digest(block) != wanted:
            return None
        arrays[name] = block
    return facts["info"], arrays
