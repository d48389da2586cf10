"""A journal through kill -9, torn logs, full and read-only disks: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pytest

from dolphin.errors import Unavailable
from dolphin.storage.journal import Entry, Journal, JournalReader, Kind, journal_path

NOW = 1_735_689_600_000
WRITER = Path(__file__).resolve().parent.parent / "journal_writer.py"
KILLS = 40


def note(number):
    return {"reason": f"note {number}", "by": "test"}


def acknowledged(process):
    """What the writer told before it died: newest turn and seq, from whole lines."""
    lines = [line for line in process.stdout.read().split(b"\n")[:-1] if line != b"ready"]
    return tuple(map(int, lines[-1].split())) if lines else (-1, 0)


def test_a_writer_killed_at_many_points_loses_nothing_and_leaves_no_half(tmp_path):
    """40 times kill -9 at a random moment, also while segments are sealed: chain, acknowledged records, whole transactions."""
    path, dice, highest = journal_path(tmp_path, "BLUE"), random.Random(7), (-1, 0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE, env=environment)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(dice.uniform(0, 0.12))
        process.kill()
        process.wait(timeout=30)
        highest = max(highest, acknowledged(process))
        process.stdout.close()
        with JournalReader(path) as journal:
            verdict = journal.verify()
            assert verdict.ok, verdict.to_text()
            assert verdict.head_seq >= highest[1]
    parts = defaultdict(list)
    with JournalReader(path) as journal:
        for record in journal.records(Kind.KILL):
            parts[record.payload["turn"]].append(record.payload["part"])
        assert [p.record.payload["turn"] % 7 for p in journal.unpublished("grid")]
    assert sorted(parts) == list(range(max(parts) + 1))
    assert max(parts) >= highest[0]
    assert all(found == ([0, 1, 2] if turn % 2 == 0 else [0]) for turn, found in parts.items())
    assert highest[0] > KILLS, "the writers hardly wrote: the test proved nothing"


def test_a_log_torn_at_any_place_gives_a_whole_earlier_state(tmp_path):
    """A power cut may leave any beginning of the write-ahead log: after it the chain is whole and ends with a transaction."""
    path = journal_path(tmp_path / "live", "BLUE")
    with Journal.open(path, "BLUE") as journal:
        for number in range(20):
            journal.append_many([Entry(Kind.KILL, note(number), NOW)] * 3)
        base, log = path.read_bytes(), path.with_name(path.name + "-wal").read_bytes()
    seen = set()
    for cut in [*range(0, len(log), 1500), len(log) - 1, len(log)]:
        torn = journal_path(tmp_path / f"torn{cut}", "BLUE")
        torn.parent.mkdir()
        torn.write_bytes(base)
        torn.with_name(torn.name + "-wal").write_bytes(log[:cut])
        with Journal.open(torn, "BLUE") as journal:
            verdict = journal.verify()
            assert verdict.ok, verdict.to_text()
            assert verdict.records % 3 == 0
            seen.add(verdict.records)
            assert journal.append(Kind.KILL, note(0), NOW) == verdict.records + 1
        shutil.rmtree(torn.parent)
    assert {0, 60} <= seen
    assert len(seen) > 15


def test_a_full_disk_refuses_the_append_and_the_journal_goes_on_afterwards(tmp_path):
    """SQLite's own 'full': nothing of the transaction is there; with room again the next append follows the last good one."""
    written = 0

    def fill():
        nonlocal written
        while written < 10_000:
            journal.append_many([Entry(Kind.KILL, {**note(written), "pad": "x" * 3000}, NOW)] * 2)
            written += 2

    with Journal.open(journal_path(tmp_path, "BLUE"), "BLUE") as journal:
        journal._db.execute("PRAGMA max_page_count = 40")
        with pytest.raises(Unavailable, match="the disk is full; the last append was not written"):
            fill()
        assert 0 < written < 10_000
        assert journal.head()[0] == written
        assert journal.verify().records == written
        journal._db.execute("PRAGMA max_page_count = 100000")
        assert journal.append(Kind.KILL, note(0), NOW) == written + 1
        assert journal.verify().ok


def test_a_file_size_limit_of_the_system_refuses_the_append(tmp_path):
    """A real failing write (RLIMIT_FSIZE in a process of its own): a clear error, and what was acknowledged is there."""
    path = journal_path(tmp_path, "BLUE")
    code = f"""
import resource, signal
from dolphin.storage.journal import Journal, Kind
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
with Journal.open({str(path)!r}, "BLUE") as journal:
    while True:
        print(journal.append(Kind.KILL, {{"reason": "x" * 2000, "by": "y"}}, 1), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Unavailable" in done.stderr.splitlines()[-1], done.stderr[-500:]
    assert "disk" in done.stderr.splitlines()[-1]
    with Journal.open(path, "BLUE") as journal:
        assert journal.verify().ok
        assert journal.head()[0] == int(done.stdout.split()[-1]) > 10


@contextlib.contextmanager
def somebody_else():
    """Work as a user who owns nothing: root's permissions would open everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_journal_can_be_read_and_proven_but_not_written():
    """No permission to write file or folder: a clear error for the writer, readers go on."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        path = journal_path(folder, "BLUE")
        with Journal.open(path, "BLUE") as journal:
            journal.append(Kind.KILL, note(1), NOW)
        folder.chmod(0o555)
        try:
            with somebody_else():
                with JournalReader(path) as journal:
                    assert journal.verify().ok
                    assert journal.last(Kind.KILL).payload == note(1)
                with pytest.raises(Unavailable, match=r"the lock file cannot be made|cannot be (written|opened)"):
                    Journal.open(path, "BLUE")
        finally:
            folder.chmod(0o755)
        with Journal.open(path, "BLUE") as journal:
            assert journal.append(Kind.KILL, note(2), NOW) == 2


def test_a_place_where_nothing_can_be_made_is_named():
    """/proc has no room for a journal."""
    with pytest.raises(Unavailable, match="lock file cannot be made"):
        Journal.open(Path("/proc/nowhere/BLUE.sqlite"), "BLUE")


def test_a_reader_sees_a_killed_writers_last_commits_before_anyone_recovers(tmp_path):
    """The log of a dead writer counts: copied as it lay, the reader finds every record."""
    path, copy = journal_path(tmp_path / "a", "BLUE"), journal_path(tmp_path / "b", "BLUE")
    copy.parent.mkdir()
    with Journal.open(path, "BLUE") as journal:
        for number in range(30):
            journal.append(Kind.KILL, note(number), NOW)
        for name in (path.name, path.name + "-wal"):
            shutil.copy(path.with_name(name), copy.with_name(name))
    with JournalReader(copy) as journal:
        assert journal.head()[0] == 30
        assert journal.verify().ok
