"""Parquet behind one door: size caps before decompression, page checksums, and Arrow's many errors as one ``MalformedFile``.

Our own files are one row group of zstd level 1, floats as BYTE_STREAM_SPLIT without a dictionary (half the size and a third of the
read time of pyarrow's defaults on prices), every page with a checksum. pyarrow is imported on first use: it costs 0.15 s that a
command which reads only working copies must not pay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolphin.errors import DataError, MalformedFile, QualityError, SchemaError

__all__ = ["MAX_BYTES", "MAX_CELLS", "Parquet", "preload", "refusing", "release_memory", "write_parquet"]

MAX_CELLS = 400_000_000
"""Rows times columns read of one file: more is a bomb or not a day."""

MAX_BYTES = 4 << 30
"""Bytes after decompression that the footer of one file declares."""


@contextmanager
def refusing(path: Path | str) -> Iterator[None]:
    """Turn what pyarrow and the system raise on a bad file into ``MalformedFile`` that names it."""
    import pyarrow as pa

    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise MalformedFile("there is no such file", path=path) from error
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise MalformedFile(f"cannot be read: {reason}", path=path, hint="fetch or rebuild the file") from error


def preload() -> None:
    """Import pyarrow now. A process that runs for weeks shall learn at its start, not at midnight, whether it can read a day table."""
    import pyarrow.parquet  # noqa: F401  the import is the work


class Parquet:
    """An open parquet file whose columns are read as numpy arrays.

    Raises ``MalformedFile`` for what is not parquet or over the caps, ``SchemaError`` for duplicate, missing or mistyped columns.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with refusing(self.path):
            import pyarrow.parquet as pq

            self._file = pq.ParquetFile(self.path, page_checksum_verification=True)
            schema = self._file.schema_arrow
            self.names: tuple[str, ...] = tuple(schema.names)
            self._types = dict(zip(self.names, schema.types, strict=True))
            self.rows: int = self._file.metadata.num_rows
            raw = schema.metadata or {}
            self.metadata = {k.decode(): v.decode() for k, v in raw.items() if k not in (b"pandas", b"ARROW:schema")}
        twice = sorted({name for name in self.names if self.names.count(name) > 1}) if len(self._types) < len(self.names) else []
        if twice:
            raise SchemaError("the column comes twice", path=self.path, column=twice[0])
        if self.rows <= 0:
            raise QualityError("the file has no rows", path=self.path)

    def require(self, names: Sequence[str], kinds: Mapping[str, str]) -> None:
        """Check that the columns exist and are of their kind: ``int64``, ``float`` (32 or 64 bits), ``number`` (any) or ``string``."""
        for name in names:
            if name not in self._types:
                raise SchemaError("the column is missing", path=self.path, column=name, hint=f"found {', '.join(self.names[:12])}")
            kind = kinds[name]
            if not _is_kind(self._types[name], kind):
                raise SchemaError(f"is {self._types[name]} but must be {kind}", path=self.path, column=name)

    def read(self, names: Sequence[str]) -> Any:
        """The named columns as an Arrow table, after the caps."""
        self._check_caps(names)
        with refusing(self.path):
            table = self._file.read(columns=list(names))
            if table.num_rows != self.rows:
                raise MalformedFile(f"holds {table.num_rows} rows, its footer says {self.rows}", path=self.path)
            return table

    def numbers(self, table: Any, name: str) -> npt.NDArray[Any]:
        """A numeric column; a null is NaN in a float column and a ``QualityError`` in an integer one."""
        with refusing(self.path):
            column = table[name]
            if column.null_count and _is_kind(column.type, "float"):
                column = column.fill_null(float("nan"))
            self._refuse_null(column, name)
            parts = [np.from_dlpack(chunk) for chunk in column.chunks]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def texts(self, table: Any, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """A text column as ``(code of each row, names)``; dictionary-encoded or plain."""
        import pyarrow as pa

        with refusing(self.path):
            column = table[name]
            self._refuse_null(column, name)
            coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            array = coded.unify_dictionaries().combine_chunks()
            array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
            codes = np.from_dlpack(array.indices).astype(np.int32, copy=False)
            values = array.dictionary.to_pylist()
        if codes.min() < 0 or codes.max() >= len(values) or None in values:
            raise MalformedFile("a dictionary code points nowhere", path=self.path, column=name)
        return codes, values

    def __enter__(self) -> Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _refuse_null(self, column: Any, name: str) -> None:
        if column.null_count:
            raise QualityError("the value is null", path=self.path, column=name, row=column.is_null().to_pylist().index(True))

    def _check_caps(self, names: Sequence[str]) -> None:
        """By the row groups' totals: asking pyarrow for a column's metadata aborts the process when the footer is damaged."""
        with refusing(self.path):
            footer = self._file.metadata
            declared = sum(max(0, footer.row_group(i).total_byte_size) for i in range(footer.num_row_groups))
        if self.rows * len(names) > MAX_CELLS or declared > MAX_BYTES:
            why = f"declares {self.rows} rows and {declared} bytes after decompression"
            raise MalformedFile(why, path=self.path, hint=f"the caps are {MAX_CELLS} cells and {MAX_BYTES} bytes")


def release_memory() -> None:
    """Give back what Arrow keeps for its next read: 0.4 GB after a day of 400 assets at 5 s. Call when its arrays are gone."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def write_parquet(path: Path, columns: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write numpy columns (``float64``, ``int64``) or ``(codes, names)`` pairs of text to ``path``; publish it around this call."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays: dict[str, Any] = {}
    encodings: dict[str, str] = {}
    texts: list[str] = []
    for name, column in columns.items():
        if isinstance(column, tuple):
            codes = _numbers_to_arrow(column[0].astype(np.int32, copy=False), pa.int32())
            arrays[name] = pa.DictionaryArray.from_arrays(codes, _texts_to_arrow(column[1]))
            texts.append(name)
        else:
            arrays[name] = _numbers_to_arrow(column, pa.float64() if column.dtype.kind == "f" else pa.int64())
            encodings[name] = "BYTE_STREAM_SPLIT" if column.dtype.kind == "f" else "DELTA_BINARY_PACKED"
    table = pa.table(arrays).replace_schema_metadata(dict(metadata))
    pq.write_table(
        table, path, row_group_size=max(1, table.num_rows), compression="zstd", compression_level=1, use_dictionary=texts,
        column_encoding=encodings, write_statistics=False, write_page_checksum=True,
    )  # fmt: skip


def _numbers_to_arrow(column: Any, kind: Any) -> Any:
    """Through the buffer: ``pa.array`` would import pandas (0.8 s)."""
    import pyarrow as pa

    return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(np.ascontiguousarray(column))])


def _texts_to_arrow(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def _is_kind(kind: Any, wanted: str) -> bool:
    import pyarrow as pa

    if wanted == "int64":
        return bool(pa.types.is_int64(kind))
    if wanted == "number":
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
    if wanted == "float":
        return bool(pa.types.is_float32(kind) or pa.types.is_float64(kind))
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))
