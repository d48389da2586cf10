"""Real members that are killed, frozen, emptied, lied to and bound where they must not be."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from queue import SimpleQueue

import msgspec
import pytest
from grid_clusters import free_ports, plans, safety, until
from hazelcast.client import HazelcastClient
from hazelcast.core import HazelcastJsonValue
from hazelcast.serialization.data import Data

from dolphin.deployment import GridConfig
from dolphin.errors import MissingDependency
from dolphin.grid import process
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.jars import verified_jars
from dolphin.grid.lock import WriterLock
from dolphin.grid.loopback import foreign_listeners
from dolphin.grid.member import MemberPlan, member_yaml
from dolphin.grid.process import MemberProcess, health, known_members, start_members, stop_member
from dolphin.grid.record import Entry, Reason
from dolphin.grid.safety import SafetyCell
from dolphin.grid.view import LocalView, State
from dolphin.types import Posture
from flows.workspace import jar_folder

GOOD = {"schema": "test/1", "ts_ms": 1, "a": 1}


def wall():
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def cluster(start_cluster):
    """A cluster of one that these tests may hurt."""
    return start_cluster()


def quick(cluster, **changes):
    return HazelcastGrid(msgspec.structs.replace(cluster.config, **{"connect_timeout_s": 2.0, "call_timeout_s": 2.0, **changes}), "quick")


# -- what a client may turn into objects


def test_a_pickle_in_the_grid_is_neither_run_nor_read_and_breaks_no_connection(cluster, tmp_path):
    """The canary: a pickled call written through the raw protocol. An unprotected client runs it, ours refuses it, reading and watching."""
    canary = tmp_path / "canary"
    text = f"cpathlib\nPath\n(S'{canary}'\ntRp0\n0cbuiltins\ngetattr\n(g0\nS'touch'\ntR(tR."
    attack = (
        "import struct, sys\nfrom hazelcast.client import HazelcastClient\nfrom hazelcast.serialization.data import Data\n"
        f"client = HazelcastClient(cluster_name={cluster.config.cluster!r}, cluster_members=['127.0.0.1:{cluster.config.port}'])\n"
        "text = sys.argv[1].encode()\nraw = Data(struct.pack('>iii', 0, -120, len(text)) + text)\n"
        "maps = client.get_map('M').blocking()\nmaps.set('k', raw)\n"
        "if len(sys.argv) > 2: maps.get('k')\nclient.shutdown()\n"
    )
    grid, seen = quick(cluster), SimpleQueue()
    try:
        grid.watch("M", seen.put)
        run = [sys.executable, "-c", attack, text]
        subprocess.run(run, check=True, timeout=60, env={**os.environ, "PYTHONWARNINGS": ""})
        assert seen.get(timeout=10) == Entry("M", "k", None, Reason.NOT_TEXT)
        assert grid.read("M", "k") == Entry("M", "k", None, Reason.NOT_TEXT)
        assert grid.entries("M") == [Entry("M", "k", None, Reason.NOT_TEXT)]
        assert not canary.exists()
        grid.put("M", "k", GOOD)
        assert seen.get(timeout=10).record == GOOD, "the same connection still hears"
        subprocess.run([*run, "read"], check=False, timeout=60, capture_output=True)
        assert canary.exists(), "the payload is live: a client that is not hardened runs it"
    finally:
        grid.close()


def data(kind, body):
    return Data(struct.pack(">ii", 0, kind) + body)


FOREIGN = {
    "a number": 7,
    "JSON of the other kind": HazelcastJsonValue('{"schema": "x", "ts_ms": 1}'),
    "bytes": bytearray(b"{}"),
    "a list": ["a"],
    "a string that is not UTF-8": data(-11, struct.pack(">i", 2) + b"\xff\xfe"),
    "a string longer than it is": data(-11, struct.pack(">i", 1000) + b"ab"),
    "a string of negative length": data(-11, struct.pack(">i", -1)),
    "a Java object": data(-100, b"\xac\xed\x00\x05"),
    "a class to be found": data(-2, b"\x01" + struct.pack(">ii", 1, 1)),
}


def test_no_value_but_a_string_is_deserialised_and_no_foreign_key_breaks_a_map(cluster):
    grid, seen = quick(cluster), SimpleQueue()
    raw = HazelcastClient(cluster_name=cluster.config.cluster, cluster_members=[f"127.0.0.1:{cluster.config.port}"])
    try:
        grid.watch("F", seen.put)
        values = raw.get_map("F").blocking()
        for name, value in FOREIGN.items():
            values.set(name, value)
            assert seen.get(timeout=10) == Entry("F", name, None, Reason.NOT_TEXT)
        values.set(7, "x")
        values.set("good", '{"schema": "x", "ts_ms": 1}')
        assert seen.get(timeout=10).key == "good"
        assert [e.key for e in grid.entries("F") if e.reason is None] == ["good"]
        assert {e.reason for e in grid.entries("F") if e.key != "good"} == {Reason.NOT_TEXT}
        assert grid.refused.keys() == {"NOT_TEXT"}
    finally:
        raw.shutdown()
        grid.close()


# -- loss, return, freeze


def test_a_member_killed_and_restarted_empty_leaves_nothing_known(cluster):
    """Killed by pid, away for longer than the client tries, back with nothing in it: a new client, watchers hear, posture unknown."""
    grid, seen = quick(cluster), SimpleQueue()
    view = LocalView(grid, time.monotonic, wall)
    try:
        view.start()
        SafetyCell(grid).write(safety(ts_ms=wall()))
        grid.watch("M", seen.put)
        until(lambda: view.posture().state is State.FRESH)
        os.kill(cluster.members[0].pid, signal.SIGKILL)
        until(lambda: grid.members == 0)
        began = time.monotonic()
        with pytest.raises(MissingDependency, match="away"):
            grid.put("M", "k", GOOD)
        assert time.monotonic() - began < 1.0
        until(lambda: not grid._client.lifecycle_service.is_running(), 10)
        assert view.posture()[:2] == (Posture.APEX, State.FRESH), "the last good one, until its time or the grid's is up"
        cluster.restart()
        until(lambda: grid.members == 1)
        until(lambda: view.posture()[:3] == (Posture.TURTLE, State.UNKNOWN, Reason.ABSENT))
        events = [seen.get(timeout=10)]
        grid.put("M", "k", GOOD)
        while events[-1].reason is Reason.RECONNECTED:
            events.append(seen.get(timeout=10))
        assert (events[0].reason, events[-1].record) == (Reason.RECONNECTED, GOOD)
        SafetyCell(grid).write(safety(seq=2, posture="STALKER", ts_ms=wall()))
        until(lambda: view.posture()[:2] == (Posture.STALKER, State.FRESH))
    finally:
        view.stop()
        grid.close()


def stopped(pid: int) -> bool:
    """Every thread of the process is: one that still ran would answer."""
    return all(task.read_text().rsplit(")", 1)[1].split()[0] == "T" for task in Path("/proc").glob(f"{pid}/task/*/stat"))


def test_a_frozen_member_gets_bounded_answers_and_is_used_again_when_it_goes_on(cluster):
    grid = quick(cluster, call_timeout_s=1.0)
    pid = cluster.members[0].pid
    try:
        grid.put("M", "k", GOOD)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: stopped(pid))
        for call in (lambda: grid.get("M", "k"), lambda: grid.put("M", "k", GOOD), lambda: grid.entries("NEW")):
            began = time.monotonic()
            with pytest.raises(MissingDependency, match="grid test-"):
                call()
            assert time.monotonic() - began < 4.0
        began = time.monotonic()
        with pytest.raises(MissingDependency, match="no member answered within 1 s"):
            quick(cluster, connect_timeout_s=1.0)
        assert time.monotonic() - began < 4.0
        os.kill(pid, signal.SIGCONT)
        until(lambda: grid.members == 1)
        grid.put("M", "k", {**GOOD, "a": 2})
        assert grid.get("M", "k")["a"] == 2
    finally:
        os.kill(pid, signal.SIGCONT)
        grid.close()


def test_a_grid_that_is_not_there_is_missing_within_bounds_or_awaited(start_cluster):
    nowhere = GridConfig(cluster="nowhere", port=1024 + os.getpid() % 40_000, connect_timeout_s=1.0)
    began = time.monotonic()
    with pytest.raises(
        MissingDependency, match=r"no member answered within 1 s; start it with `dolphin grid start`, or set grid.kind = embedded"
    ):
        HazelcastGrid(nowhere)
    assert time.monotonic() - began < 4.0
    waiting = HazelcastGrid(nowhere, wait=False)
    waiting.watch("M", lambda entry: None)
    assert waiting.members == 0
    with pytest.raises(MissingDependency, match="away"):
        waiting.get("M", "k")
    waiting.close()


def test_a_watcher_that_raises_hurts_neither_the_connection_nor_the_others(cluster, caplog):
    grid, seen = quick(cluster), SimpleQueue()
    try:
        grid.watch("M", lambda entry: 1 / 0)
        grid.watch("N", seen.put)
        grid.put("M", "k", GOOD)
        grid.put("N", "k", GOOD)
        assert seen.get(timeout=10).record == GOOD
        assert "a watcher failed: ZeroDivisionError" in caplog.text
        assert grid.members == 1
    finally:
        grid.close()


@pytest.mark.parametrize("target", ["5.7.0", "5.4.0 x 3"])
def test_of_two_processes_one_is_the_writer(cluster_of, target):
    """Two connections, as two processes have them."""
    first, second = (cluster_of(target).connect(name) for name in ("a", "b"))
    try:
        locks = [WriterLock(grid, "acb", name, wall) for grid, name in ((first, "a"), (second, "b"))]
        assert [lock.acquire() for lock in locks] == [True, False]
        assert [lock.renew() for lock in locks] == [True, False]
        old = locks[0].fence
        locks[0].release()
        assert locks[1].acquire()
        assert locks[1].fence > old
        locks[1].release()
    finally:
        first.close()
        second.close()


# -- how members are started and stopped


def test_a_member_bound_beyond_loopback_is_stopped_and_refused(start_cluster, cluster, tmp_path, monkeypatch):
    """The configuration is made to bind every address: the check sees it in /proc, and nothing is left running."""
    seen = []

    def everywhere(plan):
        seen.append(plan)
        return member_yaml(plan).replace('socket.bind.any: "false"', 'socket.bind.any: "true"')

    monkeypatch.setattr(process, "member_yaml", everywhere)
    port = free_ports(1)
    with pytest.raises(MissingDependency, match=rf"member {port} listens on 0\.0\.0\.0:{port}, not on 127\.0\.0\.1 alone: it was stopped"):
        start_members([MemberPlan("wide", "5.7.0", port, (port,))], tmp_path, jar_folder("5.7.0"))
    assert seen
    assert known_members(tmp_path) == []
    assert health(port).state == ""


def test_a_descriptor_that_closes_while_we_look_is_no_error(monkeypatch):
    """Found by the fault matrix: a busy member closes files between the listing and the look, and its start was refused."""
    seen, readlink = [], Path.readlink

    def closing(path):
        seen.append(path)
        if len(seen) == 2:
            raise FileNotFoundError(path)
        return readlink(path)

    monkeypatch.setattr(Path, "readlink", closing)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert foreign_listeners(os.getpid()) == []
    assert len(seen) > 2


def test_every_listener_of_a_member_is_on_loopback(cluster):
    assert foreign_listeners(cluster.members[0].pid) == []


def test_listeners_are_told_by_address_and_family():
    """Of this very process: loopback sockets are fine in both families, others are named."""
    with socket.socket() as fine, socket.socket() as wide, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        fine.bind(("127.0.0.1", 0))
        fine.listen()
        assert foreign_listeners(os.getpid()) == []
        datagrams.bind(("0.0.0.0", 0))
        wide.bind(("0.0.0.0", 0))
        wide.listen()
        assert foreign_listeners(os.getpid()) == sorted(f"0.0.0.0:{s.getsockname()[1]}" for s in (wide, datagrams))


def test_where_a_process_listens_that_is_not_there_is_not_assumed():
    with pytest.raises(MissingDependency, match="cannot be told"):
        foreign_listeners(2**22 + 1)


def test_only_what_we_started_is_stopped(tmp_path):
    """A pid file that names somebody else's process: another start time, another command line."""
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            for started in ("0@nowhere", process._birth(other.pid)):
                folder = tmp_path / "m"
                folder.mkdir(exist_ok=True)
                member = MemberProcess(pid=other.pid, started=started, cluster="c", server="5.7.0", port=5701, folder=str(folder))
                (folder / "member.json").write_bytes(msgspec.json.encode(member))
                assert known_members(tmp_path) == [member]
                assert not stop_member(member)
                assert other.poll() is None
                assert known_members(tmp_path) == []
        finally:
            other.kill()


