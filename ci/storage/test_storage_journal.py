"""The journal: what is written comes back in a chain that shows every alteration; one writer; written first, published second."""

from __future__ import annotations

import hashlib
import math
import sqlite3
import subprocess
import sys
import threading

import pytest

from dolphin.errors import ConfigError, DataError, MalformedFile, QualityError, SchemaError, Unavailable
from dolphin.storage.journal import Entry, Journal, JournalReader, Kind, journal_files, journal_path
from dolphin.storage.journal_records import FIELDS, MAX_PAYLOAD

NOW = 1_735_689_600_000


def kill(number=0, **more):
    return {"reason": f"test {number}", "by": "operator", **more}


@pytest.fixture
def path(tmp_path):
    return journal_path(tmp_path, "BLUE")


@pytest.fixture
def journal(path):
    with Journal.open(path, "BLUE") as opened:
        yield opened


def tampered(path, statement, *values):
    db = sqlite3.connect(path)
    with db:
        assert db.execute(statement, values).rowcount > 0
    db.close()


def filled(path, count=10):
    with Journal.open(path, "BLUE") as journal:
        for number in range(count):
            journal.append(Kind.KILL, kill(number), NOW + number)


def test_records_come_back_as_they_were_in_order(journal):
    """seq counts from 1, payloads are equal, kinds can be picked."""
    payload = kill(1, text="Größe \U0001f42c\n\0", deep=[1, {"x": -0.1, "n": 2**60, "none": None, "yes": True}])
    assert journal.append(Kind.KILL, payload, NOW) == 1
    assert journal.append(Kind.RELEASE, kill(2), NOW + 1) == 2
    assert journal.append_many([Entry(Kind.KILL, kill(n), NOW) for n in (3, 4)]) == [3, 4]
    assert journal.append_many([]) == []
    records = list(journal.records())
    assert [(r.seq, r.kind, r.writer) for r in records] == [
        (1, "kill", "BLUE"),
        (2, "release", "BLUE"),
        (3, "kill", "BLUE"),
        (4, "kill", "BLUE"),
    ]
    assert records[0].payload == payload
    assert records[0].ts_ms == NOW
    assert [r.seq for r in journal.records(Kind.KILL, after=1)] == [3, 4]
    assert journal.last(Kind.RELEASE).payload == kill(2)
    assert journal.last(Kind.TRADE) is None


def test_the_chain_can_be_recomputed_by_anyone_from_the_documented_formula(journal):
    """sha256(prev + seq LF ts LF writer LF kind LF payload), from sha256 of schema and writer."""
    for number in range(3):
        journal.append(Kind.KILL, {"reason": "ä", "by": "b", "n": number}, NOW + number)
    previous = hashlib.sha256(b"dolphin.journal/1\nBLUE").digest()
    for number, record in enumerate(journal.records()):
        row = f'{number + 1}\n{NOW + number}\nBLUE\nkill\n{{"by":"b","n":{number},"reason":"ä"}}'.encode()
        assert record.prev_hash == previous.hex()
        previous = hashlib.sha256(previous + row).digest()
        assert record.hash == previous.hex()
    assert journal.head() == (3, previous.hex())


def test_every_kind_names_its_fields_and_a_record_without_one_is_refused(journal):
    """FIELDS is complete; the message names kind and field; nothing is written."""
    assert set(FIELDS) == set(Kind)
    for kind, names in FIELDS.items():
        payload = dict.fromkeys(names, 0)
        journal.append(kind, payload, NOW)
        del payload[names[-1]]
        with pytest.raises(QualityError, match=f"record {kind}: field '{names[-1]}' is missing"):
            journal.append(kind, payload, NOW)
    assert journal.head()[0] == len(Kind)
    with pytest.raises(QualityError, match="'rumour': no such kind"):
        journal.append("rumour", {}, NOW)


@pytest.mark.parametrize(
    "bad",
    [math.nan, math.inf, [1.0, math.nan], {1, 2}, b"bytes", object(), "\ud800", "x" * MAX_PAYLOAD],
    ids=["nan", "inf", "nan in a list", "set", "bytes", "object", "surrogate", "too large"],
)
def test_what_json_cannot_hold_is_refused_whole(journal, bad):
    """Of a transaction with one bad record nothing is written, and the next append works."""
    with pytest.raises(QualityError, match=r"journal record kill: (field 'bad'|payload of)"):
        journal.append_many([Entry(Kind.KILL, kill(), NOW), Entry(Kind.KILL, kill(bad=bad), NOW)])
    assert journal.head()[0] == 0
    assert journal.append(Kind.KILL, kill(), NOW) == 1


