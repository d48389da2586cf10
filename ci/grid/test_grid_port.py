"""The contract of the grid port; every implementation of it passes this suite. The embedded one is the first."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest

from dolphin.errors import DolphinError, QualityError
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.port import GridPort, pnl_map

IMPLEMENTATIONS: dict[str, Callable[[], GridPort]] = {"embedded": EmbeddedGrid}


@pytest.fixture(params=IMPLEMENTATIONS)
def grid(request: pytest.FixtureRequest) -> Iterator[GridPort]:
    """A grid with nothing in it."""
    return IMPLEMENTATIONS[request.param]()


def nested(depth: int) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for _ in range(depth):
        record = {"in": record}
    return record


def test_a_record_comes_back_as_it_was(grid):
    record = {"text": "Größe", "n": 2**53, "x": -0.1, "none": None, "flag": True, "list": [1, {"deep": [1.5]}], "": {}}
    grid.put("M", "k", record)
    assert grid.get("M", "k") == record


def test_what_was_never_written_is_none(grid):
    assert grid.get("M", "k") is None
    grid.put("M", "k", {"a": 1})
    assert grid.get("M", "other") is None
    assert grid.get("OTHER", "k") is None


def test_maps_and_keys_are_apart_and_the_newest_record_counts(grid):
    grid.put("M", "k", {"a": 1, "b": 2})
    grid.put("M", "l", {"a": 2})
    grid.put("N", "k", {"a": 3})
    grid.put("M", "k", {"a": 4})
    assert [grid.get("M", "k"), grid.get("M", "l"), grid.get("N", "k")] == [{"a": 4}, {"a": 2}, {"a": 3}]


def test_the_writer_keeps_no_hold_on_the_record(grid):
    record = {"list": [1]}
    grid.put("M", "k", record)
    record["list"].append(2)
    record["new"] = 1
    assert grid.get("M", "k") == {"list": [1]}


def test_each_reader_gets_a_copy_of_its_own(grid):
    grid.put("M", "k", {"list": [1]})
    first = grid.get("M", "k")
    first["list"].append(2)
    assert grid.get("M", "k") == {"list": [1]}


def test_any_mapping_is_a_record(grid):
    grid.put("M", "k", MappingProxyType({"a": 1}))
    assert grid.get("M", "k") == {"a": 1}


@pytest.mark.parametrize(
    "bad",
    [math.nan, math.inf, -math.inf, [1.0, math.nan], {"deep": [math.inf]}, {1, 2}, b"bytes", object(), nested(100_000)],
    ids=["nan", "inf", "-inf", "nan in a list", "inf in a dict", "set", "bytes", "object", "too deep"],
)
def test_what_json_cannot_hold_is_refused_with_its_place_and_the_old_record_stays(grid, bad):
    grid.put("M", "k", {"a": 1})
    with pytest.raises(QualityError, match=r"M\['k'\]: .*only JSON values cross the grid"):
        grid.put("M", "k", {"a": 2, "bad": bad})
    assert grid.get("M", "k") == {"a": 1}
    assert issubclass(QualityError, DolphinError)


def test_threads_never_see_half_a_record_nor_lose_a_key(grid):
    """8 writers of one shared key and of own keys, 2 readers: a record's two fields always agree, and every own key is there."""
    interval, torn, done = sys.getswitchinterval(), [], threading.Event()

    def write(number):
        for j in range(300):
            grid.put("SHARED", "k", {"a": [number, j], "b": [number, j]})
            grid.put(f"M{j % 3}", f"{number}-{j}", {"j": j})

    def read():
        while not done.is_set():
            record = grid.get("SHARED", "k")
            if record is not None and record["a"] != record["b"]:
                torn.append(record)

    writers, readers = [threading.Thread(target=write, args=(n,)) for n in range(8)], [threading.Thread(target=read) for _ in range(2)]
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
    assert all(grid.get(f"M{j % 3}", f"{n}-{j}") == {"j": j} for n in range(8) for j in range(300))
    assert grid.get("SHARED", "k")["a"][1] == 299


def test_each_lane_has_its_map():
    assert (pnl_map(-1), pnl_map(1)) == ("DOLPHIN_PNL_BLUE", "DOLPHIN_PNL_GREEN")


def test_the_port_itself_cannot_be_used():
    with pytest.raises(TypeError, match="abstract"):
        GridPort()
