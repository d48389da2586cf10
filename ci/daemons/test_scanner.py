"""The scanner: what `dolphin data scan` gives, bar by bar, journal first, from wherever a restart came."""

from __future__ import annotations

import numpy as np
import pytest
from daemon_worlds import World
from lane_worlds import payloads, replay_of, run_out

import daemons.scanner
from daemons.scanner import ScannerService
from dolphin.config import Settings
from dolphin.errors import QualityError
from dolphin.grid.maps import FEATURES
from dolphin.storage.archive import read_scans
from dolphin.storage.day_table import list_days, read_day
from dolphin.storage.journal import Kind
from dolphin.storage.klines import KlineStore
from flows.scans import scan_klines

DAYS = ("2025-01-02", "2025-01-03")
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def batch(market, tmp_path_factory):
    """Day tables and archive by `dolphin data scan --archive`."""
    folder = tmp_path_factory.mktemp("batch")
    scan_klines(KlineStore(market), folder / "days", Settings(), *DAYS, archive=folder / "archive", track=lambda days, *_: days)
    return folder


def scanner_of(world_of, market, first=DAYS[0], last=DAYS[0], **given):
    world = world_of(replay=replay_of(market, first, last, **given))
    return world, world.start(ScannerService)


def same_files(state, batch, dates):
    """Tables by their bytes on disk, scans file by file."""
    for date in dates:
        assert (state.days / f"{date}.parquet").read_bytes() == (batch / "days" / f"{date}.parquet").read_bytes()
        ours, theirs = (root / "eigenvalues" / date for root in (state.archive, batch / "archive"))
        assert [p.name for p in sorted(ours.iterdir())] == [p.name for p in sorted(theirs.iterdir())]
        assert all((theirs / p.name).read_bytes() == p.read_bytes() for p in ours.iterdir())


def test_tables_and_archive_are_those_of_a_batch_scan_byte_for_byte(calm, batch):
    same_files(calm.state, batch, DAYS)
    assert not list_days(calm.state.days, partial=True)


def test_the_journal_holds_every_bar_once_with_the_tables_numbers(calm):
    scanner = next(r.service for r in calm.runners if r.service.name == "scanner")
    for date in DAYS:
        table = read_day(calm.state.days / f"{date}.parquet", sidecar=False)
        scans = [(ts, p) for kind, ts, p in payloads(scanner) if kind == Kind.SCAN and p["date"] == date]
        assert [ts for ts, _ in scans] == table.ts.tolist()
        assert [p["bar"] for _, p in scans] == list(range(len(table.ts)))
        told = np.array([[np.nan if v is None else v for v in (p["vel_div"], *p["closes"])] for _, p in scans])
        np.testing.assert_array_equal(told, np.column_stack([table.signals["vel_div"], table.closes]))
    assert [p["date"] for kind, _, p in payloads(scanner) if kind == Kind.DAY_TABLE] == list(DAYS)


def test_a_bar_is_not_known_before_its_close(world_of, market):
    world, scanner = scanner_of(world_of, market, speed=60.0)
    world.run(9.5)
    closes = [ts for kind, ts, _ in payloads(scanner) if kind == Kind.SCAN]
    assert closes == [world.replay.start_ms + k * 60_000 for k in range(1, 10)]
    assert world.grid.get(FEATURES, "scan_latest")["close_ms"] == closes[-1]


@pytest.mark.parametrize(("seconds", "killed"), [(0.0, True), (0.05, True), (0.5, False), (0.9, True), (1.35, False), (1.7, True)])
def test_a_restart_at_any_bar_goes_on_with_the_same_bits(world_of, market, calm, batch, monkeypatch, seconds, killed):
    """Records as without a restart; then the files, too."""
    monkeypatch.setattr(daemons.scanner, "SAVE_S", 0.5)
    world, scanner = scanner_of(world_of, market)
    world.run(seconds)
    world.end(scanner, killed=killed)
    again = world.start(ScannerService)
    run_out(world)
    undisturbed = next(r.service for r in calm.runners if r.service.name == "scanner")
    day = [record for record in payloads(undisturbed) if record[2].get("date", DAYS[0]) == DAYS[0]]
    assert payloads(again) == day
    same_files(world.state, batch, DAYS[:1])


def test_a_day_in_progress_is_a_partial_table(world_of, market):
    world, scanner = scanner_of(world_of, market, speed=600.0)
    world.run(10)
    bars = [ts for kind, ts, _ in payloads(scanner) if kind == Kind.SCAN]
    world.end(scanner)
    partial = read_day(list_days(world.state.days, partial=True)[0], sidecar=False)
    assert not partial.complete
    assert 95 < len(bars) <= 100
    assert partial.ts.tolist() == read_scans(world.state.archive, DAYS[0]).ts_ms.tolist() == bars


def test_a_crash_between_the_table_and_its_record_repeats_the_table_only(world_of, market, calm, batch):
    world, scanner = scanner_of(world_of, market)
    append = scanner.context.journal.append_many

    def crash(entries):
        if entries[0].kind is Kind.DAY_TABLE:
            raise SystemError("pulled the plug")
        return append(entries)

    scanner.context.journal.append_many = crash
    with pytest.raises(SystemError, match="plug"):
        run_out(world)
    assert list_days(world.state.days)
    world.end(scanner, killed=True)
    again = world.start(ScannerService)
    run_out(world)
    assert [kind for kind, _, _ in payloads(again)].count(Kind.DAY_TABLE) == 1
    same_files(world.state, batch, DAYS[:1])


def test_the_newest_scan_goes_to_the_grid_without_closes_and_again_when_it_was_away(world_of, market):
    world, scanner = scanner_of(world_of, market, speed=60.0)
    world.run(5)
    world.grid.away = True
    world.run(5)
    world.grid.away = False
    world.run(6)
    latest, last = world.grid.get(FEATURES, "scan_latest"), scanner.context.journal.last(Kind.SCAN)
    assert (latest["seq"], latest["bar"], latest["close_ms"]) == (last.seq, last.payload["bar"], last.ts_ms)
    assert "closes" not in latest
    assert [p["bar"] for kind, _, p in payloads(scanner) if kind == Kind.SCAN] == list(range(last.payload["bar"] + 1))


def test_an_emptied_grid_gets_the_newest_scan_again(world_of, market):
    world, _ = scanner_of(world_of, market)
    run_out(world)
    world.grid.wipe()
    world.run(11)
    assert world.grid.get(FEATURES, "scan_latest")["bar"] == 159


def test_a_replay_of_days_that_are_not_there_ends_the_process_with_a_reason(world_of, market):
    world = world_of(replay=replay_of(market, "2025-01-07", "2025-01-08"))
    with pytest.raises(QualityError, match="no day from 2025-01-07"):
        world.start(ScannerService)


def test_live_bars_have_no_source_yet_and_the_heartbeat_says_so(world):
    scanner = world.start(ScannerService)
    world.run(6)
    assert scanner.status == "no_source"
    assert world.grid.entries("DOLPHIN_HEARTBEAT")[0].record["status"] == "no_source"


def test_a_world_keeps_its_market_time_when_a_process_restarts(world_of, market):
    """A replay is one for all processes: a scanner that was away catches up."""
    world, scanner = scanner_of(world_of, market, speed=60.0)
    world.run(5)
    world.end(scanner, killed=True)
    world.run(30)
    again = world.start(ScannerService)
    world.run(0.2)
    assert isinstance(world, World)
    assert sum(kind == Kind.SCAN for kind, _, _ in payloads(again)) == 35