@pytest.mark.parametrize("moment", [-1, 1.5, math.nan, None, True, 1 << 62])
def test_a_record_without_a_moment_is_refused(journal, moment):
    """ts_ms is a whole number of ms."""
    with pytest.raises(QualityError, match="no moment"):
        journal.append(Kind.KILL, kill(), moment)


def test_commits_wait_for_the_disk(journal):
    """WAL and synchronous=FULL: the promise of append."""
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)


ALTERATIONS = {
    "payload": ("UPDATE record SET payload = replace(payload, 'test 4', 'test 5') WHERE seq = 5", 5, "time, kind or payload is altered"),
    "time": ("UPDATE record SET ts_ms = ts_ms + 1 WHERE seq = 5", 5, "time, kind or payload is altered"),
    "kind": ("UPDATE record SET kind = 'release' WHERE seq = 5", 5, "time, kind or payload is altered"),
    "payload no text": ("UPDATE record SET payload = CAST(x'ff00' AS TEXT) WHERE seq = 5", 5, "time, kind or payload is altered"),
    "hash": ("UPDATE record SET hash = zeroblob(32) WHERE seq = 5", 5, "hash is altered"),
    "last hash": ("UPDATE record SET hash = zeroblob(32) WHERE seq = 10", 10, "altered"),
    "link": ("UPDATE record SET prev_hash = zeroblob(32) WHERE seq = 5", 5, "link to the record before"),
    "missing": ("DELETE FROM record WHERE seq = 5", 5, "missing: 6 comes next"),
    "missing first": ("DELETE FROM record WHERE seq = 1", 1, "missing: 2 comes next"),
    "cut tail": ("DELETE FROM record WHERE seq > 7", 8, "the tail is cut: the head says 10"),
    "all gone": ("DELETE FROM record", 1, "the tail is cut"),
    "added": ("INSERT INTO record SELECT 11, ts_ms, kind, payload, hash, zeroblob(32) FROM record WHERE seq = 10", 11, "altered"),
    "head moved back": ("UPDATE head SET seq = 8", 9, "newer than the head"),
    "another writer": ("UPDATE head SET writer = 'GREEN'", None, "not that of BLUE"),
    "attachment": ("INSERT INTO attachment VALUES (3, 'kill', x'00')", 3, "attachment is not the one"),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_verify_names_the_first_altered_record(path, name):
    """Payload, time, kind, hash, link, missing record, cut tail, attachment: found, and where."""
    filled(path)
    with JournalReader(path) as journal:
        assert journal.verify().ok
        assert journal.verify().records == 10
        statement, seq, why = ALTERATIONS[name]
        tampered(path, statement)
        verdict = journal.verify()
    assert not verdict.ok
    assert verdict.broken_seq == seq
    assert why in verdict.why
    assert "BROKEN" in verdict.to_text()


def test_any_flipped_byte_of_a_record_is_found(path):
    """Each byte of the stored payloads of a small journal, flipped in the file itself: never a clean verdict."""
    filled(path, 3)
    whole = path.read_bytes()
    for seq in (1, 2, 3):
        place = whole.index(f'"reason":"test {seq - 1}"'.encode())
        for offset in range(22):
            damaged = bytearray(whole)
            damaged[place + offset] ^= 0x01
            path.write_bytes(damaged)
            with JournalReader(path) as journal:
                assert journal.verify().broken_seq == seq
    path.write_bytes(whole)
    with JournalReader(path) as journal:
        assert journal.verify().ok


@pytest.mark.parametrize("pages", [1, 3, 5])
def test_a_truncated_file_is_broken_not_shorter(path, pages):
    """Cut at a page: the verdict says so, opening for writing refuses or the chain shows it."""
    filled(path, 300)
    whole = path.read_bytes()
    path.write_bytes(whole[: pages * 4096])
    from dolphin.storage.journal_verify import verify_files

    verdict = verify_files(path, "BLUE")
    assert not verdict.ok
    assert verdict.why


def test_a_second_process_is_told_who_writes(path, journal):
    """The lock names lane and pid; readers are welcome meanwhile."""
    import os

    journal.append(Kind.KILL, kill(), NOW)
    code = f"from dolphin.storage.journal import Journal, JournalReader\npath = {str(path)!r}\n"
    code += "print(JournalReader(path).head()[0])\nJournal.open(path, 'BLUE')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "1\n"
    assert done.returncode == 1
    assert f"Unavailable: {path}.lock: held by BLUE, pid {os.getpid()}; stop it first" in done.stderr
    with pytest.raises(Unavailable, match="two at once are never allowed"):
        Journal.open(path, "BLUE")
    journal.close()
    with Journal.open(path, "BLUE") as again:
        assert again.append(Kind.KILL, kill(), NOW) == 2


def test_a_writer_without_the_lock_cannot_fork_the_chain(path, journal):
    """Somebody who went round the lock (its file was deleted) is met at the head: refused, and the chain stays whole."""
    journal.append(Kind.KILL, kill(), NOW)
    path.with_name(path.name + ".lock").unlink()
    with Journal.open(path, "BLUE") as intruder:
        intruder.append(Kind.KILL, kill(), NOW)
        with pytest.raises(Unavailable, match="somebody else has appended"):
            journal.append(Kind.KILL, kill(), NOW)
        assert intruder.verify().ok
        assert intruder.head()[0] == 2


def test_threads_append_one_after_the_other(journal):
    """8 threads, no number twice, the chain whole."""

    def work(number):
        for n in range(20):
            journal.append_many([Entry(Kind.KILL, kill(number, n=n), NOW)] * 2)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert journal.verify().records == 320
    assert journal.verify().ok
    pairs = [r.payload for r in journal.records()]
    assert pairs[::2] == pairs[1::2]


def test_unpublished_records_wait_until_the_target_has_taken_them(path):
    """Oldest first, by target, over a restart; the newest of a key supersedes older ones, whose acknowledgement settles nothing."""
    with Journal.open(path, "BLUE") as journal:
        journal.append(Kind.KILL, kill(1), NOW, publish={"grid": "latest", "web": "k1"})
        journal.append(Kind.KILL, kill(2), NOW)
        journal.append(Kind.KILL, kill(3), NOW, publish={"grid": "2025-01-01"})
        journal.append(Kind.KILL, kill(4), NOW, publish={"grid": "latest"})
        journal.mark_published(1, "grid")
    with Journal.open(path, "BLUE") as journal:
        due = journal.unpublished("grid")
        assert [(p.seq, p.key, p.record.payload) for p in due] == [(3, "2025-01-01", kill(3)), (4, "latest", kill(4))]
        assert [p.key for p in journal.unpublished("web")] == ["k1"]
        journal.mark_published(3, "grid")
        journal.mark_published(3, "grid")
        assert [p.seq for p in journal.unpublished("grid")] == [4]
        journal.mark_published(4, "grid")
        assert journal.unpublished("grid") == []
        assert journal.republish("grid") == 2
        assert [p.seq for p in journal.unpublished("grid")] == [3, 4]
        assert journal.verify().ok


def test_attachments_lie_beside_with_a_digest_and_old_ones_go(path):
    """The newest three of a kind; another kind's stay; bytes are checked when they are read."""
    with Journal.open(path, "BLUE") as journal:
        for bar in range(5):
            journal.append(Kind.SNAPSHOT, {"date": "2025-01-01", "bar": bar}, NOW, attachment=bytes([bar]) * 1000)
        journal.append(Kind.KILL, kill(), NOW, attachment=b"other")
        newest = journal.last(Kind.SNAPSHOT)
        assert journal.attachment(newest.seq) == b"\4" * 1000
        assert newest.payload["attachment"] == {"sha256": hashlib.sha256(b"\4" * 1000).hexdigest(), "bytes": 1000}
        assert journal.attachment(6) == b"other"
        with pytest.raises(MalformedFile, match="record 2 has no attachment"):
            journal.attachment(2)
        assert journal.verify().ok
    tampered(path, "UPDATE attachment SET bytes = x'01' WHERE seq = 5")
    with JournalReader(path) as journal:
        with pytest.raises(MalformedFile, match="not the one that was written"):
            journal.attachment(5)
        assert journal.verify().broken_seq == 5


def test_a_rotated_journal_reads_as_before(path):
    """Records, kinds, tails, outbox, attachments and the proof go through sealed segments; the journal itself becomes small."""
    with Journal.open(path, "BLUE") as journal:
        assert journal.rotate(NOW) is None
        for number in range(1500):
            journal.append(
                Kind.KILL if number % 3 else Kind.RELEASE, kill(number, pad="x" * 400), NOW + number, publish={"grid": f"k{number % 5}"}
            )
        before, plain = list(journal.records()), path.stat().st_size
        first = journal.rotate(NOW)
        assert first.name == "BLUE.000000000001-000000001500.sealed"
        assert path.stat().st_size < plain / 5
        journal.append(Kind.KILL, kill("x"), NOW)
        second = journal.rotate(NOW)
        assert second.name == "BLUE.000000001501-000000001502.sealed"
        after = list(journal.records())
        assert after[:1500] == before
        assert [r.kind for r in after[1500:]] == ["rotated", "kill", "rotated"]
        assert after[1500].payload["last_hash"] == before[-1].hash
        assert [r.seq for r in journal.records(Kind.RELEASE)] == [r.seq for r in before if r.kind == "release"]
        assert [r.seq for r in journal.records(after=1499)] == [1500, 1501, 1502, 1503]
        assert journal.last(Kind.RELEASE) == [r for r in before if r.kind == "release"][-1]
        assert journal.tail(1502) == after[1:]
        assert [p.record for p in journal.unpublished("grid")] == before[-5:]
        assert journal.verify().ok
        assert journal.verify().records == 1503
    assert journal_files(path.parent) == [path]


def test_a_sealed_segment_that_was_moved_away_is_named_and_the_rest_is_proven(path):
    """verify stays whole but says what it has not seen; reading into it is refused; a segment put back altered is found."""
    with Journal.open(path, "BLUE") as journal:
        for number in range(5):
            journal.append(Kind.KILL, kill(number), NOW)
        sealed = journal.rotate(NOW)
        journal.append(Kind.KILL, kill(), NOW)
        content = sealed.read_bytes()
        sealed.unlink()
        verdict = journal.verify()
        assert verdict.ok
        assert verdict.absent == (sealed.name,)
        assert sealed.name in verdict.to_text()
        with pytest.raises(MalformedFile, match="sealed segment is not there"):
            list(journal.records())
        assert [r.seq for r in journal.records(after=5)] == [6, 7]
        sealed.write_bytes(content)
        tampered(sealed, "UPDATE record SET payload = replace(payload, 'test 2', 'test 3') WHERE seq = 3")
        assert journal.verify().broken_seq == 3
        sealed.write_bytes(content)
        tampered(sealed, "DELETE FROM record WHERE seq = 5")
        tampered(sealed, "UPDATE head SET seq = 4, hash = (SELECT hash FROM record WHERE seq = 4)")
        assert "not in the record that the journal knows" in journal.verify().why


def test_an_interrupted_rotation_leaves_nothing_behind_in_the_end(path):
    """A sealed copy whose records are still in the journal is dropped by the next rotation."""
    filled(path, 3)
    leftover = path.with_name("BLUE.000000000001-000000000002.sealed")
    leftover.write_bytes(path.read_bytes())
    with Journal.open(path, "BLUE") as journal:
        assert journal.verify().records == 3
        sealed = journal.rotate(NOW)
        assert not leftover.exists()
        assert sealed.exists()
        assert journal.verify().records == 4


def test_a_file_that_is_no_journal_is_refused_and_left_alone(path):
    """Text, another program's database, a later schema, another lane's: each says what it is; no byte changes."""
    cases = []
    path.write_bytes(b"not a database at all, but text " * 100)
    cases.append((path.read_bytes(), MalformedFile, "cannot be read as a journal: file is not a database"))
    path.unlink()
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE stranger (x); INSERT INTO stranger VALUES (1)")
    db.close()
    cases.append((path.read_bytes(), MalformedFile, "SQLite file of another program"))
    for version, words in ((2, r"schema 2, this program knows 1 \(update dolphin\)"), (0, "version that wrote it")):
        path.unlink()
        filled(path, 2)
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
        cases.append((path.read_bytes(), SchemaError, words))
    for content, error, words in cases:
        path.write_bytes(content)
        for attempt in (lambda: Journal.open(path, "BLUE"), lambda: JournalReader(path)):
            with pytest.raises(error, match=words):
                attempt()
        assert path.read_bytes() == content


def test_another_lanes_journal_is_refused(path):
    """A journal is of one writer; its lock is free again after the refusal."""
    filled(path, 1)
    with pytest.raises(QualityError, match="is the journal of BLUE, not of GREEN"):
        Journal.open(path, "GREEN")
    with Journal.open(path, "BLUE") as journal:
        assert journal.head()[0] == 1


@pytest.mark.parametrize("name", ["", "../BLUE", "a b", "1", "x" * 42, "BLUE\n"])
def test_a_writer_has_a_plain_name(tmp_path, name):
    """It becomes a file name and a line of the hashed row."""
    with pytest.raises(ConfigError, match="a lane or service is letters"):
        journal_path(tmp_path, name)


def test_what_is_not_there_or_closed_says_so(path, journal):
    """Reading an absent file makes none; a closed journal refuses."""
    absent = path.with_name("absent.sqlite")
    with pytest.raises(Unavailable, match="there is no such journal"):
        JournalReader(absent)
    assert not absent.exists()
    journal.close()
    with pytest.raises(Unavailable, match="closed"):
        journal.append(Kind.KILL, kill(), NOW)
    absent.touch()
    with pytest.raises(DataError, match="is empty, not a journal"):
        JournalReader(absent)
