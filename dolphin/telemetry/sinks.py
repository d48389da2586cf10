"""Where alerts go: the log, a webhook (one JSON object by POST), a program (one JSON object on its standard input)."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dolphin.errors import ConfigError, MissingDependency, Unavailable
from dolphin.telemetry.alerts import Alert, AlertSink

if TYPE_CHECKING:
    from dolphin.deployment import AlertsConfig

__all__ = ["WEBHOOK_VARIABLE", "CommandSink", "LogSink", "WebhookSink", "sinks_of"]

WEBHOOK_VARIABLE = "DOLPHIN_ALERT_WEBHOOK"
"""Environment variable with the webhook's address: a secret, so it is no setting that `config show` would print."""

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS")


class LogSink(AlertSink):
    """One line on logger ``dolphin.alerts`` at the alert's severity, its fields as ``record.alert``."""

    name = "log"

    def __init__(self) -> None:
        self._log = logging.getLogger("dolphin.alerts")

    def send(self, alert: Alert) -> None:
        again = f" (and {alert.swallowed} alike before)" if alert.swallowed else ""
        self._log.log(int(alert.severity), "%s %s: %s%s", alert.kind, alert.key, alert.text, again, extra={"alert": alert.to_dict()})


class WebhookSink(AlertSink):
    """POST to ``url``. No redirect is followed (an alert goes where it was sent), the answer's body is not read.

    Raises ``ConfigError`` for an address that is not http(s), ``MissingDependency`` without httpx.
    """

    name = "webhook"

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingDependency("httpx is not installed: pip install 'dolphin-nautilus[grid]'") from error
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            known = False
        if not known:
            raise ConfigError(f"{WEBHOOK_VARIABLE}: expected an address that begins with http:// or https:// and names a host")
        for name in ("httpx", "httpcore"):  # they log whole addresses, and the address is the secret
            logging.getLogger(name).setLevel(logging.WARNING)
        self._url, self._errors = url, (httpx.HTTPError, httpx.InvalidURL)
        self._client = httpx.Client(timeout=timeout_s, follow_redirects=False, transport=httpx.HTTPTransport(retries=1))

    def send(self, alert: Alert) -> None:
        try:
            with self._client.stream("POST", self._url, json=alert.to_dict()) as answer:
                status = answer.status_code
        except self._errors as error:
            raise Unavailable(f"the webhook did not take the alert ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise Unavailable(f"the webhook answered {status}")

    def close(self) -> None:
        self._client.close()


class CommandSink(AlertSink):
    """Run ``command`` (an argument list, no shell) with the alert on its standard input and none of our environment's secrets."""

    name = "command"

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], timeout_s: float = 5.0) -> None:
        if not command:
            raise ConfigError("alerts.command = '': expected a program")
        self._command, self._timeout = list(command), timeout_s
        self._environ = {name: environ[name] for name in _KEPT if name in environ}

    def send(self, alert: Alert) -> None:
        quiet = subprocess.DEVNULL
        try:
            child = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=self._environ, start_new_session=True
            )
        except OSError as error:
            raise Unavailable(f"the alert command {self._command[0]!r} cannot be started ({error.strerror})") from None
        with child:
            try:
                child.communicate(json.dumps(alert.to_dict()).encode(), self._timeout)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                raise Unavailable(f"the alert command {self._command[0]!r} took longer than {self._timeout:g} s") from None
        if child.returncode != 0:
            raise Unavailable(f"the alert command {self._command[0]!r} exited with {child.returncode}")


def sinks_of(config: AlertsConfig, environ: Mapping[str, str]) -> list[AlertSink]:
    """The log, and what settings and environment name. Raises ``ConfigError`` for an address or command that cannot be one."""
    sinks: list[AlertSink] = [LogSink()]
    if address := environ.get(WEBHOOK_VARIABLE, ""):
        sinks.append(WebhookSink(address, config.timeout_s))
    if config.command:
        try:
            command = shlex.split(config.command)
        except ValueError as error:
            raise ConfigError(f"alerts.command = {config.command!r}: {error}") from error
        sinks.append(CommandSink(command, environ, config.timeout_s))
    return sinks
