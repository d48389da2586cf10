"""The sinks against real receivers on loopback: what arrives, what a failure looks like, and that the address stays secret."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dolphin.deployment import AlertsConfig
from dolphin.errors import ConfigError, Unavailable
from dolphin.telemetry.alerts import Alert, AlertKind, Severity
from dolphin.telemetry.sinks import WEBHOOK_VARIABLE, CommandSink, LogSink, WebhookSink, sinks_of

ALERT = Alert(AlertKind.KILL, Severity.CRITICAL, "operator", "Größe; $(touch x) `y`", 1_735_689_600_000, "watchdog", 2)
CANARY = "canary5up3rsecret"


@pytest.fixture
def receiver():
    """A web server that keeps what was posted and answers as its ``answer`` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
            time.sleep(server.delay)
            self.send_response(server.answer)
            if server.answer == 302:
                self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.answer, server.delay = [], 200, 0.0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def webhook(receiver, timeout_s=5.0):
    return WebhookSink(f"http://127.0.0.1:{receiver.server_port}/services/{CANARY}", timeout_s)


def test_a_webhook_gets_one_json_object(receiver):
    """Schema, kind, severity by name, everything else as it is."""
    sink = webhook(receiver)
    sink.send(ALERT)
    sink.close()
    ((path, kind, body),) = receiver.got
    assert path == f"/services/{CANARY}"
    assert kind == "application/json"
    assert body == {
        "schema": "dolphin.alert/1", "kind": "kill", "severity": "CRITICAL", "key": "operator", "text": ALERT.text,
        "ts_ms": ALERT.ts_ms, "service": "watchdog", "swallowed": 2,
    }  # fmt: skip


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_any_answer_but_success_is_a_failure_and_no_redirect_is_followed(receiver, answer):
    """An alert goes to the address that was named and to no other."""
    receiver.answer = answer
    sink = webhook(receiver)
    with pytest.raises(Unavailable, match=f"the webhook answered {answer}"):
        sink.send(ALERT)
    sink.close()
    assert len(receiver.got) == 1


def test_a_slow_or_absent_webhook_fails_in_time_and_names_no_address(receiver, caplog):
    """Time-out and refused connection; the address is in no error and no log, at any level."""
    receiver.delay = 3.0
    with caplog.at_level(logging.DEBUG):
        sink = webhook(receiver, 0.3)
        start = time.perf_counter()
        with pytest.raises(Unavailable, match="ReadTimeout") as slow:
            sink.send(ALERT)
        assert time.perf_counter() - start < 2.5
        sink.close()
        absent = WebhookSink(f"http://127.0.0.1:9/{CANARY}", 0.5)
        with pytest.raises(Unavailable, match="ConnectError") as refused:
            absent.send(ALERT)
        absent.close()
        receiver.delay = 0.0
        good = webhook(receiver)
        good.send(ALERT)
        good.close()
    assert CANARY not in caplog.text + str(slow.value) + str(refused.value)


@pytest.mark.parametrize("address", ["", "hooks.example.com/x", "file:///etc/passwd", "ftp://h/x", "http://", "http://[::1/x"])
def test_an_address_that_is_none_is_refused_without_repeating_it(address):
    """Only http and https with a host."""
    with pytest.raises(ConfigError, match=f"^{WEBHOOK_VARIABLE}: expected an address"):
        WebhookSink(address)


def test_a_command_gets_the_alert_on_its_input_and_no_secret_in_its_environment(tmp_path):
    """No shell reads the text; PATH is there, keys are not."""
    out = tmp_path / "out.json"
    code = f"import json, os, sys; json.dump([json.load(sys.stdin), dict(os.environ)], open({str(out)!r}, 'w'))"
    CommandSink([sys.executable, "-c", code], {**os.environ, "BINANCE_SECRET": CANARY, "PATH": "/bin"}).send(ALERT)
    body, environment = json.loads(out.read_text())
    assert body == ALERT.to_dict()
    assert environment["PATH"] == "/bin"
    assert CANARY not in str(environment)
    assert list(tmp_path.iterdir()) == [out]


def test_a_command_that_fails_hangs_or_does_not_exist_is_a_failure(tmp_path):
    """Exit code, time-out with all its children ended, absent program; a child that never reads does not block."""
    with pytest.raises(Unavailable, match="exited with 3"):
        CommandSink([sys.executable, "-c", "raise SystemExit(3)"], os.environ).send(ALERT)
    with pytest.raises(Unavailable, match="cannot be started"):
        CommandSink([str(tmp_path / "absent")], os.environ).send(ALERT)
    mark = tmp_path / "grandchild"
    script = f"(sleep 2; touch {mark}) & sleep 30"
    start = time.perf_counter()
    with pytest.raises(Unavailable, match=r"took longer than 0.5 s"):
        CommandSink(["/bin/sh", "-c", script], os.environ, 0.5).send(ALERT)
    assert time.perf_counter() - start < 2
    time.sleep(2.2)
    assert not mark.exists()
    with pytest.raises(ConfigError, match="expected a program"):
        CommandSink([], {})


def test_the_log_has_a_line_at_the_alerts_severity(caplog):
    """Kind, key, text, how many were swallowed; the fields for a JSON formatter."""
    with caplog.at_level(logging.INFO, "dolphin.alerts"):
        LogSink().send(ALERT)
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert record.getMessage() == f"kill operator: {ALERT.text} (and 2 alike before)"
    assert record.alert == ALERT.to_dict()


def test_sinks_come_from_settings_and_the_environment():
    """The log always; a webhook by its variable; a command split as a shell would, none started."""
    assert [s.name for s in sinks_of(AlertsConfig(), {})] == ["log"]
    sinks = sinks_of(AlertsConfig(command="notify-send -u critical 'two words'"), {WEBHOOK_VARIABLE: "http://127.0.0.1:9/x"})
    assert [s.name for s in sinks] == ["log", "webhook", "command"]
    assert sinks[2]._command == ["notify-send", "-u", "critical", "two words"]
    for sink in sinks:
        sink.close()
    with pytest.raises(ConfigError, match="No closing quotation"):
        sinks_of(AlertsConfig(command="a 'b"), {})
