"""The contract of the grid port; every implementation of it passes this suite (targets and fixtures: conftest.py)."""

from __future__ import annotations

import math
import sys
import threading
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any

import pytest
from grid_clusters import rec, until

from dolphin.errors import DolphinError, MissingDependency, QualityError
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.port import GridPort, pnl_map
from dolphin.grid.record import MAX_BYTES, Entry, Reason


def nested(depth: int) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for _ in range(depth):
        record = {"in": record}
    return record


def test_a_record_comes_back_as_it_was(grid):
    record = rec(text="Größe 🐬", n=2**53, x=-0.1, none=None, flag=True, list=[1, {"deep": [1.5]}]) | {"": {}}
    grid.put("M", "k", record)
    assert grid.get("M", "k") == record
    assert grid.read("M", "k") == Entry("M", "k", record, None)


def test_what_was_never_written_is_none(grid):
    assert grid.get("M", "k") is None
    grid.put("M", "k", rec(a=1))
    assert grid.get("M", "other") is None
    assert grid.get("OTHER", "k") is None
    assert grid.read("OTHER", "k") == Entry("OTHER", "k", None, Reason.ABSENT)
    assert not grid.refused


def test_maps_and_keys_are_apart_and_the_newest_record_counts(grid):
    for name, key, a in (("M", "k", 1), ("M", "l", 2), ("N", "k", 3), ("M", "k", 4)):
        grid.put(name, key, rec(a=a))
    assert [grid.get(*place)["a"] for place in (("M", "k"), ("M", "l"), ("N", "k"))] == [4, 2, 3]


def test_many_records_of_a_map_and_all_of_its_entries(grid):
    records = {f"k{i:03d}": rec(i=i) for i in range(400)}
    grid.put_many("M", records)
    grid.put_many("M", {})
    assert [(e.key, e.record, e.reason) for e in grid.entries("M")] == [(key, record, None) for key, record in records.items()]
    assert grid.entries("EMPTY") == []


def test_what_is_deleted_is_gone_and_deleting_nothing_is_no_error(grid):
    grid.put("M", "k", rec())
    grid.delete("M", "k")
    grid.delete("M", "k")
    assert grid.get("M", "k") is None


def test_a_record_lives_as_long_as_it_was_given(grid):
    """A time to live, a lease that is taken once and extended, and what puts an end to either: a new record. Watchers hear of the end."""
    seen: SimpleQueue[Entry] = SimpleQueue()
    grid.put("M", "put over", rec(), ttl_s=1.0)
    grid.put("M", "put over", rec(a=2))
    grid.put("M", "replaced", rec(a=1), ttl_s=1.0)
    assert grid.replace_if_same("M", "replaced", rec(a=1), rec(a=2))
    assert grid.put_if_absent("M", "lease", rec(a=1), ttl_s=1.0)
    assert not grid.put_if_absent("M", "lease", rec(a=2), ttl_s=1.0)
    grid.extend("M", "lease", 30.0)
    grid.extend("M", "absent", 30.0)
    grid.watch("M", seen.put)
    grid.put("M", "short", rec(), ttl_s=1.0)
    assert seen.get(timeout=10) == Entry("M", "short", rec())
    until(lambda: grid.get("M", "short") is None)
    assert seen.get(timeout=10) == Entry("M", "short", None, Reason.ABSENT)
    assert [(e.key, e.record["a"]) for e in grid.entries("M")] == [("lease", 1), ("put over", 2), ("replaced", 2)]
    assert grid.put_if_absent("M", "short", rec(a=3))


def test_compare_and_set_writes_only_over_what_was_seen(grid):
    assert not grid.replace_if_same("M", "k", rec(a=0), rec(a=1))
    assert grid.replace_if_same("M", "k", None, rec(a=1))
    assert not grid.replace_if_same("M", "k", None, rec(a=9))
    assert not grid.replace_if_same("M", "k", rec(a=0), rec(a=9))
    assert grid.replace_if_same("M", "k", dict(reversed(rec(a=1).items())), rec(a=2)), "equal records, whatever the order of their fields"
    assert grid.get("M", "k")["a"] == 2


