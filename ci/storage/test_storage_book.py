"""Recorded order books on disk: round trip, publishing, damage, and the provider that reads them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolphin.book.day import BookDay, first_ms
from dolphin.book.provider import TableOrderBook
from dolphin.errors import DataError, MalformedFile, QualityError, SchemaError
from dolphin.storage import book_file
from dolphin.storage.book_file import RecordedOrderBook, read_book_day, write_book_day
from dolphin.types import BOOK_FEATURES

DATE = "2025-01-01"
SYMBOLS = ("SOLUSDT", "BTCUSDT", "ETHUSDT")


def book_day(date: str = DATE, samples: int = 40, seed: int = 0) -> BookDay:
    rng = np.random.default_rng(seed)
    ts = first_ms(date) + 60_000 * np.arange(1, samples + 1, dtype=np.int64)
    features = rng.uniform(0.06, 0.94, (samples, len(SYMBOLS), len(BOOK_FEATURES)))
    features[rng.random((samples, len(SYMBOLS))) < 0.2, 3] = np.nan
    snapshots = ts[:, None] - rng.integers(0, 500, (samples, len(SYMBOLS)))
    gone = rng.random(snapshots.shape) < 0.1
    gone[5] = False
    snapshots[gone], features[gone] = 0, np.nan
    return BookDay(date, 60_000, SYMBOLS, ts, snapshots, features, "test venue")


def assert_same(a: BookDay, b: BookDay) -> None:
    for name in ("date", "sample_ms", "symbols", "source"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("ts", "snapshot_ts", "features"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_a_day_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """Symbols in their order, holes as holes, arrays read-only, no temporary file left, the file the same every time."""
    day = book_day()
    path = write_book_day(tmp_path / "books", day)
    again = read_book_day(path)
    assert_same(again, day)
    assert not again.features.flags.writeable
    assert [p.name for p in path.parent.iterdir()] == [f"{DATE}.parquet"]
    first = path.read_bytes()
    assert write_book_day(tmp_path / "books", again).read_bytes() == first


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary file, fsync, rename: readers see the old day or the new one."""
    path = write_book_day(tmp_path, book_day())
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(book_file, "write_parquet", fail)
    with pytest.raises(OSError, match="disk full"):
        write_book_day(tmp_path, book_day(seed=1))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("step", [211])
def test_damage_anywhere_is_found_or_harmless(tmp_path: Path, step: int) -> None:
    """One flipped bit: refused with the file named, or the same day."""
    day = book_day()
    path = write_book_day(tmp_path, day)
    clean = path.read_bytes()
    refused: list[str] = []
    for at in range(0, len(clean), step):
        broken = bytearray(clean)
        broken[at] ^= 1 << (at % 8)
        path.write_bytes(broken)
        try:
            assert_same(read_book_day(path), day)
        except DataError as error:
            refused.append(str(error))
    assert all(DATE in message for message in refused)
    assert len(refused) > 0.8 * len(clean) / step
    for stop in (0, 3, len(clean) // 2, len(clean) - 1):
        path.write_bytes(clean[:stop])
        with pytest.raises(MalformedFile, match=DATE):
            read_book_day(path)


def rewrite(path: Path, change: object = None, **metadata: str) -> None:
    """Spoil a file the way a foreign program would: other rows or metadata, valid parquet."""
    table = pq.read_table(path)
    facts = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()} | metadata
    table = change(table) if callable(change) else table
    pq.write_table(table.replace_schema_metadata(facts), path)


def test_a_later_or_edited_row_is_found_by_the_digest(tmp_path: Path) -> None:
    """Changed values, dropped rows, another source or another day's name do not pass as the recording."""
    path = write_book_day(tmp_path, book_day())
    clean = path.read_bytes()

    def edit(table: pa.Table) -> pa.Table:
        values = table["imbalance"].to_numpy().copy()
        values[3] += 1e-12
        return table.set_column(table.schema.get_field_index("imbalance"), "imbalance", pa.array(values))

    for change, facts in ((edit, {}), (lambda t: t.slice(1), {}), (None, {"source": "other"}), (None, {"digest": "0" * 32})):
        path.write_bytes(clean)
        rewrite(path, change, **facts)
        with pytest.raises(MalformedFile, match="not those that were written"):
            read_book_day(path)
    moved = path.with_name("2025-01-02.parquet")
    moved.write_bytes(clean)
    with pytest.raises(MalformedFile, match="not those that were written"):
        read_book_day(moved)


