"""Columns to and from parquet, through arrow buffers: ``pa.array``, ``pq.read_table`` and ``to_numpy`` would each import pandas (0.8 s)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolphin.errors import MalformedFile, SchemaError
from dolphin.report.inputs import Columns

__all__ = ["read_columns", "write_columns"]


def write_columns(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write int64, float64 and object (string) columns of one length; a float NaN stays NaN."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"i": pa.int64(), "f": pa.float64()}
    arrays = [
        _strings(column)
        if column.dtype.kind == "O"
        else pa.Array.from_buffers(kinds[column.dtype.kind], len(column), [None, _buffer(column)])
        for column in columns.values()
    ]
    text = [name for name, column in columns.items() if column.dtype.kind == "O"]
    split = {name: "BYTE_STREAM_SPLIT" for name, column in columns.items() if column.dtype.kind == "f"}
    table = pa.Table.from_arrays(arrays, names=list(columns))
    pq.write_table(table, path, compression="zstd", compression_level=1, use_dictionary=text, column_encoding=split)


def read_columns(path: Path, kinds: Mapping[str, str], default: str = "f") -> Columns:
    """Read every column; ``kinds`` names those that must be there as ``"i"`` int64, ``"f"`` float64 or ``"O"`` string.

    Others must be of kind ``default``. Raises ``MalformedFile`` for what is not parquet and ``SchemaError`` for a column that is
    missing, of another type or with nulls.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise MalformedFile(f"cannot be read as parquet ({str(error).splitlines()[0]})", path=path) from error
    for name in kinds:
        if table.column_names.count(name) != 1:
            raise SchemaError("column is missing or doubled", path=path, column=name)
    types = {"i": pa.int64(), "f": pa.float64(), "O": pa.string()}
    columns: Columns = {}
    for name in table.column_names:
        kind, column = kinds.get(name, default), table.column(name)
        if column.type != types[kind]:
            raise SchemaError(f"type {column.type}, expected {types[kind]}", path=path, column=name)
        if column.null_count:
            raise SchemaError("null values", path=path, column=name)
        columns[name] = np.array(column.to_pylist(), dtype=object) if kind == "O" else _numbers(column, kind)
    return columns


def _buffer(column: npt.NDArray[Any]) -> Any:
    import pyarrow as pa

    return pa.py_buffer(np.ascontiguousarray(column, dtype=f"{column.dtype.kind}8"))


def _strings(column: npt.NDArray[Any]) -> Any:
    import pyarrow as pa

    encoded = [str(value).encode() for value in column]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def _numbers(column: Any, kind: str) -> npt.NDArray[Any]:
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype=f"{kind}8", count=len(chunk), offset=8 * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=f"{kind}8")