def test_of_many_that_count_with_compare_and_set_no_step_is_lost(grid):
    grid.put("M", "n", rec(n=0))

    def count(times):
        while times:
            seen = grid.get("M", "n")
            times -= grid.replace_if_same("M", "n", seen, {**seen, "n": seen["n"] + 1})

    threads = [threading.Thread(target=count, args=(10,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert grid.get("M", "n")["n"] == 40


def test_a_watcher_sees_puts_replacements_and_removals_of_its_map_in_order(grid):
    seen: SimpleQueue[Entry] = SimpleQueue()
    grid.put("M", "before", rec())
    grid.watch("M", seen.put)
    grid.watch("N", lambda entry: None)
    grid.put("M", "k", rec(a=1))
    grid.put_many("M", {"k": rec(a=2)})
    assert grid.replace_if_same("M", "k", rec(a=2), rec(a=3))
    grid.put("N", "k", rec())
    grid.delete("M", "k")
    events = [seen.get(timeout=10) for _ in range(4)]
    assert [(e.name, e.key, e.record and e.record["a"], e.reason) for e in events] == [
        ("M", "k", 1, None),
        ("M", "k", 2, None),
        ("M", "k", 3, None),
        ("M", "k", None, Reason.ABSENT),
    ]
    with pytest.raises(Empty):
        seen.get(timeout=0.2)


def test_two_watchers_of_a_map_both_see_a_change(grid):
    queues = [SimpleQueue(), SimpleQueue()]
    for queue in queues:
        grid.watch("M", queue.put)
    grid.put("M", "k", rec(a=1))
    assert [queue.get(timeout=10).record["a"] for queue in queues] == [1, 1]


def test_the_writer_keeps_no_hold_on_the_record(grid):
    record = rec(list=[1])
    grid.put("M", "k", record)
    record["list"].append(2)
    record["new"] = 1
    assert grid.get("M", "k") == rec(list=[1])


def test_each_reader_gets_a_copy_of_its_own(grid):
    grid.put("M", "k", rec(list=[1]))
    first = grid.get("M", "k")
    first["list"].append(2)
    assert grid.get("M", "k") == rec(list=[1])


def test_any_mapping_is_a_record(grid):
    grid.put("M", "k", MappingProxyType(rec(a=1)))
    assert grid.get("M", "k") == rec(a=1)


HOSTILE = {
    "not JSON": ("posture=APEX", Reason.NOT_JSON),
    "half a record": ('{"schema": "x", "ts_ms": 1, "a": [1, 2', Reason.NOT_JSON),
    "NaN": ('{"schema": "x", "ts_ms": 1, "a": NaN}', Reason.NOT_JSON),
    "Infinity": ('{"schema": "x", "ts_ms": 1, "a": -Infinity}', Reason.NOT_JSON),
    "beyond float": ('{"schema": "x", "ts_ms": 1, "a": 1e999}', Reason.NOT_JSON),
    "deep": ('{"schema": "x", "ts_ms": 1, "a": ' + "[" * 20_000 + "]" * 20_000 + "}", Reason.TOO_DEEP),
    "large": ('{"schema": "x", "ts_ms": 1, "a": "' + "a" * 10_000_000 + '"}', Reason.TOO_LARGE),
    "a list": ("[1, 2]", Reason.NOT_AN_OBJECT),
    "a string": ('"APEX"', Reason.NOT_AN_OBJECT),
    "empty": ("", Reason.NOT_JSON),
    "no schema": ('{"ts_ms": 1}', Reason.NO_SCHEMA),
    "schema of another type": ('{"schema": 1, "ts_ms": 1}', Reason.NO_SCHEMA),
    "no time": ('{"schema": "x"}', Reason.NO_TIME),
    "time as text": ('{"schema": "x", "ts_ms": "now"}', Reason.NO_TIME),
    "time as a flag": ('{"schema": "x", "ts_ms": true}', Reason.NO_TIME),
    "time before all times": ('{"schema": "x", "ts_ms": -1}', Reason.NO_TIME),
}


@pytest.mark.parametrize(("text", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_refused_with_its_reason_counted_and_written_over(grid, text, reason):
    """Written past the port, by whatever else reaches the grid: readers and watchers get a reason, others' records stay readable."""
    seen: SimpleQueue[Entry] = SimpleQueue()
    grid.watch("M", seen.put)
    grid._store("M", "k", text, None)
    assert seen.get(timeout=10) == Entry("M", "k", None, reason)
    assert grid.read("M", "k") == Entry("M", "k", None, reason)
    with pytest.raises(QualityError, match=rf"M\['k'\]: {reason}.*write a good record over it"):
        grid.get("M", "k")
    grid.put("M", "good", rec(a=1))
    assert [(e.key, e.reason) for e in grid.entries("M")] == [("good", None), ("k", reason)]
    assert dict(grid.refused) == {reason: 4}
    assert not grid.replace_if_same("M", "k", rec(), rec(a=2))
    grid.put("M", "k", rec(a=2))
    assert grid.get("M", "k")["a"] == 2


@pytest.mark.parametrize(
    "bad",
    [math.nan, math.inf, -math.inf, [1.0, math.nan], {"deep": [math.inf]}, {1, 2}, b"bytes", object(), "\ud800", nested(100_000)],
    ids=["nan", "inf", "-inf", "nan in a list", "inf in a dict", "set", "bytes", "object", "half a character", "too deep"],
)
def test_what_json_cannot_hold_is_refused_with_its_place_and_the_old_record_stays(grid, bad):
    grid.put("M", "k", rec(a=1))
    writes = (
        lambda record: grid.put("M", "k", record),
        lambda record: grid.put_many("M", {"k": record}),
        lambda record: grid.replace_if_same("M", "k", rec(a=1), record),
    )
    for write in writes:
        with pytest.raises(QualityError, match=r"M\['k'\]: .*only JSON values cross the grid"):
            write(rec(a=2, bad=bad))
    assert grid.get("M", "k") == rec(a=1)
    assert issubclass(QualityError, DolphinError)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"ts_ms": 1}, "NO_SCHEMA"),
        ({"schema": "", "ts_ms": 1}, "NO_SCHEMA"),
        ({"schema": "x"}, "NO_TIME"),
        ({"schema": "x", "ts_ms": 1.5}, "NO_TIME"),
        ({"schema": "x", "ts_ms": 2**63}, "NO_TIME"),
        (rec(a="a" * MAX_BYTES), "TOO_LARGE"),
        (rec(a="€" * (MAX_BYTES // 3)), "TOO_LARGE"),
    ],
    ids=["no schema", "empty schema", "no time", "time with a fraction", "time after all times", "large", "large in UTF-8"],
)
def test_a_record_that_readers_would_refuse_is_not_written(grid, record, why):
    with pytest.raises(QualityError, match=rf"M\['k'\]: .*{why}"):
        grid.put("M", "k", record)
    assert grid.get("M", "k") is None


@pytest.mark.parametrize("key", ["", 1, None, ("a",), "x" * 257], ids=["empty", "number", "none", "tuple", "long"])
def test_a_key_is_a_short_string(grid, key):
    with pytest.raises(QualityError, match="a key is a string of 1 to 256 characters"):
        grid.put("M", key, rec())


def test_threads_never_see_half_a_record_nor_lose_a_key(grid):
    """4 writers of one shared key and of own keys, 2 readers: a record's two fields always agree, and every own key is there."""
    interval, torn, done = sys.getswitchinterval(), [], threading.Event()

    def write(number):
        for j in range(20):
            grid.put("SHARED", "k", rec(a=[number, j], b=[number, j]))
            grid.put(f"M{j % 3}", f"{number}-{j}", rec(j=j))

    def read():
        while not done.is_set():
            record = grid.get("SHARED", "k")
            if record is not None and record["a"] != record["b"]:
                torn.append(record)

    writers, readers = [threading.Thread(target=write, args=(n,)) for n in range(4)], [threading.Thread(target=read) for _ in range(2)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in writers + readers:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not torn
    assert all(grid.get(f"M{j % 3}", f"{n}-{j}") == rec(j=j) for n in range(4) for j in range(20))
    assert grid.get("SHARED", "k")["a"][1] == 19


def test_a_closed_grid_says_so(grid):
    assert grid.members >= 1
    grid.close()
    assert grid.members == 0
    for call in (lambda: grid.get("M", "k"), lambda: grid.put("M", "k", rec()), lambda: grid.entries("M"), lambda: grid.delete("M", "k")):
        with pytest.raises(MissingDependency, match="closed"):
            call()
    grid.close()


def test_the_embedded_clock_is_the_one_that_was_given():
    now = [0.0]
    grid = EmbeddedGrid(lambda: now[0])
    grid.put("M", "k", rec(), ttl_s=10)
    now[0] = 9.9
    assert grid.get("M", "k") == rec()
    now[0] = 10.0
    assert grid.get("M", "k") is None


def test_each_lane_has_its_map():
    assert (pnl_map(-1), pnl_map(1)) == ("DOLPHIN_PNL_BLUE", "DOLPHIN_PNL_GREEN")


def test_the_port_itself_cannot_be_used():
    with pytest.raises(TypeError, match="abstract"):
        GridPort()
