"""Alerts: told once, the last word always, off the caller's thread, counted whatever happens, and never with a secret."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from dolphin.errors import Unavailable
from dolphin.telemetry.alerts import Alert, AlertKind, Alerts, AlertSink, Severity
from dolphin.telemetry.redaction import Redactor

CANARY = "canary-5up3r-secret"


class Clock:
    """Seconds that a test moves."""

    now = 1000.0

    def __call__(self):
        return self.now


class Told(AlertSink):
    """Keeps what it was told; waits at ``gate`` and raises ``error`` when asked to."""

    def __init__(self, name="told", error=None):
        self.name, self.error, self.alerts, self.gate, self.closed = name, error, [], threading.Event(), False
        self.gate.set()
        self.threads = set()

    def send(self, alert):
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        self.alerts.append(alert)

    def close(self):
        self.closed = True


def alert(kind=AlertKind.STALE_FEED, key="BTCUSDT", severity=Severity.WARNING, text="31 s without a message", ts_ms=1):
    return Alert(kind, severity, key, text, ts_ms, "scanner")


@pytest.fixture
def clock():
    return Clock()


def alerts_to(*sinks, clock, **options):
    return Alerts(sinks, Redactor({"API_KEY": CANARY}), clock, **options)


def test_the_same_thing_is_told_once_and_then_with_its_count(clock):
    """Within the window swallowed; at its end the newest one, with how many; afterwards afresh."""
    sink = Told()
    alerts = alerts_to(sink, clock=clock)
    for second in range(5):
        alerts.send(alert(ts_ms=second))
    clock.now += 59.9
    alerts.tick()
    clock.now += 0.2
    alerts.tick()
    clock.now += 60
    alerts.tick()
    alerts.send(alert(ts_ms=99))
    alerts.close()
    assert [(a.ts_ms, a.swallowed) for a in sink.alerts] == [(0, 0), (4, 3), (99, 0)]
    assert alerts.counts() == {("told", "sent"): 3, ("-", "swallowed"): 4}


def test_other_kinds_keys_and_louder_ones_are_told_at_once(clock):
    """A window is of one kind and key, and does not hold back what got worse."""
    sink = Told()
    alerts = alerts_to(sink, clock=clock)
    alerts.send(alert())
    alerts.send(alert(key="ETHUSDT"))
    alerts.send(alert(kind=AlertKind.RECOVERED))
    alerts.send(alert(ts_ms=2))
    alerts.send(alert(severity=Severity.CRITICAL, ts_ms=3))
    alerts.send(alert(ts_ms=4))
    alerts.close()
    told = [(str(a.kind), a.key, a.severity, a.swallowed) for a in sink.alerts]
    assert told == [
        ("stale_feed", "BTCUSDT", 30, 0),
        ("stale_feed", "ETHUSDT", 30, 0),
        ("recovered", "BTCUSDT", 30, 0),
        ("stale_feed", "BTCUSDT", 50, 1),
        ("stale_feed", "BTCUSDT", 30, 0),
    ]


def test_the_last_word_arrives_even_when_the_process_ends(clock):
    """close tells what the window held back."""
    sink = Told()
    alerts = alerts_to(sink, clock=clock)
    alerts.send(alert(ts_ms=1))
    alerts.send(alert(ts_ms=2))
    alerts.close()
    assert [a.ts_ms for a in sink.alerts] == [1, 2]
    assert sink.closed


def test_a_hanging_sink_delays_neither_the_caller_nor_the_others(clock):
    """Each sink has its thread; send returns while one of them hangs."""
    stuck, free = Told("stuck"), Told("free")
    stuck.gate.clear()
    alerts = alerts_to(stuck, free, clock=clock)
    start = time.perf_counter()
    for number in range(50):
        alerts.send(alert(key=str(number)))
    assert time.perf_counter() - start < 1.0
    deadline = time.monotonic() + 10
    while len(free.alerts) < 50 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(free.alerts) == 50
    assert stuck.alerts == []
    assert free.threads != {threading.current_thread().name}
    stuck.gate.set()
    alerts.close()
    assert [a.key for a in stuck.alerts] == [str(n) for n in range(50)]


def test_a_full_queue_drops_the_oldest_that_is_not_critical_and_counts_it(clock):
    """Critical ones outlast any flood; the queue never grows beyond its size."""
    sink = Told()
    sink.gate.clear()
    alerts = alerts_to(sink, clock=clock, queue=4)
    alerts.send(alert(key="in hand"))
    while not sink.threads:
        time.sleep(0.001)
    alerts.send(alert(key="kill", severity=Severity.CRITICAL))
    for number in range(100):
        alerts.send(alert(key=str(number)))
    sink.gate.set()
    alerts.close()
    assert [a.key for a in sink.alerts] == ["in hand", "kill", "97", "98", "99"]
    assert alerts.counts() == {("told", "sent"): 5, ("told", "dropped"): 97}


def test_when_all_are_critical_a_quiet_newcomer_goes_and_a_critical_one_replaces_the_oldest(clock):
    """Bounded in every case."""
    sink = Told()
    sink.gate.clear()
    alerts = alerts_to(sink, clock=clock, queue=2)
    alerts.send(alert(key="in hand"))
    while not sink.threads:
        time.sleep(0.001)
    for key in ("a", "b"):
        alerts.send(alert(key=key, severity=Severity.CRITICAL))
    alerts.send(alert(key="quiet"))
    alerts.send(alert(key="c", severity=Severity.CRITICAL))
    sink.gate.set()
    alerts.close()
    assert [a.key for a in sink.alerts] == ["in hand", "b", "c"]
    assert alerts.counts()["told", "dropped"] == 2


@pytest.mark.parametrize(
    "error", [Unavailable("the webhook answered 500"), ValueError("a defect"), KeyError("x")], ids=lambda e: type(e).__name__
)
def test_whatever_a_sink_raises_is_counted_and_the_next_alert_still_goes(clock, error, caplog):
    """The caller hears nothing, the log one line, and the sink's thread lives on."""
    sink, told = Told(error=error), []
    alerts = alerts_to(sink, clock=clock, count=lambda *what: told.append(what))
    with caplog.at_level(logging.WARNING, "dolphin.alerts"):
        alerts.send(alert(key="1"))
        while not told:
            time.sleep(0.001)
        sink.error = None
        alerts.send(alert(key="2"))
        alerts.close()
    assert [a.key for a in sink.alerts] == ["2"]
    assert told == [("told", "failed"), ("told", "sent")]
    assert "was not delivered by told" in caplog.text


