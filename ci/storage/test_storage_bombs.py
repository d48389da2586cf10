"""``data import`` refuses what would unpack to more than its cap, and Ctrl-C leaves the folder as it was."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest
from kline_sources import NAME, ROWS, csv, klines, put, zipped

from dolphin.errors import MalformedFile
from dolphin.storage import bounded, importers
from dolphin.storage.importers import import_klines


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "BTCUSDT-1m.zip", {"BTCUSDT-1m-2024-01-02.csv": "0" * (8 << 20)})
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("a member was unpacked"))
    with pytest.raises(MalformedFile, match=r"member BTCUSDT-1m-2024-01-02.csv unpacks .* bytes to 8388608"):
        import_klines([path], tmp_path / "out")
    monkeypatch.setattr(importers, "parse", lambda p, *_: bounded.unpack(p, cap=1 << 20))
    with pytest.raises(MalformedFile, match="holds 8388608 bytes, the cap is 1048576"):
        import_klines([path], tmp_path / "out")


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "BTCUSDT-1m.zip", {NAME: csv(ROWS)})
    size = len(csv(ROWS)).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (50).to_bytes(4, "little")))
    with pytest.raises(MalformedFile, match="cannot be unpacked"):
        import_klines([path], tmp_path / "out")


@pytest.mark.parametrize("lie", [False, True])
def test_a_gzip_bomb_is_refused(tmp_path: Path, lie: bool) -> None:
    data = bytearray(gzip.compress(b"0" * (64 << 20)))
    if lie:
        data[-4:] = (100).to_bytes(4, "little")
    path = tmp_path / "BTCUSDT-1m.csv.gz"
    path.write_bytes(data)
    cap = (1 << 30) if lie else (32 << 20)
    with pytest.raises(MalformedFile, match=r"unpacks .* bytes to more than|holds 67108864 bytes, the cap is"):
        next(bounded.unpack(path, cap))


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_feather_bomb_is_refused_by_its_buffers(tmp_path: Path, compression: str) -> None:
    sink = io.BytesIO()
    table = pa.table({"date": np.zeros(2_000_000), "text": pa.array(["a", "b"] * 1_000_000).dictionary_encode()})
    pa.feather.write_feather(table, sink, compression=compression)
    data = sink.getvalue()
    assert len(data) < 1 << 20
    bounded.check_arrow_ipc(data, tmp_path / "x.feather", cap=64 << 20)
    with pytest.raises(MalformedFile, match=r"x.feather: holds 2\d{7} bytes, the cap is 20000000"):
        bounded.check_arrow_ipc(data, tmp_path / "x.feather", cap=20_000_000)


def test_ctrl_c_in_the_middle_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    import_klines([put(tmp_path / "a", "csv", klines(60))], out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    real, calls = importers.write_rows, []

    def write_rows(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt("stopped")
        real(*arguments)

    monkeypatch.setattr(importers, "write_rows", write_rows)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        import_klines([put(tmp_path / "b", "csv", [*klines(60), *klines(3000)[60:]])], out, merge=True)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
