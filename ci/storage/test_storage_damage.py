"""Damage: random flips and cuts of each of our formats give the same data or a ``DataError``, never other data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolphin.errors import DataError
from dolphin.storage.arb512 import BallMatrix, read_matrix, write_matrix
from dolphin.storage.archive import INDICATORS, SCAN_GLOBAL, ScanDay, read_members, scan_path, write_scans
from dolphin.storage.day_table import DayMetadata, DayTable, read_day, write_day
from dolphin.storage.klines import KlineBars, KlineDay, KlineStore, write_klines
from dolphin.storage.schema import day_start
from dolphin.storage.sidecar import sidecar_path

DATE = "2021-04-02"
LOUD = ("loaded with a warning",)


def day_facts(table: DayTable) -> tuple[Any, ...]:
    """Everything that a reader acts on, or that the reader was warned: a table that lost its metadata is loaded as a foreign one."""
    if table.metadata == DayMetadata() and not table.complete and "not marked complete" in table.warnings[-1]:
        return LOUD
    arrays = [table.ts, table.scan_number, table.closes, *table.signals.values()]
    blocks = tuple((a.dtype.str, a.shape, a.tobytes()) for a in arrays if a is not None)
    return (table.date, table.bar_seconds, table.assets, table.metadata, table.complete, tuple(table.signals), blocks)


def kline_facts(day: KlineDay) -> tuple[Any, ...]:
    return (day.bar_seconds, day.symbols, day.ts.tobytes(), day.closes.tobytes(), day.quality.counts, day.quality.gaps)


def _klines(folder: Path) -> Path:
    rng = np.random.default_rng(2)
    closes = 100 * np.exp(np.cumsum(rng.standard_normal((300, 3)) * 1e-3, axis=0))
    closes[50, 1] = np.nan
    times = day_start(DATE) + 60_000 * np.arange(300)
    return write_klines(folder, KlineBars(DATE, 60, times, ("AAUSDT", "BBUSDT", "CCUSDT"), *[closes] * 4, closes))


def _scan(folder: Path, kind: str) -> Path:
    day = ScanDay(DATE, np.array([7]), np.array([day_start(DATE) + 60_000]), np.arange(10.0)[None], np.arange(4.0)[None])
    write_scans(folder, day)
    return scan_path(folder, DATE, 7, kind)


def _matrix(folder: Path) -> Path:
    mid = tuple((3**300 * (i - 7), -512) for i in range(16))
    path = folder / "scan_000007_w50_000100.arb512.zst"
    write_matrix(path, BallMatrix(tuple(f"A{i}USDT" for i in range(4)), 512, mid, tuple((i + 1, -520) for i in range(16))))
    return path


FORMATS: dict[str, tuple[Callable[[Path, Any], Path], Callable[[Path], Any]]] = {
    "klines": (lambda f, _: _klines(f), lambda p: kline_facts(KlineStore(p.parent).load(DATE))),
    "day": (lambda f, table: write_day(f, table, sidecar=False), lambda p: day_facts(read_day(p, sidecar=False))),
    "scan": (lambda f, _: _scan(f, "scan_global"), read_members),
    "indicators": (lambda f, _: _scan(f, "Indicators"), read_members),
    "matrix": (lambda f, _: _matrix(f), read_matrix),
}

damage = st.one_of(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4),
    st.lists(st.tuples(st.floats(0.98, 1), st.integers(1, 255)), min_size=1, max_size=2),
    st.floats(0, 0.999),
)


def spoil(data: bytes, how: list[tuple[float, int]] | float) -> bytes:
    """Cut at a share of the length, or flip bits at such places."""
    if isinstance(how, float):
        return data[: int(len(data) * how)]
    spoilt = bytearray(data)
    for place, mask in how:
        spoilt[min(int(place * len(data)), len(data) - 1)] ^= mask
    return bytes(spoilt)


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_never_silently_other_data(tmp_path: Path, day_table: Callable[..., DayTable], name: str) -> None:
    make, read = FORMATS[name]
    path = make(tmp_path, day_table(rows=300))
    data, whole = path.read_bytes(), read(path)
    refused = 0

    @settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(how=damage)
    def check(how: list[tuple[float, int]] | float) -> None:
        nonlocal refused
        path.write_bytes(spoil(data, how))
        try:
            found = read(path)
        except DataError:
            refused += 1
        else:
            assert found in (whole, LOUD)

    check()
    assert refused > 100, "most damage is seen"


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(how=damage)
def test_a_damaged_working_copy_is_renewed_silently(tmp_path: Path, day_table: Callable[..., DayTable], how: Any) -> None:
    """Flips and cuts of a sidecar are found by its digests; the parquet file answers instead."""
    path = tmp_path / f"{DATE}.parquet"
    if not path.exists():
        write_day(tmp_path, day_table(rows=60))
    copy = sidecar_path(path)
    whole = day_facts(read_day(path, sidecar=False))
    data = copy.read_bytes()
    copy.unlink()
    copy.write_bytes(spoil(data, how))
    assert day_facts(read_day(path)) == whole
    assert day_facts(read_day(path)) == whole


def test_each_bit_of_a_day_footer_counts(tmp_path: Path, day_table: Callable[..., DayTable]) -> None:
    """Page checksums do not cover the footer; the digest does: one flip in every third of its bytes."""
    path = write_day(tmp_path, day_table(rows=20), sidecar=False)
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    whole = day_facts(read_day(path, sidecar=False))
    rng = np.random.default_rng(0)
    for at in range(len(data) - 8 - size, len(data), 3):
        spoilt = bytearray(data)
        spoilt[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(spoilt))
        try:
            found = read_day(path, sidecar=False)
        except DataError:
            continue
        assert day_facts(found) in (whole, LOUD), at


def test_the_values_of_both_small_archives_are_all_named() -> None:
    assert len(SCAN_GLOBAL) == 10
    assert INDICATORS == ("funding_btc", "dvol_btc", "fng", "taker")
