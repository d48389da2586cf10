"""Metrics as Prometheus sees them: scraped from a really served endpoint, the set complete, documented and used by the dashboard."""

from __future__ import annotations

import json
import math
import re
import socket
import threading
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dolphin.errors import ConfigError, Unavailable
from dolphin.telemetry.metrics import MAX_REASONS, METRICS, POSTURE_LEVEL, Metrics
from dolphin.types import Posture

CHECKOUT = Path(__file__).resolve().parent.parent.parent
DASHBOARD = CHECKOUT / "configs" / "grafana-dashboard.json"


class Clock:
    """Seconds that a test moves."""

    now = 50.0

    def __call__(self):
        return self.now


def scrape(endpoint):
    with urllib.request.urlopen(endpoint.url, timeout=10) as answer:
        assert answer.status == 200
        text = answer.read().decode()
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in text_string_to_metric_families(text) for s in f.samples}, text


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics(clock):
    return Metrics(clock)


@pytest.fixture
def endpoint(metrics):
    served = metrics.serve(0)
    yield served
    served.close()


def test_a_scrape_shows_what_was_counted(metrics, endpoint, clock):
    """Every metric of the set, over HTTP, with its value."""
    metrics.heartbeat_seq.set(7)
    metrics.loop_seconds.observe(0.02)
    metrics.bars_processed.inc(3)
    metrics.trades.inc()
    metrics.refusal("NO_SIGNAL")
    metrics.refusal("NO_SIGNAL")
    metrics.posture(Posture.STALKER)
    metrics.rm.set(0.8)
    metrics.acb_boost.set(1.5)
    metrics.acb_beta.set(0.2)
    metrics.grid_connected.set(1)
    metrics.grid_refused("BAD_JSON")
    metrics.journal_seq.set(99)
    metrics.alert("log", "sent")
    metrics.restarted("trader")
    metrics.fed()
    clock.now += 4
    values, _ = scrape(endpoint)
    expected = {
        "dolphin_heartbeat_seq": 7, "dolphin_loop_seconds_count": 1, "dolphin_loop_seconds_sum": 0.02, "dolphin_bars_processed_total": 3,
        "dolphin_trades_total": 1, "dolphin_posture": 2, "dolphin_rm": 0.8, "dolphin_acb_boost": 1.5, "dolphin_acb_beta": 0.2,
        "dolphin_feed_age_seconds": 4, "dolphin_grid_connected": 1, "dolphin_journal_seq": 99,
    }  # fmt: skip
    assert {name: values[name, ()] for name in expected} == expected
    assert values["dolphin_refusals_total", (("reason", "NO_SIGNAL"),)] == 2
    assert values["dolphin_grid_refused_total", (("reason", "BAD_JSON"),)] == 1
    assert values["dolphin_alerts_total", (("outcome", "sent"), ("sink", "log"))] == 1
    assert values["dolphin_restarts_total", (("process", "trader"),)] == 1
    assert values["dolphin_threads", ()] == threading.active_count() or values["dolphin_threads", ()] >= 2
    assert values["process_resident_memory_bytes", ()] > 1e6


def test_what_is_not_known_is_not_a_number(metrics, endpoint):
    """Before anyone has spoken: no healthy-looking zero, and a grid that is not there."""
    values, _ = scrape(endpoint)
    for name in ("dolphin_posture", "dolphin_rm", "dolphin_acb_boost", "dolphin_acb_beta", "dolphin_feed_age_seconds"):
        assert math.isnan(values[name, ()]), name
    assert values["dolphin_grid_connected", ()] == 0
    metrics.posture(Posture.APEX)
    metrics.posture(None)
    assert math.isnan(scrape(endpoint)[0]["dolphin_posture", ()])


def test_the_set_is_documented_in_the_endpoint_and_in_the_readme(endpoint):
    """HELP and TYPE of each; the README names each; nothing of ours is served that is not in the set."""
    _, text = scrape(endpoint)
    readme = (CHECKOUT / "README.md").read_text()
    for metric in METRICS:
        base = metric.name.removesuffix("_total")
        assert f"# HELP {metric.name} {metric.help}" in text or f"# HELP {base} {metric.help}" in text
        assert re.search(rf"# TYPE {base}(_total)? {metric.kind}\n", text)
        assert f"`{metric.name}`" in readme, metric.name
    families = set(re.findall(r"# TYPE (dolphin_\w+) ", text))
    assert {f for f in families if not f.endswith("_created")} == {m.name for m in METRICS}


def test_the_dashboard_asks_only_for_what_exists_and_shows_the_whole_set(endpoint, metrics):
    """Every name in every query is served; every metric of the set is on a panel."""
    for count in (metrics.refusal, metrics.grid_refused, metrics.restarted):
        count("ANY")
    metrics.alert("log", "sent")
    served = {name for name, _ in scrape(endpoint)[0]}
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(queries) > 10
    asked = {name for query in queries for name in re.findall(r"\b(?:dolphin|process)_\w+", query)}
    assert asked <= served, asked - served
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {m.name for m in METRICS} <= shown, {m.name for m in METRICS} - shown
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [(x, y) for b in boxes for x in range(b["x"], b["x"] + b["w"]) for y in range(b["y"], b["y"] + b["h"])]
    assert len(cells) == len(set(cells)), "two panels overlap"
    assert max(x for x, _ in cells) < 24


def test_reasons_that_others_send_do_not_grow_the_set(metrics, endpoint):
    """At most so many reasons; odd ones and late ones are OTHER; none is lost."""
    for number in range(500):
        metrics.grid_refused(f"REASON_{number}")
    for odd in ("", "lower", "x" * 1000, 'A"B', "A\nB"):
        metrics.grid_refused(odd)
    metrics.grid_refused("REASON_3")
    values = {labels: v for (name, labels), v in scrape(endpoint)[0].items() if name == "dolphin_grid_refused_total"}
    assert len(values) == MAX_REASONS + 1
    assert sum(values.values()) == 506
    assert values[(("reason", "REASON_3"),)] == 2


def test_the_endpoint_is_on_loopback_only_and_ends_cleanly(metrics):
    """127.0.0.1 and no other address; after close the port is free, the thread gone, and a second close harmless."""
    before = threading.active_count()
    endpoint = metrics.serve(0)
    assert endpoint._server.server_address[0] == "127.0.0.1"
    host = socket.gethostbyname(socket.gethostname())
    if host != "127.0.0.1":
        with socket.socket() as other:
            other.settimeout(1)
            assert other.connect_ex((host, endpoint.port)) != 0
    with pytest.raises(Unavailable, match=rf"127.0.0.1:{endpoint.port} cannot be had"):
        metrics.serve(endpoint.port)
    port = endpoint.port
    endpoint.close()
    endpoint.close()
    assert threading.active_count() == before
    again = metrics.serve(port)
    assert again.port == port
    again.close()
    with pytest.raises(ConfigError, match="expected 0 to 65535"):
        metrics.serve(70_000)


def test_two_sets_in_one_process_do_not_mix(metrics, clock):
    """The registry is the object's own."""
    other = Metrics(clock)
    metrics.trades.inc(5)
    assert other.registry.get_sample_value("dolphin_trades_total") == 0
    assert metrics.registry.get_sample_value("dolphin_trades_total") == 5


def test_every_posture_has_a_level_in_its_order():
    """The more is allowed, the higher."""
    assert set(POSTURE_LEVEL) == set(Posture)
    assert sorted(POSTURE_LEVEL, key=POSTURE_LEVEL.get) == [Posture.HIBERNATE, Posture.TURTLE, Posture.STALKER, Posture.APEX]
