"""What a CP subsystem is for: one of three members is killed, then a second one. Last of the grid's tests: it uses their cluster up."""

from __future__ import annotations

import os
import signal
import time

import msgspec
import pytest
from grid_clusters import NOW, safety

from dolphin.errors import MissingDependency
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.lock import WriterLock
from dolphin.grid.safety import SafetyCell


def test_two_of_three_members_keep_cell_and_lock_and_one_alone_says_that_it_cannot(cluster_of):
    cluster = cluster_of("5.4.0 x 3", last=True)
    grid = HazelcastGrid(msgspec.structs.replace(cluster.config, call_timeout_s=3.0), "survivor")
    try:
        cell, lock = SafetyCell(grid), WriterLock(grid, "survivor", "a", lambda: NOW + 1)
        assert (cell.kind, lock.acquire()) == ("cp", True)
        cell.write(safety(seq=1), lock.fence)
        os.kill(cluster.members[0].pid, signal.SIGKILL)
        seq, until = 1, time.monotonic() + 30.0
        while cell_seq(cell) != seq or seq == 1:
            assert time.monotonic() < until, "no answer from two of three members"
            seq += 1
            try:
                cell.write(safety(seq=seq), lock.fence)
            except MissingDependency:
                continue
        assert lock.renew()
        os.kill(cluster.members[1].pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(MissingDependency, match=r"grid test-|CP subsystem did not answer within 3 s: have most members gone"):
            cell.write(safety(seq=seq + 1), lock.fence)
        assert time.monotonic() - began < 10.0
    finally:
        grid.close()


def cell_seq(cell):
    """Seq in the cell; 0 while it does not answer."""
    try:
        return cell.read().record["seq"]
    except MissingDependency:
        return 0