@pytest.mark.parametrize(
    ("change", "facts", "error", "why"),
    [
        (None, {"format": "other/1"}, MalformedFile, "not a recording of order books"),
        (None, {"symbols": "["}, MalformedFile, "the metadata is damaged"),
        (None, {"symbols": '["BTCUSDT"]'}, SchemaError, "column symbol, row 1: is not among the day's symbols"),
        (None, {"symbols": '["BTC USD"]'}, SchemaError, "not distinct names"),
        (lambda t: t.drop_columns(["mid"]), {}, SchemaError, "column mid: the column is missing"),
        (lambda t: t.slice(0, 0), {}, QualityError, "no rows"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, change: object, facts: dict[str, str], error: type[DataError], why: str) -> None:
    """With file, column and row named."""
    path = write_book_day(tmp_path, book_day())
    rewrite(path, change, **facts)
    with pytest.raises(error, match=why):
        read_book_day(path)


def test_what_would_be_refused_is_not_written(tmp_path: Path) -> None:
    """A look ahead, no snapshot at all, symbols that are none."""
    day = book_day()
    ahead = replace(day, snapshot_ts=np.where(day.snapshot_ts > 0, day.snapshot_ts + 1_000, 0))
    empty = replace(day, snapshot_ts=np.zeros_like(day.snapshot_ts), features=np.full_like(day.features, np.nan))
    with pytest.raises(QualityError, match="a look ahead"):
        write_book_day(tmp_path, ahead)
    with pytest.raises(QualityError, match="no snapshot"):
        write_book_day(tmp_path, empty)
    with pytest.raises(SchemaError, match="not distinct names"):
        write_book_day(tmp_path, replace(day, symbols=("BTCUSDT", "BTCUSDT", "ETHUSDT")))
    assert not list(tmp_path.iterdir())


def test_the_provider_of_files_answers_like_the_days_themselves(tmp_path: Path) -> None:
    """Days without a file are named and unknown; a damaged one stops the run before it starts."""
    days = [book_day(), book_day("2025-01-03", seed=2)]
    for day in days:
        write_book_day(tmp_path, day)
    recorded = RecordedOrderBook(tmp_path, ["2025-01-01", "2025-01-02", "2025-01-03"])
    plain = TableOrderBook(days)
    assert recorded.missing == ("2025-01-02",)
    for ts in np.concatenate([day.ts for day in days]).tolist():
        for offset in (-1, 0, 1, 4_000):
            assert str(recorded.get_macro(ts + offset)) == str(plain.get_macro(ts + offset))
            for symbol in SYMBOLS:
                assert str(recorded.get_signal(symbol, ts + offset)) == str(plain.get_signal(symbol, ts + offset))
                assert recorded.get_placement(symbol, ts + offset) == plain.get_placement(symbol, ts + offset)
    assert recorded.get_macro(first_ms("2025-01-02") + 60_000 * 100) is None
    (tmp_path / "2025-01-02.parquet").write_bytes(b"PAR1")
    with pytest.raises(MalformedFile, match=r"2025-01-02\.parquet"):
        RecordedOrderBook(tmp_path, ["2025-01-01", "2025-01-02"])


def test_reading_needs_no_pandas(tmp_path: Path) -> None:
    """The file module stays as light as the day tables."""
    import subprocess

    write_book_day(tmp_path, book_day())
    code = f"import sys\nfrom dolphin.storage.book_file import RecordedOrderBook\nRecordedOrderBook({str(tmp_path)!r}, [{DATE!r}])\n"
    code += "print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
