"""Posture cell, writer's lock and feature shards, over every grid."""

from __future__ import annotations

import math

import pytest
from grid_clusters import FENCE, NOW, next_seq, safety

from dolphin.errors import Fenced, QualityError
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.features import ShardedFeatureStore, shard_map, shard_of
from dolphin.grid.lock import LEASES, WriterLock
from dolphin.grid.maps import SAFETY
from dolphin.grid.safety import LATEST, SafetyCell

# -- shards


def test_symbols_spread_over_the_shards_as_specified():
    """400 synthetic symbols land 40 a shard; the three largest coins in 7, 5 and 8."""
    counts = [sum(shard_of(f"SYM{i:03d}USDT") == shard for i in range(400)) for shard in range(ShardedFeatureStore.SHARD_COUNT)]
    assert counts == [40] * 10
    assert [shard_of(s) for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT")] == [7, 5, 8]
    assert shard_map(7) == "DOLPHIN_FEATURES_SHARD_07"


def test_features_are_put_got_deleted_one_by_one_and_together(grid):
    store = ShardedFeatureStore(grid, lambda: NOW)
    store.put("BTCUSDT", "imbalance_ma5", 0.25)
    store.put_many("book", {"BTCUSDT": {"depth_quality": 1.1, "fill_buy": None}, "ETHUSDT": {"depth_quality": 0.9}})
    assert store.get("BTCUSDT", "imbalance_ma5") == 0.25
    assert store.get("BTCUSDT", "book") == {"depth_quality": 1.1, "fill_buy": None}
    assert grid.get("DOLPHIN_FEATURES_SHARD_05", "book_ETHUSDT") == {
        "schema": "dolphin.feature/1",
        "ts_ms": NOW,
        "value": {"depth_quality": 0.9},
    }
    assert sorted(store.features("BTCUSDT")) == ["book", "imbalance_ma5"]
    for symbol, feature in (("BTCUSDT", "imbalance_ma5"), ("BTCUSDT", "book"), ("ETHUSDT", "book")):
        store.delete(symbol, feature)
        assert store.get(symbol, feature) is None


def test_a_feature_that_is_not_a_number_is_refused():
    with pytest.raises(QualityError, match="only JSON values cross the grid"):
        ShardedFeatureStore(EmbeddedGrid()).put("BTCUSDT", "imbalance_ma5", math.nan)


def test_near_caches_are_documented_and_what_the_client_takes():
    """The documented names for all ten maps; the client accepts its own names for them."""
    from hazelcast.config import Config

    documented = ShardedFeatureStore.near_cache_config()
    assert sorted(documented) == [f"DOLPHIN_FEATURES_SHARD_{i:02d}" for i in range(10)]
    expected = {
        "invalidate_on_change": True,
        "time_to_live_seconds": 300,
        "max_idle_seconds": 60,
        "eviction_policy": "LRU",
        "max_size": 5000,
    }
    assert all(given == expected for given in documented.values())
    config = Config()
    config.near_caches = ShardedFeatureStore.near_caches()
    cache = config.near_caches["DOLPHIN_FEATURES_SHARD_07"]
    assert (cache.time_to_live, cache.max_idle, cache.eviction_max_size, cache.invalidate_on_change) == (300, 60, 5000, True)


# -- posture cell and lock


def test_the_cell_gives_back_the_posture_and_the_map_shows_it(grid):
    cell = SafetyCell(grid)
    assert cell.kind == ("cp" if grid.consensus else "map")
    cell.write(safety(seq=next_seq(cell)), fence=FENCE)
    record = cell.read().record
    assert (record["schema"], record["posture"], record["fence"]) == ("dolphin.posture/1", "APEX", FENCE)
    assert grid.get(SAFETY, LATEST) == record


def test_a_falling_or_repeated_seq_and_an_older_holder_are_fenced(grid):
    cell = SafetyCell(grid)
    seq = next_seq(cell) + 1
    cell.write(safety(seq=seq), FENCE)
    for bad in ((seq, FENCE), (seq - 1, FENCE), (seq + 5, FENCE - 1)):
        with pytest.raises(Fenced, match=f"holds fence {FENCE} seq {seq}, ours is fence {bad[1]} seq {bad[0]}"):
            cell.write(safety(seq=bad[0], posture="STALKER"), bad[1])
    assert cell.read().record["posture"] == "APEX"


def test_what_is_no_posture_record_is_written_over(grid):
    cell = SafetyCell(grid)
    seq = next_seq(cell)
    grid._store(SAFETY, LATEST, '{"schema": "x"', None)
    cell.write(safety(seq=seq), FENCE)
    assert grid.get(SAFETY, LATEST)["seq"] == seq


def test_of_two_writers_one_holds_the_lock_and_the_next_has_a_higher_number(grid):
    wall = [NOW]
    first, second = (WriterLock(grid, "watchdog", name, lambda: wall[0]) for name in ("a", "b"))
    assert first.acquire()
    assert not second.acquire()
    assert (first.fence >= NOW, second.fence, first.renew(), second.renew()) == (True, 0, True, False)
    old = first.fence
    first.release()
    assert second.acquire()
    assert second.fence > old
    assert not first.renew()
    second.release()


def test_a_holder_whose_grid_forgot_its_number_on_a_clock_that_was_set_back_gets_a_higher_one(clocks):
    """In the same process, and in the next one, which knows it from its journal."""
    wall = [NOW]
    lock = WriterLock(EmbeddedGrid(clocks.monotonic), "watchdog", "a", lambda: wall[0])
    assert lock.acquire()
    before = lock.fence
    wall[0] -= 60_000
    lock._grid, lock.fence = EmbeddedGrid(clocks.monotonic), 0
    assert lock.acquire()
    assert lock.fence > before
    heir = WriterLock(EmbeddedGrid(clocks.monotonic), "watchdog", "a", lambda: wall[0])
    heir.highest = lock.fence
    assert heir.acquire()
    assert heir.fence > lock.fence


def test_a_lease_that_ran_out_is_somebody_elses_and_the_late_writer_is_fenced(clocks):
    """The holder stops for longer than its lease; the other one writes; the first one, awake again, cannot."""
    grid = EmbeddedGrid(clocks.monotonic)
    first, second = (WriterLock(grid, "watchdog", name, clocks.wall, lease_s=15) for name in ("a", "b"))
    cell = SafetyCell(grid)
    assert first.acquire()
    cell.write(safety(seq=1), first.fence)
    old = first.fence
    clocks.seconds += 14
    assert first.renew()
    clocks.seconds += 14
    assert not second.acquire()
    clocks.seconds += 1
    assert second.acquire()
    assert second.holder() == "b"
    cell.write(safety(seq=1, posture="TURTLE"), second.fence)
    with pytest.raises(Fenced, match="another watchdog writes"):
        cell.write(safety(seq=99), old)
    assert (first.renew(), first.fence, second.renew()) == (False, 0, True)


def test_numbers_grow_through_an_emptied_grid_and_past_a_hostile_counter(clocks):
    grid = EmbeddedGrid(clocks.monotonic)
    lock = WriterLock(grid, "acb", "a", clocks.wall)
    assert lock.acquire()
    old = lock.fence
    clocks.seconds += 1
    empty = EmbeddedGrid(clocks.monotonic)
    empty._store(LEASES, "fence:acb", '{"number": "high"}', None)
    again = WriterLock(empty, "acb", "a", clocks.wall)
    assert again.acquire()
    assert again.fence > old


@pytest.mark.parametrize("text", ["[1, 2]", '{"schema":"dolphin.lease/1","ts_ms":1}', '{"schema":"other/1","ts_ms":1,"owner":"b"}', "{"])
def test_what_is_no_lease_does_not_keep_writers_out_for_ever(clocks, text):
    """It has no time to live: the holder finds that it holds nothing, and takes the lock anew with a higher number."""
    grid = EmbeddedGrid(clocks.monotonic)
    lock = WriterLock(grid, "acb", "a", clocks.wall)
    assert lock.acquire()
    old = lock.fence
    grid._store(LEASES, "acb", text, None)
    assert not lock.renew()
    assert lock.acquire()
    assert lock.fence > old
    assert lock.renew()


STRANGE = {
    "no json": "no json",
    "another schema": '{"schema": "x", "ts_ms": 1, "owner": "evil"}',
    "no name": '{"schema": "dolphin.lease/1", "ts_ms": 1, "owner": 7}',
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_what_is_no_lease_keeps_nobody_out(clocks, text):
    """Found by simulation: a stranger's value has no time to live, and no watchdog ever came back."""
    grid = EmbeddedGrid(clocks.monotonic)
    first, second = (WriterLock(grid, "watchdog", name, clocks.wall) for name in ("a", "b"))
    assert first.acquire()
    grid._store(LEASES, "watchdog", text, None)
    assert not first.renew()
    assert first.acquire()
    assert not second.acquire()