def test_a_taken_port_and_a_member_that_dies_are_told(cluster, tmp_path, monkeypatch):
    port = cluster.config.port
    with pytest.raises(MissingDependency, match=rf"127\.0\.0\.1:{port} is taken"):
        start_members(plans(cluster.config), tmp_path, jar_folder("5.7.0"))
    monkeypatch.setattr(process, "member_yaml", lambda plan: "hazelcast:\n  no-such-thing: 1\n")
    fresh = free_ports(1)
    with pytest.raises(MissingDependency, match=rf"member {fresh} ended while it started: .*no-such-thing|Exception"):
        start_members([MemberPlan("c", "5.7.0", fresh, (fresh,))], tmp_path, jar_folder("5.7.0"))
    assert known_members(tmp_path) == []


def test_altered_absent_and_unpinned_jars_are_refused(cluster, tmp_path):
    with pytest.raises(MissingDependency, match=r"Hazelcast 5\.7\.0 is not in .*bash ci/quickstart.*embedded"):
        verified_jars(tmp_path, "5.7.0")
    with pytest.raises(MissingDependency, match=r"Hazelcast 5\.6\.0 is not in"):
        verified_jars(jar_folder("5.7.0"), "5.6.0")
    for jar in jar_folder("5.7.0").glob("*.jar"):
        (tmp_path / jar.name).symlink_to(jar)
    assert len(verified_jars(tmp_path, "5.7.0")) == 5
    (tmp_path / "extra.jar").write_bytes(b"x")
    with pytest.raises(MissingDependency, match=r"extra\.jar is not the pinned file"):
        verified_jars(tmp_path, "5.7.0")
    (tmp_path / "extra.jar").unlink()
    (tmp_path / "picocli-4.7.7.jar").unlink()
    (tmp_path / "picocli-4.7.7.jar").write_bytes(b"x")
    with pytest.raises(MissingDependency, match=r"picocli-4\.7\.7\.jar is not the pinned file"):
        verified_jars(tmp_path, "5.7.0")
