"""Laws of the whole stack: it reads no later day, neutral layers change nothing, and what a date lacks or a file garbles is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from oracle_stack import VerdictTable
from stack_days import DATES, POSTURES, VERDICTS, StackDays, write_stack_days

from dolphin import NDAlphaEngine
from dolphin.config import Settings
from dolphin.engine.records import table_rows
from dolphin.engine.schedule import PostureSchedule
from dolphin.errors import QualityError
from dolphin.storage.day_table import read_day
from dolphin.storage.schema import day_start
from flows.layers import Layers
from flows.stack import Sources, full_stack

SETTINGS = Settings()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Day tables, books and series of eight days."""
    return write_stack_days(tmp_path_factory.mktemp("laws"))


def tables_of(files):
    return [read_day(path, sidecar=False) for path in files.paths]


def run(layers, tables, direction=-1):
    engine = layers.engine(SETTINGS.engine)
    for table in tables:
        layers.run_day(engine, table.date, table_rows(table), direction)
    return engine


def whole_stack(files, direction):
    """An engine that has run the days of ``files`` with every layer."""
    tables = tables_of(files)
    layers = full_stack(SETTINGS, tables, files.paths, direction, Sources(book=files.book, macro=files.macro))
    layers = replace(layers, forewarner=VerdictTable(VERDICTS)).replaying(PostureSchedule(tuple(POSTURES)))
    return run(layers, tables, direction)


def until(files, n, root):
    """The files as they were at the start of the last of the first ``n`` days, but for that day's own bars, books and scans."""
    (root / "book").mkdir()
    (root / "macro").mkdir()
    (root / "macro" / "eigenvalues").mkdir()
    for date in DATES[:n]:
        if (files.macro / "eigenvalues" / date).exists():
            (root / "macro" / "eigenvalues" / date).symlink_to(files.macro / "eigenvalues" / date)
        if (files.book / f"{date}.parquet").exists():
            (root / "book" / f"{date}.parquet").symlink_to(files.book / f"{date}.parquet")
    for path in files.macro.glob("*.csv"):
        head, *lines = path.read_text().splitlines()
        stamps = [line.split(",")[0] for line in lines]
        times = [day_start(stamp) if "-" in stamp else int(stamp) for stamp in stamps]
        past = [line for line, ts in zip(lines, times, strict=True) if ts <= day_start(DATES[n - 1])]
        (root / "macro" / path.name).write_text("\n".join([head, *past]) + "\n")
    return StackDays(files.paths[:n], root / "book", root / "macro")


@pytest.mark.parametrize("direction", [-1, 1])
def test_later_days_change_no_earlier_trade(files, tmp_path, direction):
    """Tables, books, series and the universe cut off after each day: thresholds, boosts, OB-4 and every trade until then are the same."""
    trades = whole_stack(files, direction).trades
    assert {t["date"] for t in trades} >= {DATES[0], DATES[-1]}
    for n in range(1, len(DATES)):
        (tmp_path / str(n)).mkdir()
        short = whole_stack(until(files, n, tmp_path / str(n)), direction)
        assert short.trades == [t for t in trades if t["date"] <= DATES[n - 1]], DATES[n - 1]


class Neutral:
    """A breaker that never sees stress."""

    def get_dynamic_boost_for_date(self, date, ob_engine):
        return {"boost": 1.0, "beta": 0.0}


@pytest.mark.parametrize("book", [False, True], ids=["without book", "with book"])
def test_boost_1_and_beta_0_are_exactly_the_plain_run(files, book):
    """Trades and the whole state, random stream included; set in mid-day on every bar, too."""
    tables = tables_of(files)[:4]
    layers = full_stack(SETTINGS, tables, files.paths[:4], -1, Sources(book=files.book if book else None)).replaying(PostureSchedule())
    plain, neutral = run(replace(layers, breaker=None), tables), run(replace(layers, breaker=Neutral()), tables)
    assert neutral.trades == plain.trades
    assert neutral.snapshot() == plain.snapshot()
    by_bar = replace(layers, breaker=None).engine(SETTINGS.engine)
    for table in tables:
        by_bar.begin_day(table.date)
        by_bar.set_universe(table.assets)
        rows = table_rows(table)
        for i in range(len(rows.vel_div)):
            by_bar.update_acb_boost(1.0, 0.0)
            by_bar.process_row(rows.closes[i], rows.vel_div[i], rows.v50[i], rows.v750[i], rows.ts_ms[i])
        by_bar.end_day()
    assert by_bar.trades == plain.trades
    assert len(plain.trades) > 20


def test_layers_taken_off_leave_the_plain_engine(files):
    """``Layers()`` is the bare engine bit for bit, and so are full layers with every one of them removed."""
    tables = tables_of(files)
    bare = NDAlphaEngine(SETTINGS.engine)
    for table in tables:
        bare.process_rows(table.date, table_rows(table))
    removed = full_stack(SETTINGS, tables, files.paths, -1, Sources(book=files.book, macro=files.macro)).engine(SETTINGS.engine)
    removed.set_ob_engine(None)
    removed.set_acb(None)
    for table in tables:
        removed.process_rows(table.date, table_rows(table))
    assert run(Layers(), tables).snapshot() == removed.snapshot() == bare.snapshot()
    assert removed.trades == bare.trades
    assert whole_stack(files, -1).trades != bare.trades


def test_what_a_date_lacks_is_said(files):
    """A hole and an empty cell of DVOL, an archived day without taker, a day without a book: named by the day on which they are missed."""
    layers = full_stack(SETTINGS, tables_of(files), files.paths, -1, Sources(book=files.book, macro=files.macro))
    days = ("dvol_btc: no value for 2025-01-03", "dvol_btc: no value for 2025-01-05", "taker: no value for 2025-01-04")
    assert layers.notes == (*days, "2025-01-05: no order book")
    lacks = ("macro_missing", "book_missing", "forewarner_missing")
    assert layers.flags == ("posture_without_forewarner", "posture_without_dvol", *lacks)
    assert layers.replaying(PostureSchedule()).flags == lacks


@pytest.mark.parametrize(
    ("name", "garble", "message"),
    [
        ("funding_btc", lambda v: v * 100, "that is percent"),
        ("dvol_btc", lambda v: v / 100, "multiply by 100"),
        ("fng", lambda v: v / 100, "multiply by 100"),
        ("taker", lambda v: v * 100, "divide by 100"),
        ("taker", lambda v: v / (1 + v), "buyers' share"),
    ],
)
def test_series_in_other_units_stop_the_run_before_its_first_day(files, tmp_path, name, garble, message):
    """Percent for fraction and the like, with the hint; the other series being good changes nothing."""
    for path in files.macro.glob("*.csv"):
        head, *lines = path.read_text().splitlines()
        cells = [line.split(",") for line in lines]
        if path.stem == name:
            cells = [[ts, repr(garble(float(v))) if v else ""] for ts, v in cells]
        (tmp_path / path.name).write_text("\n".join([head, *map(",".join, cells)]) + "\n")
    with pytest.raises(QualityError, match=message) as refused:
        full_stack(SETTINGS, tables_of(files), files.paths, -1, Sources(macro=tmp_path))
    assert f"{name}.csv" in str(refused.value)
