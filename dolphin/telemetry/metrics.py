"""Metrics of one process, and their endpoint on loopback for Prometheus. ``METRICS`` is the whole set; each is documented by its help.

Unknown is NaN, never a healthy-looking zero. The registry is the object's own: two sets in one process do not mix.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dolphin.errors import ConfigError, MissingDependency, Unavailable
from dolphin.types import Posture

if TYPE_CHECKING:
    import prometheus_client as prometheus

__all__ = ["METRICS", "POSTURE_LEVEL", "Endpoint", "Metric", "Metrics"]

LOOPBACK: Final = "127.0.0.1"
POSTURE_LEVEL: Final = {Posture.HIBERNATE: 0, Posture.TURTLE: 1, Posture.STALKER: 2, Posture.APEX: 3}
MAX_REASONS: Final = 40
"""Values of a ``reason`` label: text that others send must not grow the set without bound; what comes later is OTHER."""

_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,40}")
_LOOP_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """``kind``: gauge, counter or histogram. ``name`` as Prometheus shows it (counters end in ``_total``)."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


METRICS: Final = (
    Metric("dolphin_heartbeat_seq", "gauge", "sequence number of the last heartbeat"),
    Metric("dolphin_loop_seconds", "histogram", "seconds of one turn of the service's loop"),
    Metric("dolphin_bars_processed_total", "counter", "bars processed"),
    Metric("dolphin_trades_total", "counter", "trades closed"),
    Metric("dolphin_refusals_total", "counter", "bars without an entry, by the first reason", ("reason",)),
    Metric("dolphin_posture", "gauge", "posture in force: 0 HIBERNATE, 1 TURTLE, 2 STALKER, 3 APEX"),
    Metric("dolphin_rm", "gauge", "risk multiplier Rm of the survival stack, 0 to 1"),
    Metric("dolphin_acb_boost", "gauge", "boost of the adaptive circuit breaker, 1 to 3"),
    Metric("dolphin_acb_beta", "gauge", "beta of the adaptive circuit breaker, 0 to 1"),
    Metric("dolphin_feed_age_seconds", "gauge", "seconds since the feed's last message, at the moment of the scrape"),
    Metric("dolphin_grid_connected", "gauge", "1 while the feature grid answers, else 0"),
    Metric("dolphin_grid_refused_total", "counter", "values from the grid that were refused, by reason", ("reason",)),
    Metric("dolphin_journal_seq", "gauge", "sequence number of the journal's newest record"),
    Metric("dolphin_alerts_total", "counter", "alerts by sink and outcome: sent, failed, dropped, swallowed", ("sink", "outcome")),
    Metric("dolphin_restarts_total", "counter", "restarts by the supervisor, by process", ("process",)),
    Metric("dolphin_threads", "gauge", "threads of the process"),
)
"""The set. The client library adds ``process_*`` (memory, CPU, descriptors) of the process."""


class Metrics:
    """The set of one process. ``clock``: monotonic seconds, for the feed's age. Every method may be called from any thread.

    Raises ``MissingDependency`` without prometheus-client.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        try:
            import prometheus_client as library
        except ImportError as error:
            raise MissingDependency("prometheus-client is not installed: pip install 'dolphin-nautilus[grid]'") from error
        self._library = library
        self.registry = library.CollectorRegistry()
        library.ProcessCollector(registry=self.registry)
        self._clock, self._fed, self._reasons = clock, math.nan, {name: set[str]() for name in ("refusals", "grid_refused")}
        made = {metric.name: self._make(metric) for metric in METRICS}
        self.loop_seconds: prometheus.Histogram = made["dolphin_loop_seconds"]
        self.heartbeat_seq, self.rm, self.acb_boost, self.acb_beta, self.grid_connected, self.journal_seq = (
            made[f"dolphin_{name}"] for name in ("heartbeat_seq", "rm", "acb_boost", "acb_beta", "grid_connected", "journal_seq")
        )
        self.bars_processed, self.trades = made["dolphin_bars_processed_total"], made["dolphin_trades_total"]
        self._posture, self._alerts, self._restarts = made["dolphin_posture"], made["dolphin_alerts_total"], made["dolphin_restarts_total"]
        self._by_reason = {name: made[f"dolphin_{name}_total"] for name in self._reasons}
        for unknown in (self.rm, self.acb_boost, self.acb_beta, self._posture):
            unknown.set(math.nan)
        made["dolphin_feed_age_seconds"].set_function(lambda: self._clock() - self._fed)
        made["dolphin_threads"].set_function(threading.active_count)

    def fed(self) -> None:
        """The feed has spoken just now."""
        self._fed = self._clock()

    def posture(self, posture: Posture | None) -> None:
        """Posture in force; None: unknown."""
        self._posture.set(math.nan if posture is None else POSTURE_LEVEL[posture])

    def refusal(self, reason: str) -> None:
        """A bar entered nothing, by name of the reason."""
        self._count("refusals", reason)

    def grid_refused(self, reason: str) -> None:
        """A value from the grid was refused, by name of the reason."""
        self._count("grid_refused", reason)

    def alert(self, sink: str, outcome: str) -> None:
        """An alert's outcome: pass this method to ``Alerts`` as ``count``."""
        self._alerts.labels(sink, outcome).inc()

    def restarted(self, process: str) -> None:
        """The supervisor has started ``process`` again."""
        self._restarts.labels(process).inc()

    def serve(self, port: int = 0) -> Endpoint:
        """Serve ``/metrics`` on 127.0.0.1 and no other address; port 0: any free one. Raises ``Unavailable`` when the port is taken."""
        if not 0 <= port <= 65_535:
            raise ConfigError(f"metrics port {port}: expected 0 to 65535")
        try:
            server, thread = self._library.start_http_server(port, addr=LOOPBACK, registry=self.registry)
        except OSError as error:
            raise Unavailable(
                f"metrics port {LOOPBACK}:{port} cannot be had ({error.strerror}); name another, 0 takes any free one"
            ) from error
        return Endpoint(server, thread)

    def _make(self, metric: Metric) -> Any:
        if metric.kind == "histogram":
            return self._library.Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=_LOOP_BUCKETS)
        made = {"gauge": self._library.Gauge, "counter": self._library.Counter}[metric.kind]
        return made(metric.name, metric.help, metric.labels, registry=self.registry)

    def _count(self, name: str, reason: str) -> None:
        seen = self._reasons[name]
        known = reason in seen or (len(seen) < MAX_REASONS and _REASON.fullmatch(reason) is not None)
        if known:
            seen.add(reason)
        self._by_reason[name].labels(reason if known else "OTHER").inc()


class Endpoint:
    """A served ``/metrics``; ``close`` stops the server and its thread and frees the port."""

    def __init__(self, server: Any, thread: threading.Thread) -> None:
        self._server, self._thread = server, thread
        self.port: int = server.server_port

    @property
    def url(self) -> str:
        """Where Prometheus scrapes."""
        return f"http://{LOOPBACK}:{self.port}/metrics"

    def close(self) -> None:
        """A second call does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
