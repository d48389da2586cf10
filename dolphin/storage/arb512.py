"""512-bit audit matrices: ``matrices/YYYY-MM-DD/scan_NNNNNN_w50_HHMMSS.arb512.zst``.

A correlation matrix in ball arithmetic, every entry ``midpoint +- radius`` with both as exact dyadic numbers ``mantissa * 2**exponent``.
Container: MessagePack of (magic, version, n, precision, symbols, midpoints, radii) in one zstd frame with checksum and declared size;
the declared size is checked before anything is unpacked. python-flint is needed to compute with the balls, not to read the file.
A legacy ``*.pkl.zst`` is refused: a pickle runs code when it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from dolphin.errors import MalformedFile, MissingDependency, SchemaError
from dolphin.storage.publish import publish
from dolphin.storage.schema import clock

__all__ = ["BallMatrix", "from_flint", "matrix_path", "read_matrix", "to_flint", "write_matrix"]

type Dyadic = tuple[int, int]
"""(mantissa, exponent): the number mantissa * 2**exponent."""

_MAGIC, _VERSION = "dolphin-arb512", 1
_MAX_ASSETS = 1000
_MAX_BYTES = 512 << 20
_MAX_WINDOW = 1 << 27


@dataclass(frozen=True, slots=True)
class BallMatrix:
    """An n x n matrix of balls over ``symbols``, row by row: entry (i, j) is ``mid[i*n + j] +- rad[i*n + j]``, exactly."""

    symbols: tuple[str, ...]
    precision: int
    mid: tuple[Dyadic, ...]
    rad: tuple[Dyadic, ...]


class _Container(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    magic: str
    version: int
    n: int
    precision: int
    symbols: list[str]
    mid: list[tuple[bytes, int]]
    rad: list[tuple[bytes, int]]


def matrix_path(root: Path | str, date: str, number: int, ts_ms: int) -> Path:
    """Where the 50-bar matrix of scan ``number`` of day ``date``, bar CLOSE ``ts_ms``, lies below ``root`` (``correlation_arb512/``)."""
    time = clock(ts_ms).replace(":", "").ljust(6, "0")
    return Path(root) / "matrices" / date / f"scan_{number:06d}_w50_{time}.arb512.zst"


def write_matrix(path: Path | str, matrix: BallMatrix) -> None:
    """Publish ``matrix`` as ``path``. Raises ``SchemaError`` when its parts do not fit together."""
    path = Path(path)
    n = len(matrix.symbols)
    _check_shape(path, n, matrix.precision, len(matrix.mid), len(matrix.rad))
    mid, rad = ([(_to_bytes(m), e) for m, e in part] for part in (matrix.mid, matrix.rad))
    raw = msgspec.msgpack.encode(_Container(_MAGIC, _VERSION, n, matrix.precision, list(matrix.symbols), mid, rad))
    path.parent.mkdir(parents=True, exist_ok=True)
    with publish(path) as temporary:
        temporary.write_bytes(zstandard.ZstdCompressor(level=3, write_checksum=True, write_content_size=True).compress(raw))


def read_matrix(path: Path | str) -> BallMatrix:
    """Read one matrix. Raises ``MalformedFile`` or ``SchemaError``; nothing is unpacked beyond the declared and capped size."""
    path = Path(path)
    if path.name.endswith((".pkl", ".pkl.zst")):
        raise _pickle(path)
    raw = _unpack(path)
    if raw[:1] == b"\x80" and raw[1:2] <= b"\x05":
        raise _pickle(path)
    try:
        held = msgspec.msgpack.decode(raw, type=_Container)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        raise MalformedFile(f"is no audit matrix: {error}", path=path) from error
    if held.magic != _MAGIC or held.version != _VERSION:
        raise SchemaError(f"is {held.magic[:40]!r} version {held.version}, not {_MAGIC!r} version {_VERSION}", path=path)
    if held.n != len(held.symbols):
        raise SchemaError(f"declares {held.n} assets and names {len(held.symbols)}", path=path)
    _check_shape(path, held.n, held.precision, len(held.mid), len(held.rad))
    mid, rad = (tuple((int.from_bytes(m, "big", signed=True), e) for m, e in part) for part in (held.mid, held.rad))
    if any(m < 0 for m, _ in rad):
        raise SchemaError("a radius is negative", path=path)
    return BallMatrix(tuple(held.symbols), held.precision, mid, rad)


def from_flint(symbols: tuple[str, ...], matrix: Any, precision: int = 512) -> BallMatrix:
    """The exact content of a finite ``flint.arb_mat`` (n x n). Raises ``SchemaError`` when an entry is not finite."""
    n = len(symbols)
    if (matrix.nrows(), matrix.ncols()) != (n, n):
        raise SchemaError(f"the matrix is {matrix.nrows()} x {matrix.ncols()} for {n} symbols")
    entries = [matrix[i, j] for i in range(n) for j in range(n)]
    if not all(entry.is_finite() for entry in entries):
        raise SchemaError("an entry of the matrix is not finite")
    mid, rad = (tuple((int(m), int(e)) for m, e in (part.man_exp() for part in parts)) for parts in _parts(entries))
    return BallMatrix(symbols, precision, mid, rad)


def to_flint(matrix: BallMatrix) -> Any:
    """``flint.arb_mat`` with exactly these balls, whatever the working precision. Raises ``MissingDependency`` without python-flint."""
    try:
        import flint
    except ImportError as error:
        raise MissingDependency("python-flint is not installed: pip install 'dolphin-nautilus[audit]'") from error
    n = len(matrix.symbols)
    balls = [_ball(flint.arb, mid, rad) for mid, rad in zip(matrix.mid, matrix.rad, strict=True)]
    return flint.arb_mat(n, n, balls)


def _ball(arb: Any, mid: Dyadic, rad: Dyadic) -> Any:
    """python-flint rounds a radius that it is given up, even one that fits its 30 bits: offer it one unit less, keep what is exact."""
    ball = arb(mid, rad)
    mantissa, exponent = rad
    shift = 30 - mantissa.bit_length()
    if ball.rad() != arb(rad) and shift >= 0:
        less = arb(mid, arb(((mantissa << shift) - 1, exponent - shift)))
        return less if less.rad() == arb(rad) else ball
    return ball


def _parts(entries: list[Any]) -> tuple[list[Any], list[Any]]:
    return [entry.mid() for entry in entries], [entry.rad() for entry in entries]


def _to_bytes(mantissa: int) -> bytes:
    return mantissa.to_bytes(mantissa.bit_length() // 8 + 1, "big", signed=True)


def _check_shape(path: Path, n: int, precision: int, mids: int, rads: int) -> None:
    if not 1 <= n <= _MAX_ASSETS or not 53 <= precision <= 1 << 16 or mids != n * n or rads != n * n:
        raise SchemaError(f"{mids} midpoints and {rads} radii of {precision} bits are no matrix of {n} assets", path=path)


def _pickle(path: Path) -> MalformedFile:
    hint = "write the matrix anew with `dolphin data audit`; convert old ones only where you trust their origin"
    return MalformedFile("is a legacy pickle, and a pickle runs code when it is read: refused", path=path, hint=hint)


def _unpack(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        declared = zstandard.frame_content_size(data)
        if declared < 0:
            raise MalformedFile("its zstd frame declares no size", path=path, hint="that may be a bomb")
        if declared > _MAX_BYTES:
            raise MalformedFile(f"declares {declared} bytes after unpacking, the cap is {_MAX_BYTES}", path=path, hint="that is a bomb")
        return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompress(data, allow_extra_data=False)
    except (OSError, zstandard.ZstdError) as error:
        raise MalformedFile(f"is no readable zstd file: {error}", path=path) from error
