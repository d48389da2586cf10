"""A run's folder: written whole, read back equal, rebuilt to the byte, refused when damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report import fake

from dolphin.errors import MalformedFile, SchemaError
from dolphin.report import Run, build_run, read_run, rebuild, render_html, write_run
from dolphin.types import TRADE, TRADE_FIELDS


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    """The two-day run on disk."""
    write_run(tmp_path / "run", run, fake.publish)
    return tmp_path / "run"


def test_the_folder_holds_the_files_others_rely_on(folder: Path, run: Run):
    """trades.parquet with the trade fields, equity.parquet with ts_ms, champion, honest; nothing left over."""
    assert sorted(p.name for p in folder.iterdir()) == ["equity.parquet", "report.html", "series.parquet", "summary.json", "trades.parquet"]
    trades, equity = pq.read_table(folder / "trades.parquet"), pq.read_table(folder / "equity.parquet")
    assert trades.column_names == list(TRADE_FIELDS)
    assert trades.num_rows == run.summary["trades"]
    assert equity.column_names == ["ts_ms", "champion", "honest"]
    assert equity["honest"].to_numpy().tolist() == run.curves.honest.tolist()
    assert json.loads((folder / "summary.json").read_text()) == run.summary


def test_a_run_without_trades_keeps_the_column_types(tmp_path: Path):
    """Zero rows, but int64, float64 and string as ever."""
    bars = fake.market(days=1, assets=3)
    write_run(tmp_path, build_run(fake.context(bars), [], bars), fake.publish)
    schema = pq.read_schema(tmp_path / "trades.parquet")
    for name in TRADE_FIELDS:
        text = name in {"date", "asset", "dc", "reason", "mc_status", "posture"}
        assert schema.field(name).type == (pa.string() if text else pa.int64() if TRADE[name].kind == "i" else pa.float64()), name
    assert read_run(tmp_path).summary["trades"] == 0


def test_reading_gives_back_what_was_written(folder: Path, run: Run):
    """Bit for bit, NaN included."""
    back = read_run(folder)
    assert back.summary == run.summary
    for name in TRADE_FIELDS:
        assert np.array_equal(back.trades[name], run.trades[name]), name
    assert np.array_equal(back.bars.closes, run.bars.closes, equal_nan=True)
    assert np.array_equal(back.bars.vel_div, run.bars.vel_div, equal_nan=True)
    assert np.array_equal(back.bars.shares, run.bars.shares)
    assert back.bars.names == run.bars.names
    assert np.array_equal(back.curves.exposure, run.curves.exposure)


def test_rebuilding_gives_the_same_bytes(folder: Path, run: Run):
    """From the folder alone, and from the run in memory."""
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert rebuild(folder, fake.publish) == folder / "report.html"
    assert (folder / "report.html").read_bytes() == before == render_html(run).encode()


def test_a_day_table_without_shares_is_reported_too(tmp_path: Path):
    """Foreign tables carry velocities but no eigenvalues."""
    bars = fake.market(days=1, assets=4)
    bars = fake.Bars(ts_ms=bars.ts_ms, names=bars.names, closes=bars.closes, vel_div=bars.vel_div)
    write_run(tmp_path, build_run(fake.context(bars), fake.trades(bars)[0], bars), fake.publish)
    assert read_run(tmp_path).bars.shares is None


def test_an_interrupted_write_leaves_no_summary(run: Run, tmp_path: Path):
    """summary.json comes last: a folder that has one is complete."""

    @contextmanager
    def failing(path: Path) -> Iterator[Path]:
        if path.name == "report.html":
            raise KeyboardInterrupt("while writing")
        with fake.publish(path) as temporary:
            yield temporary

    with pytest.raises(KeyboardInterrupt, match="while writing"):
        write_run(tmp_path, run, failing)
    with pytest.raises(MalformedFile, match=r"summary.json: cannot be read .*is this the folder of a finished run"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["trades", "equity", "series"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "absent"])
def test_damaged_parquet_is_refused_by_name(folder: Path, name: str, damage: str):
    """Truncated, bit-flipped in its footer, or gone."""
    path = folder / f"{name}.parquet"
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(data if damage == "flipped" else data[: len(data) // 2])
    if damage == "absent":
        path.unlink()
    with pytest.raises(MalformedFile, match=f"{name}.parquet: cannot be read as parquet"):
        read_run(folder)


def test_wrong_columns_are_refused_by_name(folder: Path):
    """Missing, of another type, with nulls, times that disagree."""
    path = folder / "trades.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns("ars"), path)
    with pytest.raises(SchemaError, match=r"trades.parquet: column ars: column is missing"):
        read_run(folder)
    pq.write_table(table.set_column(0, "trade_id", pa.array(np.arange(table.num_rows, dtype=np.int32))), path)
    with pytest.raises(SchemaError, match=r"trades.parquet: column trade_id: type int32, expected int64"):
        read_run(folder)
    pq.write_table(table.set_column(2, "asset", pa.array([None] * table.num_rows, pa.string())), path)
    with pytest.raises(SchemaError, match=r"trades.parquet: column asset: null values"):
        read_run(folder)
    pq.write_table(table, path)
    series = pq.read_table(folder / "series.parquet")
    pq.write_table(series.slice(1), folder / "series.parquet")
    with pytest.raises(SchemaError, match=r"series.parquet: column ts_ms: times disagree"):
        read_run(folder)


@pytest.mark.parametrize(("text", "error"), [("{", MalformedFile), ("[]", SchemaError), ('{"schema": "other/9"}', SchemaError)])
def test_a_foreign_summary_is_refused(folder: Path, text: str, error: type[Exception]):
    """Not JSON, not an object, another schema."""
    (folder / "summary.json").write_text(text)
    with pytest.raises(error, match=r"summary.json"):
        read_run(folder)


def test_writing_and_reading_import_no_pandas(month_folder: Path, tmp_path: Path):
    """Start-up is a feature: no pandas ever, no pyarrow before a file is touched."""
    code = (
        "import sys; from pathlib import Path; from contextlib import contextmanager\n"
        "from dolphin.report import *\n"
        "assert not {'pandas', 'pyarrow', 'numba'} & set(sys.modules), 'heavy import'\n"
        "@contextmanager\n"
        "def publish(path): yield path\n"
        f"run = read_run(Path({str(month_folder)!r})); write_run(Path({str(tmp_path)!r}), run, publish); to_markdown(run.summary)\n"
        f"compare(run, read_run(Path({str(tmp_path)!r})))\n"
        "assert 'pandas' not in sys.modules, 'pandas'\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path)


def test_a_day_is_written_within_150_ms(tmp_path: Path):
    """Processor time, best of five, pyarrow loaded: 1,440 bars, a dozen traded assets, page included."""
    bars = fake.market(days=1, assets=12)
    trades, left_open = fake.trades(bars)
    context, took = fake.context(bars, left_open), []
    for _ in range(5):
        begin = time.process_time()
        write_run(tmp_path, build_run(context, trades, bars), fake.publish)
        took.append(time.process_time() - begin)
    assert min(took) < 0.150