def test_closing_waits_no_longer_than_told_and_counts_what_is_left(clock):
    """A sink that never comes back does not hold up the end of the process."""
    sink = Told()
    sink.gate.clear()
    alerts = alerts_to(sink, clock=clock)
    for number in range(5):
        alerts.send(alert(key=str(number)))
    start = time.perf_counter()
    alerts.close(timeout_s=0.2)
    assert time.perf_counter() - start < 5
    assert alerts.counts()["told", "dropped"] == 4
    alerts.send(alert(key="late"))
    assert alerts.counts()["told", "dropped"] == 5
    sink.gate.set()


def test_no_secret_is_in_an_alert_whatever_field_it_came_in(clock, caplog):
    """The canary: text, key, service and a sink's own error, also where a text is cut."""
    sink = Told()
    alerts = alerts_to(sink, clock=clock)
    with caplog.at_level(logging.DEBUG):
        for place in range(0, 60, 7):
            alerts.send(alert(key=f"{place} {CANARY}", text="x " * place + CANARY))
            alerts.send(alert(key=f"long {place}", text="https://h/" + "x" * (19_990 - place) + " " + CANARY))
        alerts.send(Alert(AlertKind.KILL, Severity.CRITICAL, "k", "t", 1, f"svc {CANARY}"))
        while len(sink.alerts) < 19:
            time.sleep(0.001)
        sink.error = Unavailable(f"cannot reach https://hooks.example.com/{CANARY}")
        alerts.send(alert(key="fails"))
        alerts.close()
    assert len(sink.alerts) == 19
    for told in sink.alerts:
        assert "canary" not in str(told.to_dict())
    assert "was not delivered" in caplog.text
    assert "canary" not in caplog.text


def test_a_text_is_one_line_of_bounded_length(clock):
    """No forged log lines, no terminal codes, no 10 MB."""
    sink = Told()
    alerts = alerts_to(sink, clock=clock)
    start = time.perf_counter()
    alerts.send(alert(key="a\nb\x1b[31m\ud800" * 100, text="line 1\nCRITICAL kill: forged\r\n" + "y" * 10_000_000))
    assert time.perf_counter() - start < 1.0
    alerts.close()
    (told,) = sink.alerts
    assert told.text.startswith("line 1 CRITICAL kill: forged ")
    assert len(told.text) <= 2000
    assert len(told.key) <= 200
    assert told.key.isprintable()


def test_endless_keys_do_not_fill_the_memory(clock):
    """Windows are forgotten when they end, and bounded before; the last word of one that gives way is told."""
    sink = Told()
    alerts = alerts_to(sink, clock=clock, queue=100_000)
    alerts.send(alert(key="first"))
    alerts.send(alert(key="first", text="last word"))
    for number in range(10_500):
        clock.now += 0.001
        alerts.send(alert(key=str(number)))
    assert len(alerts._windows) == 10_000
    clock.now += 61
    alerts.tick()
    assert alerts._windows == {}
    alerts.close(timeout_s=20)
    assert [a.text for a in sink.alerts if a.key == "first"][1:] == ["last word"]
    assert len(sink.alerts) == 10_502
